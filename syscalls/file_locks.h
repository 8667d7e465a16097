#ifndef REMORA_SYSCALLS_FILE_LOCKS_H_
#define REMORA_SYSCALLS_FILE_LOCKS_H_

#include <cstdint>

#include "syscalls/context.h"

namespace remora::syscalls {

// fcntl's F_GETLK, F_SETLK, F_SETLKW and their OFD forms; the struct flock is at argument 2.
SyscallOutcome RecordLock(SyscallContext& c, const Ref<fs::File>& file, int32_t command);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_FILE_LOCKS_H_
