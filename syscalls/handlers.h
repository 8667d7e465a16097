#ifndef REMORA_SYSCALLS_HANDLERS_H_
#define REMORA_SYSCALLS_HANDLERS_H_

#include "proc/syscall_outcome.h"

namespace remora::syscalls {

class SyscallContext;

using Handler = proc::SyscallOutcome (*)(SyscallContext&);

// Declares every handler that the table names.
#define REMORA_SUPPORTED(number, name, handler, ...) proc::SyscallOutcome handler(SyscallContext& c);
#define REMORA_PARTIAL(number, name, handler, ...) proc::SyscallOutcome handler(SyscallContext& c);
#define REMORA_ABSENT(...)
#define REMORA_UNASSIGNED(...)
#include "syscalls/table.inc"
#undef REMORA_SUPPORTED
#undef REMORA_PARTIAL
#undef REMORA_ABSENT
#undef REMORA_UNASSIGNED

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_HANDLERS_H_
