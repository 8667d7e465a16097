#ifndef REMORA_PROC_PROGRAM_STACK_H_
#define REMORA_PROC_PROGRAM_STACK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/errno_or.h"
#include "base/guest_addr.h"

namespace remora::proc {

// What a program finds on its stack when it starts (System V ABI, AMD64 supplement, 3.4.1), as Linux lays it out:
//
//   top         8 zero bytes
//               the path that was executed (AT_EXECFN), the environment's strings, the arguments' strings (lowest)
//               "x86_64" (AT_PLATFORM), 16 random bytes (AT_RANDOM)
//               auxv pairs up to AT_NULL; envp, NULL; argv, NULL; argc
//   sp (16-byte aligned)
struct ProgramStackInput {
  GuestAddr top;
  std::string executable_path;
  std::vector<std::string> argv, envp;
  std::array<std::byte, 16> random_bytes{};
  // In the order in which they shall stand; AT_RANDOM, AT_EXECFN and AT_PLATFORM get their values here.
  std::vector<std::pair<uint64_t, uint64_t>> auxv;
};

struct ProgramStack {
  GuestAddr stack_pointer;
  std::vector<std::byte> bytes;  // from stack_pointer to top
  GuestAddr arg_start, arg_end, env_start, env_end;
  std::vector<uint64_t> auxv;  // as it stands on the stack, AT_NULL included
};
ProgramStack BuildProgramStack(const ProgramStackInput& input);

// Bytes that argv, envp and the pointers to them take: what RLIMIT_STACK / 4 limits. E2BIG above `limit_bytes`, or for
// a string of more than 128 KiB.
ErrnoOr<void> CheckArgumentSize(const std::vector<std::string>& argv, const std::vector<std::string>& envp,
                                uint64_t limit_bytes);

}  // namespace remora::proc

#endif  // REMORA_PROC_PROGRAM_STACK_H_
