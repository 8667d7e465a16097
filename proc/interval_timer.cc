#include "proc/interval_timer.h"

#include <algorithm>

#include "base/abi/signal.h"
#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/scheduler.h"
#include "proc/signals.h"
#include "proc/thread_group.h"

namespace remora::proc {

IntervalTimer RealTimer::GetLocked(int64_t now_nanos) const {
  if (deadline_nanos_ == 0) return {0, interval_nanos_};
  // A timer that is due but has not fired yet is still on.
  return {std::max<int64_t>(deadline_nanos_ - now_nanos, 1000), interval_nanos_};
}

IntervalTimer RealTimer::Get() const {
  const int64_t now = kernel_->clock().MonotonicNanos();
  MutexLock lock(&mu_);
  return GetLocked(now);
}

IntervalTimer RealTimer::Exchange(const IntervalTimer& timer) {
  const int64_t now = kernel_->clock().MonotonicNanos();
  IntervalTimer old;
  {
    MutexLock lock(&mu_);
    old = GetLocked(now);
    interval_nanos_ = timer.interval_nanos;
    deadline_nanos_ = 0;
    // Both under the lock: of two threads that set it at once, the second one's deadline is the scheduler's too.
    if (timer.remaining_nanos > 0) {
      deadline_nanos_ = timer.remaining_nanos > INT64_MAX - now ? INT64_MAX : now + timer.remaining_nanos;
      kernel_->scheduler().ArmTimer(*this, deadline_nanos_);
    } else {
      kernel_->scheduler().CancelTimer(*this);
    }
  }
  return old;
}

void RealTimer::OnDeadline() {
  const int64_t now = kernel_->clock().MonotonicNanos();
  {
    MutexLock lock(&mu_);
    if (deadline_nanos_ == 0 || now < deadline_nanos_) return;  // cancelled or moved meanwhile
    if (interval_nanos_ > 0) {
      // The next beat of the original rhythm that is still to come.
      const int64_t beats = (now - deadline_nanos_) / interval_nanos_ + 1;
      const int64_t ahead = beats * interval_nanos_;  // at most one interval beyond now
      deadline_nanos_ = ahead > INT64_MAX - deadline_nanos_ ? INT64_MAX : deadline_nanos_ + ahead;
      kernel_->scheduler().ArmTimer(*this, deadline_nanos_);
    } else {
      deadline_nanos_ = 0;
    }
  }
  const sync::Reclaimer::ReadSection section(&kernel_->reclaimer());
  if (const Ref<ThreadGroup> group = kernel_->pids().FindGroup(pid_)) {
    SignalInfo info;
    info.signal = abi::kSIGALRM;
    info.code = abi::kSI_KERNEL;
    SendToGroup(*group, info);
  }
}

IntervalTimer ExchangeRealTimer(ThreadGroup& group, const IntervalTimer& timer) {
  return group.real_timer().Exchange(timer);
}
IntervalTimer GetRealTimer(ThreadGroup& group) { return group.real_timer().Get(); }

}  // namespace remora::proc
