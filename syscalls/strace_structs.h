#ifndef REMORA_SYSCALLS_STRACE_STRUCTS_H_
#define REMORA_SYSCALLS_STRACE_STRUCTS_H_

#include <cstdint>
#include <string>

#include "mm/user_memory.h"

namespace remora::syscalls {

// struct itimerspec, struct itimerval and struct sigevent at `address`, as strace shows them; NULL, or the address
// where it cannot be read.
std::string FormatItimerspec(const mm::UserMemory& memory, uint64_t address);
std::string FormatItimerval(const mm::UserMemory& memory, uint64_t address);
std::string FormatSigevent(const mm::UserMemory& memory, uint64_t address);
// An array of struct sembuf.
std::string FormatSembufs(const mm::UserMemory& memory, uint64_t address, uint64_t count);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_STRACE_STRUCTS_H_
