#ifndef REMORA_PROC_TASK_BUILDER_H_
#define REMORA_PROC_TASK_BUILDER_H_

#include <cstdint>
#include <utility>

#include "proc/task.h"
#include "proc/thread_group.h"

namespace remora::proc {

// Who may make tasks and processes: Clone and Kernel::Start.
class TaskBuilder {
 public:
  static Ref<ThreadGroup> NewGroup(Kernel* kernel, int32_t pid) {
    return Ref<ThreadGroup>::Adopt(new ThreadGroup(kernel, pid));
  }
  static Ref<Task> NewTask(Kernel* kernel, int32_t tid, Ref<ThreadGroup> group) {
    return Ref<Task>::Adopt(new Task(kernel, tid, std::move(group)));
  }
  static void SetBlocked(Task& task, SignalSet blocked) {
    task.blocked_.store(blocked.bits(), std::memory_order_relaxed);
  }
};

}  // namespace remora::proc

#endif  // REMORA_PROC_TASK_BUILDER_H_
