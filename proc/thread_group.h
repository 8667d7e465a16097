#ifndef REMORA_PROC_THREAD_GROUP_H_
#define REMORA_PROC_THREAD_GROUP_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/file.h"
#include "proc/signal_types.h"
#include "sync/wait_queue.h"

namespace remora::proc {

class Kernel;
class Task;

// A resource limit, as struct rlimit64.
struct ResourceLimit {
  uint64_t soft = ~uint64_t{0};
  uint64_t hard = ~uint64_t{0};
};

// What became of a process or what it did that a parent may wait for: as wait4(2)'s status word.
struct ChildUsage {
  uint64_t user_nanos = 0, system_nanos = 0;
};

// One process: the threads that share a pid, their signal actions, their family, their exit. Linux's signal_struct and
// thread-group parts of task_struct. Thread safety: all methods from any thread.
class ThreadGroup final : public RefCounted {
 public:
  Kernel& kernel() const;
  int32_t pid() const;
  int32_t parent_pid() const;  // 0 for the first process; the reaper's after the parent died
  int32_t process_group() const;
  int32_t session() const;

  std::vector<Ref<Task>> Tasks() const;
  uint32_t num_tasks() const;
  bool exiting() const;

  // Signal actions (shared by CLONE_SIGHAND; here: by CLONE_THREAD, and copied else).
  SignalAction action(int signal) const;
  // The old action. Sets to ignored drop pending instances.
  SignalAction ExchangeAction(int signal, const SignalAction& action);

  ResourceLimit limit(int resource) const;  // RLIMIT_*
  void set_limit(int resource, ResourceLimit limit);

  // /proc/PID/exe, cmdline.
  fs::Path executable() const;
  void set_executable(fs::Path path);

  int64_t start_time_nanos() const;  // CLOCK_MONOTONIC at creation
  // CPU time of all threads, dead ones included; of reaped children.
  ChildUsage usage() const;
  ChildUsage children_usage() const;

  // Wakes those in wait4 when a child of this process changes state.
  sync::WaitQueue& child_queue();

 private:
  friend class Task;
  friend class ProcessTree;  // the implementer's: pid table, parents, sessions
};

}  // namespace remora::proc

#endif  // REMORA_PROC_THREAD_GROUP_H_
