#ifndef REMORA_PROC_SESSIONS_H_
#define REMORA_PROC_SESSIONS_H_

#include <cstdint>

#include "base/errno_or.h"
#include "proc/task.h"

namespace remora::proc {

// Process groups and sessions. Errors as the man pages of the calls tell (EPERM, ESRCH, EACCES, EINVAL).
ErrnoOr<int32_t> CreateSession(Task& caller);                                     // setsid
ErrnoOr<void> SetProcessGroup(Task& caller, int32_t pid, int32_t process_group);  // setpgid
ErrnoOr<int32_t> ProcessGroupOf(Task& caller, int32_t pid);                       // getpgid
ErrnoOr<int32_t> SessionOf(Task& caller, int32_t pid);                            // getsid

}  // namespace remora::proc

#endif  // REMORA_PROC_SESSIONS_H_
