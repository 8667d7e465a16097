#include "proc/interval_timer.h"

#include <algorithm>
#include <thread>

#include "base/abi/signal.h"
#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/process_timers.h"
#include "proc/scheduler.h"
#include "proc/signals.h"
#include "proc/thread_group.h"

namespace remora::proc {

IntervalTimer RealTimer::GetLocked(int64_t now_nanos) const {
  if (!schedule_.on()) return {0, schedule_.interval_nanos()};
  // A timer that is due but has not fired yet is still on.
  return {std::max<int64_t>(schedule_.deadline_nanos() - now_nanos, 1000), schedule_.interval_nanos()};
}

IntervalTimer RealTimer::Get() const {
  const int64_t now = kernel_->clock().MonotonicNanos();
  MutexLock lock(&mu_);
  return GetLocked(now);
}

IntervalTimer RealTimer::Exchange(const IntervalTimer& timer) {
  const IntervalTimer old = ExchangeUnawaited(timer);
  // No signal of the old setting comes after this: who is about to send one, on another worker, takes a moment.
  while (num_firing_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  return old;
}

IntervalTimer RealTimer::ExchangeUnawaited(const IntervalTimer& timer) {
  const int64_t now = kernel_->clock().MonotonicNanos();
  MutexLock lock(&mu_);
  const IntervalTimer old = GetLocked(now);
  // Both under the lock: of two threads that set it at once, the second one's deadline is the scheduler's too.
  if (timer.remaining_nanos > 0) {
    schedule_.Set(timer.remaining_nanos > INT64_MAX - now ? INT64_MAX : now + timer.remaining_nanos,
                  timer.interval_nanos);
    kernel_->scheduler().ArmTimer(*this, schedule_.deadline_nanos());
  } else {
    schedule_.Set(0, timer.interval_nanos);
    kernel_->scheduler().CancelTimer(*this);
  }
  return old;
}

void RealTimer::OnDeadline() {
  const int64_t now = kernel_->clock().MonotonicNanos();
  {
    MutexLock lock(&mu_);
    if (schedule_.Expire(now) == 0) return;  // cancelled or moved meanwhile
    num_firing_.fetch_add(1, std::memory_order_relaxed);
    if (schedule_.on())
      kernel_->scheduler().ArmTimer(*this, std::max(schedule_.deadline_nanos(), now + kMinRearmNanos));
  }
  const sync::Reclaimer::ReadSection section(&kernel_->reclaimer());
  if (const Ref<ThreadGroup> group = kernel_->pids().FindGroup(pid_)) {
    SignalInfo info;
    info.signal = abi::kSIGALRM;
    info.code = abi::kSI_KERNEL;
    (void)SendToGroup(*group, info);
  }
  num_firing_.fetch_sub(1, std::memory_order_release);
}

IntervalTimer ExchangeRealTimer(ThreadGroup& group, const IntervalTimer& timer) {
  return group.timers().real().Exchange(timer);
}
IntervalTimer GetRealTimer(ThreadGroup& group) { return group.timers().real().Get(); }

}  // namespace remora::proc
