#ifndef REMORA_PROC_SCHEDULER_H_
#define REMORA_PROC_SCHEDULER_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "proc/deadline_heap.h"
#include "proc/deadline_timer.h"
#include "proc/task.h"
#include "sync/reclaimer.h"

namespace remora::proc {

// Which task runs next on which host thread, who waits until when, and whose slice ends early.
//
// One queue, first come first served; a woken task goes to the worker that ran it last if that one is idle. One heap
// holds the deadlines of parked tasks and the timers; while workers are idle, exactly one of them (the keeper) sleeps
// until the earliest deadline, the others until they are called. Busy workers look at the heap between two slices.
//
// Invariants:
//  1. A task is in the queue exactly while its run state is kQueued.
//  2. A task's deadline is in the heap only while it is parked (or just being parked, under the lock).
//  3. If a worker is idle, there are no more tasks in the queue than workers that have been called or have promised to
//     come soon; if any is idle, there is a keeper.
//  4. One reference to each task from Add until Retire is the scheduler's.
// Thread safety: Add, Wake, Interrupt, timers from any thread; what takes a Slot from that slot's worker only.
// Linux twin: the run queue and hrtimers. Differences: no priorities; one queue for all workers.
class Scheduler {
 public:
  // One worker's place.
  struct Slot {
    // Set to make the engine leave at the next block boundary.
    std::atomic<uint32_t> interrupt{0};
    std::atomic<int64_t> slice_start_nanos{0};  // 0: idle
    uint32_t index = 0;
    // Of the instructions within which this worker has promised to come for its next task (PromiseToCome), those that
    // are left; 0: it has promised nothing. Its own thread's alone.
    uint64_t promised_instructions = 0;

   private:
    friend class Scheduler;
    std::condition_variable_any called_cv;
    bool idle = false;  // guarded by the scheduler's lock, as what follows
    bool called = false;
  };

  Scheduler(Clock* clock, uint32_t num_workers);
  ~Scheduler();

  // A new task becomes runnable for the first time.
  void Add(Task& task);
  // Makes a parked task runnable; a running one will not park. See Task::Wake.
  void Wake(Task& task);
  // Makes the worker that runs the task leave guest code soon, if one does.
  void Interrupt(Task& task);

  // `timer` fires at `deadline_nanos` (CLOCK_MONOTONIC); a timer already armed moves.
  void ArmTimer(DeadlineTimer& timer, int64_t deadline_nanos);
  void CancelTimer(DeadlineTimer& timer);

  // --- for workers ---
  Slot& slot(uint32_t worker) { return *slots_[worker]; }
  uint32_t num_workers() const { return static_cast<uint32_t>(slots_.size()); }
  // The next task to run, marked running. Null once Stop was called and nothing is left to run. Sleeps where there is
  // none, offline; `before_sleep` runs before the first sleep.
  Task* Next(Slot& slot, sync::Reclaimer::Participant* participant, absl::FunctionRef<void()> before_sleep);
  // A handler is about to look at its conditions: wakes up to now have done their work.
  static void ClearWoken(Task& task) {
    if (task.run_state_.load(std::memory_order_relaxed) != Task::RunState::kRunning)
      task.run_state_.exchange(Task::RunState::kRunning, std::memory_order_seq_cst);
  }
  static void SetRunningOn(Task& task, Slot* slot) {
    task.running_on_.store(slot ? &slot->interrupt : nullptr, std::memory_order_seq_cst);
  }
  // Lets the task rest until its deadline or a wake. False if a wake came first or the deadline has passed: it is
  // running still. After true the caller must not touch the task.
  bool Park(Task& task);
  // Back into the queue, from a worker that asks for the next task at once; the caller must not touch the task
  // afterwards.
  void Requeue(Task& task);
  // The worker that runs `task`, whose thread this is, will soon ask for the next task: the task is about to end, or to
  // wait for a child that it has just made. So one task that becomes runnable meanwhile calls no idle worker: two calls
  // and a move to another CPU cost more than most children of a shell run. If the task runs on for
  // kPromisedInstructions, its worker breaks the promise.
  void PromiseToCome(const Task& task);
  void BreakPromise(Slot& slot);
  // The task is dead: gives the scheduler's reference up.
  void Retire(Task& task);
  bool others_waiting() const { return num_queued_.load(std::memory_order_relaxed) != 0; }
  // Wakes and fires what is due.
  void RunDue(int64_t now_nanos);
  // Workers return from Next when nothing is runnable any more.
  void Stop();

  // Tasks between Add and Retire.
  uint32_t num_live() const { return num_live_.load(std::memory_order_acquire); }
  uint32_t num_runnable() const;
  uint64_t num_switches() const { return num_switches_.load(std::memory_order_relaxed); }

 private:
  // Appends, and calls a worker if there is an idle one.
  void EnqueueLocked(Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AppendLocked(Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Task* DequeueLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CallLocked(Slot& slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CallSomeIdleLocked(uint32_t preferred) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EndPromiseLocked(Slot& slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool EnoughComeLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return num_queued_.load(std::memory_order_relaxed) <= num_promised_;
  }
  void NoteHeapChangedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void InterruptLongestSlice();

  // A woken task waits at most this long for a worker whose slice goes on.
  static constexpr int64_t kPreemptAfterNanos = 1'000'000;
  // Some ten microseconds; a call counts as Task::kSyscallCost.
  static constexpr uint64_t kPromisedInstructions = 40'000;

  Clock* const clock_;
  std::vector<std::unique_ptr<Slot>> slots_;

  mutable Mutex mu_{LockRank::kScheduler};
  Task* head_ ABSL_GUARDED_BY(mu_) = nullptr;
  Task* tail_ ABSL_GUARDED_BY(mu_) = nullptr;
  DeadlineHeap heap_ ABSL_GUARDED_BY(mu_);
  Slot* keeper_ ABSL_GUARDED_BY(mu_) = nullptr;
  uint32_t num_promised_ ABSL_GUARDED_BY(mu_) = 0;  // workers that have promised to come
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  // Written under mu_, read without as hints.
  std::atomic<uint32_t> num_queued_{0};
  std::atomic<uint32_t> num_idle_{0};
  std::atomic<int64_t> next_deadline_{INT64_MAX};
  std::atomic<uint32_t> num_live_{0};
  std::atomic<uint64_t> num_switches_{0};
};

}  // namespace remora::proc

#endif  // REMORA_PROC_SCHEDULER_H_
