#ifndef REMORA_SYSCALLS_STRACE_SOCKETS_H_
#define REMORA_SYSCALLS_STRACE_SOCKETS_H_

#include <cstdint>
#include <string>

#include "mm/user_memory.h"

namespace remora::syscalls {

// "SOCK_STREAM|SOCK_CLOEXEC"; flags alone for accept4.
std::string FormatSocketType(uint32_t type_and_flags);
// "{sa_family=AF_UNIX, sun_path="/run/x"}", "@" before an abstract name.
std::string FormatSocketAddress(const mm::UserMemory& memory, uint64_t address, uint32_t length_bytes);
// A struct msghdr; of the bytes behind its iovecs, the first bytes_known mean something.
std::string FormatMessageHeader(const mm::UserMemory& memory, uint64_t address, uint64_t bytes_known);
// "[5]"
std::string FormatIntAt(const mm::UserMemory& memory, uint64_t address);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_STRACE_SOCKETS_H_
