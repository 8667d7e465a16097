#ifndef REMORA_SYSCALLS_DOCS_H_
#define REMORA_SYSCALLS_DOCS_H_

#include <string>

namespace remora::syscalls {

// The text of docs/syscalls.md, made of syscalls/table.inc.
std::string SyscallsDocument();

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_DOCS_H_
