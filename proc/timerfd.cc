#include "proc/timerfd.h"

#include <fcntl.h>

#include <cstddef>
#include <span>
#include <utility>

#include "proc/scheduler.h"

namespace remora::proc {

TimerFd::TimerFd(Ref<fs::AnonymousInode> inode, Scheduler* scheduler, Clock* clock, bool realtime, uint32_t flags)
    : AnonymousFile(std::move(inode), O_RDWR | (flags & O_NONBLOCK)),
      scheduler_(scheduler),
      clock_(clock),
      realtime_(realtime) {}

IntervalTimer TimerFd::Exchange(int64_t deadline_nanos, int64_t interval_nanos) {
  const int64_t now = clock_->MonotonicNanos();
  MutexLock lock(&mu_);
  const IntervalTimer old{schedule_.Remaining(now), schedule_.interval_nanos()};
  schedule_.Set(deadline_nanos, interval_nanos);
  if (schedule_.on())
    scheduler_->ArmTimer(*alarm_, schedule_.deadline_nanos());
  else
    scheduler_->CancelTimer(*alarm_);
  return old;
}

IntervalTimer TimerFd::Get() const {
  const int64_t now = clock_->MonotonicNanos();
  MutexLock lock(&mu_);
  return {schedule_.Remaining(now), schedule_.interval_nanos()};
}

ErrnoOr<uint64_t> TimerFd::Read(mm::IoBuffer& to, uint64_t) {
  if (to.remaining() < sizeof(uint64_t)) return Errno(EINVAL);
  const int64_t now = clock_->MonotonicNanos();
  uint64_t times;
  {
    MutexLock lock(&mu_);
    times = schedule_.Expire(now);
    if (times != 0 && schedule_.on()) scheduler_->ArmTimer(*alarm_, schedule_.deadline_nanos());
  }
  if (times == 0) return Errno(EAGAIN);
  // As in Linux the count is gone when this faults.
  const auto copied = to.Write(std::as_bytes(std::span(&times, 1)));
  if (!copied.ok()) return copied.error();
  if (*copied < sizeof(times)) return Errno(EFAULT);
  return sizeof(times);
}

ErrnoOr<uint64_t> TimerFd::Write(mm::IoBuffer&, uint64_t) { return Errno(EINVAL); }

sync::Events TimerFd::Readiness(sync::Events interest) {
  const int64_t now = clock_->MonotonicNanos();
  MutexLock lock(&mu_);
  return schedule_.due(now) ? interest & sync::kReadable : 0;
}

void TimerFd::OnLastClose() {
  MutexLock lock(&mu_);
  schedule_.Set(0, 0);
  scheduler_->CancelTimer(*alarm_);
}

}  // namespace remora::proc
