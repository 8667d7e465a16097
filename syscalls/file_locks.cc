#include "syscalls/file_locks.h"

#include "syscalls/handlers.h"

namespace remora::syscalls {

SyscallOutcome RecordLock(SyscallContext&, const Ref<fs::File>&, int32_t) { return Errno(ENOLCK); }
SyscallOutcome SysFlock(SyscallContext& c) {
  REMORA_RETURN_IF_ERROR(c.FileArg(0));
  return Errno(ENOLCK);
}

}  // namespace remora::syscalls
