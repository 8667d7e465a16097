#ifndef REMORA_PROC_TASK_REAPER_H_
#define REMORA_PROC_TASK_REAPER_H_

#include <cstdint>

#include "proc/task.h"
#include "proc/thread_group.h"

namespace remora::proc {

// The parts of exit and exec that reach into Task and ThreadGroup. Own worker only.
class TaskReaper {
 public:
  // The thread is no longer one of its process's. True if it was the last; `group_status` is then the process's.
  // `stopped_by`: not 0 if the process is stopped now that this thread is gone.
  static bool RemoveThread(Task& task, int32_t status, int32_t* group_status, int* stopped_by);
  // exec: makes the other threads end. True once there are none; else the caller is woken when that is so, or has to
  // end itself.
  static bool BecomeOnlyThread(Task& task);
  // exec by a thread other than the first: it takes the process's number. No other thread is left.
  static void TakeProcessNumber(Task& task);
  static void EndExec(Task& task);
};

// The end of a thread's ties to its memory, at exit and exec: robust futexes, clear_child_tid, vfork's parent.
void ReleaseMemoryTies(Task& task);

}  // namespace remora::proc

#endif  // REMORA_PROC_TASK_REAPER_H_
