#ifndef REMORA_PROC_INTERVAL_TIMER_H_
#define REMORA_PROC_INTERVAL_TIMER_H_

#include <cstdint>

#include "base/mutex.h"
#include "proc/deadline_timer.h"

namespace remora::proc {

class Kernel;
class ThreadGroup;

// What getitimer(2) tells: 0 remaining: off.
struct IntervalTimer {
  int64_t remaining_nanos = 0;
  int64_t interval_nanos = 0;
};

// A process's ITIMER_REAL: sends SIGALRM to it. Lives as long as the ThreadGroup or, armed, until it fires.
// Thread safety: all methods from any thread.
class RealTimer final : public DeadlineTimer {
 public:
  RealTimer(Kernel* kernel, int32_t pid) : kernel_(kernel), pid_(pid) {}

  IntervalTimer Exchange(const IntervalTimer& timer);
  IntervalTimer Get() const;
  void OnDeadline() override;

 private:
  IntervalTimer GetLocked(int64_t now_nanos) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Kernel* const kernel_;
  const int32_t pid_;
  mutable Mutex mu_{LockRank::kTimers};
  int64_t deadline_nanos_ ABSL_GUARDED_BY(mu_) = 0;  // 0: off
  int64_t interval_nanos_ ABSL_GUARDED_BY(mu_) = 0;
};

// alarm(2), setitimer(2), getitimer(2) for ITIMER_REAL. exec keeps the timer, fork does not inherit it.
IntervalTimer ExchangeRealTimer(ThreadGroup& group, const IntervalTimer& timer);
IntervalTimer GetRealTimer(ThreadGroup& group);

}  // namespace remora::proc

#endif  // REMORA_PROC_INTERVAL_TIMER_H_
