#ifndef REMORA_PROC_EXIT_H_
#define REMORA_PROC_EXIT_H_

#include <cstdint>

#include "proc/task.h"

namespace remora::proc {

// Ends one thread (exit) or the process (exit_group, a fatal signal). Status words as wait4(2) gives them: code << 8,
// or the signal number | 0x80 if a core would be dumped. clear_child_tid, robust futexes, vfork, close of files,
// reparenting, SIGCHLD are done here. Own worker only; afterwards the task must not run again.
void ExitThread(Task& task, int32_t status);
// Marks the group as dying with `status` and kills its other threads; then ExitThread.
void ExitGroup(Task& task, int32_t status);

}  // namespace remora::proc

#endif  // REMORA_PROC_EXIT_H_
