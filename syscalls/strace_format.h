#ifndef REMORA_SYSCALLS_STRACE_FORMAT_H_
#define REMORA_SYSCALLS_STRACE_FORMAT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mm/user_memory.h"
#include "proc/signal_types.h"
#include "syscalls/table.h"

namespace remora::syscalls {

// Arguments as strace(1) prints them. Pure functions of the values and the guest's memory.

// What is known when a call begins: the text of each argument that the guest hands in, nullopt for those that the
// kernel fills.
using FormattedArgs = std::array<std::optional<std::string>, 6>;

// The raw facts of one call.
struct CallFacts {
  const SyscallRow* row = nullptr;  // null: a number beyond the table
  uint64_t number = 0;
  std::array<uint64_t, 6> args{};
};

FormattedArgs FormatEntry(const CallFacts& call, const mm::UserMemory& memory);
// "read(3, "abc", 4096) = 3". `entry` is what FormatEntry answered; `result` as in rax.
std::string FormatCall(const CallFacts& call, const mm::UserMemory& memory, const FormattedArgs& entry, int64_t result);
// The same for a call that does not come back: "exit_group(0) = ?".
std::string FormatCallWithoutResult(const CallFacts& call, const FormattedArgs& entry);

// "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=7, si_uid=0, si_status=0, si_utime=0, si_stime=0} ---"
std::string FormatSignal(const proc::SignalInfo& info);
// "+++ exited with 3 +++", "+++ killed by SIGKILL +++"
std::string FormatExit(int32_t status);

// "= 3", "= -1 ENOENT (No such file or directory)", "= 0x7f..." after " ".
std::string FormatResult(const CallFacts& call, int64_t result);
// A string in quotes with C escapes; cut at 32 bytes, then followed by "...". `more`: the guest's is longer than
// `bytes`.
std::string QuoteBytes(std::string_view bytes, bool more);
// "SIGTERM", "SIGRT_3", or the number.
std::string SignalName(int signal);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_STRACE_FORMAT_H_
