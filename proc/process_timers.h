#ifndef REMORA_PROC_PROCESS_TIMERS_H_
#define REMORA_PROC_PROCESS_TIMERS_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "proc/interval_timer.h"
#include "proc/posix_timer.h"

namespace remora::proc {

// The timers of one process: setitimer's three, and those of timer_create. exec deletes the latter and keeps the
// former; fork inherits none.
//
// Thread safety: all methods from any thread; those of posix timers may be called under the thread group's lock, unless
// they say otherwise. Its own mutex and those of timers are never held at once.
class ProcessTimers {
 public:
  ProcessTimers(Kernel* kernel, int32_t pid);

  RealTimer& real() const { return *real_; }

  // ITIMER_VIRTUAL and ITIMER_PROF. `used_nanos` is the clock that they count: user time, or all CPU time.
  enum class CpuTimer : uint8_t { kVirtual, kProf };
  IntervalTimer ExchangeCpu(CpuTimer which, int64_t used_nanos, const IntervalTimer& timer);
  IntervalTimer GetCpu(CpuTimer which, int64_t used_nanos) const;

  // A new POSIX timer, off. options.id is chosen here. EAGAIN if there are `limit` already.
  ErrnoOr<int32_t> Create(PosixTimer::Options options, uint64_t limit);
  Ref<PosixTimer> Find(int32_t id) const;  // null if there is none
  bool Delete(int32_t id);
  void DeleteAll();
  // Those that queued `signal`, which now is ignored.
  void OnSignalDropped(int signal);
  // The signal that the n-th setting of timer `id` queued was taken: its overruns; nothing if it is void.
  std::optional<int32_t> OnSignalTaken(int32_t id, int32_t setting);

  // The process has ended: nothing fires any more.
  void Stop();

  // Somebody must call CheckCpuTime after each slice of the process's threads.
  bool watches_cpu_time() const { return watches_cpu_time_.load(std::memory_order_relaxed); }
  void WatchCpuTime() { watches_cpu_time_.store(true, std::memory_order_relaxed); }
  // Sends what is due, RLIMIT_CPU's signals among it. `ran` is one of the group's threads. No lock is held.
  void CheckCpuTime(ThreadGroup& group, Task& ran);

 private:
  Kernel* const kernel_;
  const int32_t pid_;
  const Ref<RealTimer> real_;

  mutable Mutex mu_{LockRank::kTimers};
  RepeatingDeadline cpu_[2] ABSL_GUARDED_BY(mu_);  // by CpuTimer
  std::map<int32_t, Ref<PosixTimer>> posix_ ABSL_GUARDED_BY(mu_);
  int32_t next_id_ ABSL_GUARDED_BY(mu_) = 0;

  // Never cleared: a process that asked once is looked at for good.
  std::atomic<bool> watches_cpu_time_{false};
};

}  // namespace remora::proc

#endif  // REMORA_PROC_PROCESS_TIMERS_H_
