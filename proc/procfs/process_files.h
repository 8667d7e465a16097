#ifndef REMORA_PROC_PROCFS_PROCESS_FILES_H_
#define REMORA_PROC_PROCFS_PROCESS_FILES_H_

#include <string>
#include <string_view>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "proc/task.h"

namespace remora::proc {

// The texts of /proc/PID's files, in Linux's formats (proc(5)). `whole_process`: of the process rather than of the one
// thread. ESRCH where the process is gone. From any thread that may look tasks up.
using GenerateProcessFile = ErrnoOr<std::string> (*)(Task& task, bool whole_process);
using WriteProcessFile = ErrnoOr<void> (*)(Task& task, std::string_view text);

ErrnoOr<std::string> AuxvText(Task& task, bool whole_process);
ErrnoOr<std::string> CmdlineText(Task& task, bool whole_process);
ErrnoOr<std::string> CommText(Task& task, bool whole_process);
ErrnoOr<std::string> EnvironText(Task& task, bool whole_process);
ErrnoOr<std::string> LimitsText(Task& task, bool whole_process);
ErrnoOr<std::string> MapsText(Task& task, bool whole_process);
ErrnoOr<std::string> MountInfoText(Task& task, bool whole_process);
ErrnoOr<std::string> MountsText(Task& task, bool whole_process);
ErrnoOr<std::string> PersonalityText(Task& task, bool whole_process);
ErrnoOr<std::string> StatText(Task& task, bool whole_process);
ErrnoOr<std::string> StatmText(Task& task, bool whole_process);
ErrnoOr<std::string> StatusText(Task& task, bool whole_process);

ErrnoOr<void> WriteComm(Task& task, std::string_view text);

// The task itself if it lives, else another thread of its process that does, else the task: its first thread may have
// ended long before the process.
Ref<Task> AnyLiveThread(const Task& task);

}  // namespace remora::proc

#endif  // REMORA_PROC_PROCFS_PROCESS_FILES_H_
