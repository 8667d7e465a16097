#ifndef REMORA_PROC_THREAD_GROUP_H_
#define REMORA_PROC_THREAD_GROUP_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "fs/path.h"
#include "proc/pending_signals.h"
#include "proc/signal_types.h"
#include "sync/wait_queue.h"

namespace remora::proc {

class Kernel;
class ProcessTimers;
class Task;

// A resource limit, as struct rlimit64.
struct ResourceLimit {
  uint64_t soft = ~uint64_t{0};
  uint64_t hard = ~uint64_t{0};
};

// What a process, or those it waited for, used.
struct ChildUsage {
  uint64_t user_nanos = 0, system_nanos = 0;
  uint64_t max_resident_pages = 0;  // of the largest one
  uint64_t minor_faults = 0;
  uint64_t voluntary_switches = 0, involuntary_switches = 0;

  void Add(const ChildUsage& other) {
    user_nanos += other.user_nanos;
    system_nanos += other.system_nanos;
    max_resident_pages = std::max(max_resident_pages, other.max_resident_pages);
    minor_faults += other.minor_faults;
    voluntary_switches += other.voluntary_switches;
    involuntary_switches += other.involuntary_switches;
  }
};

// One process: the threads that share a pid, their signal actions, their exit. Where it stands among its relatives is
// ProcessTree's to know. Linux's signal_struct, sighand_struct and the thread-group parts of task_struct under one
// mutex. Difference: signal actions are shared by threads only (CLONE_SIGHAND without CLONE_THREAD copies them).
//
// Life: alive (tasks_ not empty) -> [exiting: a status is decided, the threads are ending] -> dead (tasks_ empty; a
// zombie in the ProcessTree until it is reaped).
// Thread safety: all methods from any thread.
class ThreadGroup final : public RefCounted {
 public:
  Kernel& kernel() const { return *kernel_; }
  int32_t pid() const { return pid_; }
  // Never used twice in a Kernel, as pids are.
  uint64_t serial() const { return serial_; }
  // 0 for the first process; the reaper's after the parent died.
  int32_t parent_pid() const { return parent_pid_.load(std::memory_order_relaxed); }
  int32_t process_group() const { return process_group_.load(std::memory_order_relaxed); }
  int32_t session() const { return session_.load(std::memory_order_relaxed); }

  std::vector<Ref<Task>> Tasks() const;
  uint32_t num_tasks() const { return num_tasks_.load(std::memory_order_acquire); }
  bool exiting() const { return exiting_.load(std::memory_order_acquire); }
  // This thread has to end, whatever it is doing: the process dies, or another thread execs.
  bool must_end(const Task* task) const {
    const Task* const execing = exec_task_.load(std::memory_order_acquire);
    return exiting() || (execing != nullptr && execing != task);
  }
  bool stopped() const { return stopped_.load(std::memory_order_acquire); }

  // Signal actions (shared by CLONE_SIGHAND; here: by CLONE_THREAD, and copied else).
  SignalAction action(int signal) const;
  // The old action. Sets to ignored drop pending instances.
  SignalAction ExchangeAction(int signal, const SignalAction& action);

  ResourceLimit limit(int resource) const;  // RLIMIT_*; unlimited for numbers that Linux does not know
  void set_limit(int resource, ResourceLimit limit);

  // /proc/PID/exe, cmdline.
  fs::Path executable() const;
  void set_executable(fs::Path path);

  int64_t start_time_nanos() const { return start_time_nanos_; }  // CLOCK_MONOTONIC at creation
  // CPU time of all threads, dead ones included; of reaped children.
  ChildUsage usage() const;
  ChildUsage children_usage() const;

  // PR_SET_CHILD_SUBREAPER: orphaned descendants become this process's children.
  std::atomic<bool> child_subreaper{false};

  // The last thread has ended and the parent can wait for it; exit_queue() is told.
  bool ended() const { return ended_.load(std::memory_order_acquire); }
  sync::WaitQueue& exit_queue() { return exit_queue_; }

  // membarrier(2): the commands that the process registered for. fork passes them on, exec does not.
  std::atomic<uint32_t> registered_barriers{0};

  // Wakes those in wait4 when a child of this process changes state.
  sync::WaitQueue& child_queue() { return child_queue_; }
  // alarm(2), setitimer(2), timer_create(2).
  ProcessTimers& timers() const { return *timers_; }

 private:
  friend class Kernel;
  friend class Task;
  friend class ProcessTree;  // proc/process_tree.h
  friend class SignalState;  // proc/signal_state.h
  friend class TaskBuilder;  // proc/task_builder.h
  friend class TaskReaper;   // proc/exit.cc, proc/exec.cc

  ThreadGroup(Kernel* kernel, int32_t pid);
  ~ThreadGroup() override;

  static constexpr int kNumLimits = 16;

  Kernel* const kernel_;
  const int32_t pid_;
  const uint64_t serial_;
  const int64_t start_time_nanos_;
  const std::unique_ptr<ProcessTimers> timers_;

  // Written under ProcessTree's mutex.
  std::atomic<int32_t> parent_pid_{0}, process_group_{0}, session_{0};

  mutable Mutex mu_{LockRank::kThreadGroup};
  std::vector<Ref<Task>> tasks_ ABSL_GUARDED_BY(mu_);  // living threads
  std::array<SignalAction, kNumSignals> actions_ ABSL_GUARDED_BY(mu_);
  PendingSignals pending_ ABSL_GUARDED_BY(mu_);
  std::array<ResourceLimit, kNumLimits> limits_ ABSL_GUARDED_BY(mu_);
  fs::Path executable_ ABSL_GUARDED_BY(mu_);
  ChildUsage dead_usage_ ABSL_GUARDED_BY(mu_);
  int32_t exit_status_ ABSL_GUARDED_BY(mu_) = 0;    // once exiting_
  int32_t leader_status_ ABSL_GUARDED_BY(mu_) = 0;  // of the first thread, where nobody ended the whole group
  // A stop signal was taken and its stop has not begun; a SIGCONT that comes between the two undoes it.
  bool stop_taken_ ABSL_GUARDED_BY(mu_) = false;
  // A stop is under way or done; num_stopped_ of the living threads have come to rest.
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  int stop_signal_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t num_stopped_ ABSL_GUARDED_BY(mu_) = 0;
  bool tell_continued_ ABSL_GUARDED_BY(mu_) = false;

  // Written under mu_.
  // The thread that execs, while the others have to end for it.
  std::atomic<Task*> exec_task_{nullptr};
  std::atomic<uint32_t> num_tasks_{0};
  std::atomic<bool> exiting_{false}, stopped_{false};
  std::atomic<bool> ended_{false};

  sync::WaitQueue child_queue_, exit_queue_;

  // ProcessTree's, guarded by its mutex.
  struct Family {
    ThreadGroup* parent = nullptr;
    ThreadGroup *first_child = nullptr, *last_child = nullptr;
    ThreadGroup *next = nullptr, *previous = nullptr;  // siblings
    int exit_signal = 0;
    bool registered = false;
    bool dead = false;  // zombie
    int32_t status = 0;
    uint32_t uid = 0;
    int stopped_by = 0;  // not yet waited for
    bool continued = false;
    bool has_execed = false;
    ChildUsage children_usage;
  };
  Family family_;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_THREAD_GROUP_H_
