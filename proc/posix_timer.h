#ifndef REMORA_PROC_POSIX_TIMER_H_
#define REMORA_PROC_POSIX_TIMER_H_

#include <atomic>
#include <cstdint>
#include <optional>

#include "base/mutex.h"
#include "proc/deadline_timer.h"
#include "proc/interval_timer.h"
#include "proc/repeating_deadline.h"

namespace remora::proc {

class Kernel;
class Task;
class ThreadGroup;

// Which time a timer counts. Those of the wall are kept as points of CLOCK_MONOTONIC.
enum class TimerClock : uint8_t { kWall, kProcessCpu, kProcessUser, kThreadCpu, kThreadUser };

// One timer of timer_create(2). When its time comes it queues its signal once, and does not go on before that signal is
// taken: what came meanwhile are overruns. An ignored signal is taken at once.
//
// Life: made off -> [armed -> its signal is queued -> taken]*, until it is deleted; armed it lives until it fires.
// Thread safety: all methods from any thread; OnSignalTaken and OnSignalDropped may be called under the thread group's
// lock. Linux twin: struct k_itimer. Differences: a jump of CLOCK_REALTIME moves no timer; CPU time is looked at
// between two slices.
class PosixTimer final : public DeadlineTimer {
 public:
  enum class Notify : uint8_t { kNothing, kProcess, kThread };
  struct Options {
    int32_t id = 0;
    TimerClock clock = TimerClock::kWall;
    int32_t clock_thread = 0;  // whose time kThreadCpu and kThreadUser count
    bool realtime = false;     // of the wall: absolute times are of CLOCK_REALTIME
    Notify notify = Notify::kProcess;
    int32_t signal = 0;
    int32_t target_thread = 0;  // for kThread
    uint64_t value = 0;         // the signal's si_value
    bool value_is_id = false;   // or the timer's id instead
  };
  PosixTimer(Kernel* kernel, int32_t pid, const Options& options) : kernel_(kernel), pid_(pid), options_(options) {}

  const Options& options() const { return options_; }
  bool counts_cpu_time() const { return options_.clock != TimerClock::kWall; }

  // `now` is of the timer's own clock, as is `deadline` (0: off). The old setting.
  IntervalTimer Exchange(int64_t now_nanos, int64_t deadline_nanos, int64_t interval_nanos);
  IntervalTimer Get(int64_t now_nanos);
  // What came since the last signal was queued, when it was taken: timer_getoverrun(2).
  int32_t overrun() const;
  void Cancel();

  void OnDeadline() override;
  // For clocks of CPU time: the process or thread has used this much.
  void CheckCpuTime(ThreadGroup& group, int64_t now_nanos);

  // The signal that its n-th setting queued was taken: the overruns to tell; it goes on. Nothing if it was set anew
  // since, and the signal is void.
  std::optional<int32_t> OnSignalTaken(int32_t setting);
  void OnSignalDropped();

 private:
  void Fire(ThreadGroup& group, int32_t setting);
  // It goes on behind the signal that was queued.
  void GoOnLocked(int64_t earliest_nanos) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t NowLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Kernel* const kernel_;
  const int32_t pid_;
  const Options options_;
  mutable Mutex mu_{LockRank::kTimers};
  RepeatingDeadline schedule_ ABSL_GUARDED_BY(mu_);
  int32_t setting_ ABSL_GUARDED_BY(mu_) = 0;  // counts Exchange; wraps
  bool signal_queued_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t beats_ ABSL_GUARDED_BY(mu_) = 0;  // since the signal was queued, that one's own among them
  int32_t overrun_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t cpu_nanos_ ABSL_GUARDED_BY(mu_) = 0;  // the CPU clock when it was last looked at
};

}  // namespace remora::proc

#endif  // REMORA_PROC_POSIX_TIMER_H_
