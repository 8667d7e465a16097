#ifndef REMORA_SYSCALLS_STRACE_ARGS_H_
#define REMORA_SYSCALLS_STRACE_ARGS_H_

#include <optional>
#include <string>

#include "mm/user_memory.h"
#include "syscalls/strace_format.h"

namespace remora::syscalls {

// Argument `i` as far as it is known when the call begins; nullopt for kinds that the kernel fills in.
std::optional<std::string> FormatInput(const CallFacts& call, int i, const mm::UserMemory& memory);
// Argument `i` of a kind that the kernel fills in, after the call.
std::string FormatOutput(const CallFacts& call, int i, const mm::UserMemory& memory, int64_t result);
// An argument whose memory says nothing (any more): NULL or hex.
std::string FormatAddress(uint64_t address);
// A struct iovec array, of whose bytes the first bytes_known mean something.
std::string FormatIovecs(const mm::UserMemory& memory, uint64_t address, uint64_t count, uint64_t bytes_known);
// "[INT CHLD]", "~[RTMIN RT_1]".
std::string FormatSignalSet(uint64_t bits);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_STRACE_ARGS_H_
