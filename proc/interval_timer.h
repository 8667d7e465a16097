#ifndef REMORA_PROC_INTERVAL_TIMER_H_
#define REMORA_PROC_INTERVAL_TIMER_H_

#include <atomic>
#include <cstdint>

#include "base/mutex.h"
#include "proc/deadline_timer.h"
#include "proc/repeating_deadline.h"

namespace remora::proc {

class Kernel;
class ThreadGroup;

// What getitimer(2) and timer_gettime(2) tell: 0 remaining: off.
struct IntervalTimer {
  int64_t remaining_nanos = 0;
  int64_t interval_nanos = 0;
};

// A process's ITIMER_REAL: sends SIGALRM to it. Lives as long as the ThreadGroup or, armed, until it fires.
// Thread safety: all methods from any thread.
class RealTimer final : public DeadlineTimer {
 public:
  RealTimer(Kernel* kernel, int32_t pid) : kernel_(kernel), pid_(pid) {}

  // The caller holds no lock.
  IntervalTimer Exchange(const IntervalTimer& timer);
  IntervalTimer Get() const;
  void OnDeadline() override;

 private:
  IntervalTimer ExchangeUnawaited(const IntervalTimer& timer);
  IntervalTimer GetLocked(int64_t now_nanos) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Kernel* const kernel_;
  const int32_t pid_;
  mutable Mutex mu_{LockRank::kTimers};
  RepeatingDeadline schedule_ ABSL_GUARDED_BY(mu_);
  std::atomic<uint32_t> num_firing_{0};  // between expiring, under mu_, and having sent the signal
};

// A timer is armed again this long from now at the earliest: beats that nobody could tell apart must not keep a worker
// from everything else. Linux waits until the signal is taken, or for a tick.
inline constexpr int64_t kMinRearmNanos = 100'000;

// alarm(2), setitimer(2), getitimer(2) for ITIMER_REAL. exec keeps the timer, fork does not inherit it.
IntervalTimer ExchangeRealTimer(ThreadGroup& group, const IntervalTimer& timer);
IntervalTimer GetRealTimer(ThreadGroup& group);

}  // namespace remora::proc

#endif  // REMORA_PROC_INTERVAL_TIMER_H_
