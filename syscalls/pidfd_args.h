#ifndef REMORA_SYSCALLS_PIDFD_ARGS_H_
#define REMORA_SYSCALLS_PIDFD_ARGS_H_

#include <cstdint>

#include "base/errno_or.h"
#include "proc/pidfd.h"
#include "syscalls/context.h"

namespace remora::syscalls {

// The pidfd of a descriptor: EBADF for anything else.
ErrnoOr<Ref<proc::PidFd>> PidFdArg(SyscallContext& c, int32_t fd);

// The task `pid`, if the caller may read its memory and take its files. ESRCH, EPERM.
ErrnoOr<Ref<proc::Task>> TaskToLookInto(SyscallContext& c, int32_t pid);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_PIDFD_ARGS_H_
