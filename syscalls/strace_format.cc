#include "syscalls/strace_format.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/abi/abi.h"
#include "proc/syscall_outcome.h"
#include "syscalls/strace_args.h"
#include "syscalls/strace_flags.h"

namespace remora::syscalls {
namespace {

// strace writes the result at this column, or behind the call where that is longer.
constexpr size_t kResultColumn = 40;
constexpr size_t kQuotedBytes = 32;

std::string CallName(const CallFacts& call) {
  if (call.row == nullptr || call.row->name.empty()) return absl::StrFormat("syscall_%#x", call.number);
  return std::string(call.row->name);
}

// Arguments that are there only if another says so.
int NumShownArgs(const CallFacts& call) {
  using enum ArgKind;
  const SyscallRow& row = *call.row;
  int n = row.num_args;
  for (int i = 0; i < row.num_args; ++i) {
    if (row.args[i] == kOpenMode && (call.args[i - 1] & (abi::kO_CREAT | abi::kO_TMPFILE_BIT)) == 0) return i;
    if (row.args[i] == kFcntlArgument) {
      switch (static_cast<int32_t>(call.args[i - 1])) {
        case abi::kF_GETFD:
        case abi::kF_GETFL:
        case abi::kF_GETOWN:
        case abi::kF_GETSIG:
        case abi::kF_GETLEASE:
        case abi::kF_GETPIPE_SZ:
        case abi::kF_GET_SEALS:
          return i;
        default:
          return n;
      }
    }
    if (row.args[i] == kFutexOp) {
      switch (static_cast<int32_t>(call.args[i]) & abi::kFUTEX_CMD_MASK) {
        case abi::kFUTEX_WAKE:
          return 3;
        case abi::kFUTEX_WAIT:
          return 4;
        case abi::kFUTEX_REQUEUE:
          return 5;
        default:
          return n;
      }
    }
  }
  return n;
}

std::string WithResultColumn(std::string call) {
  call.push_back(' ');
  if (call.size() < kResultColumn) call.resize(kResultColumn, ' ');
  return call;
}

// clone's arguments are printed by name, and only those that its flags make meaningful.
std::string CloneArguments(const CallFacts& call) {
  const uint64_t flags = call.args[0];
  std::string text = absl::StrCat("child_stack=", FormatAddress(call.args[1]), ", flags=");
  std::string names = JoinFlags(CloneFlags(), flags & ~abi::kCSIGNAL, "");
  const auto signal = static_cast<int>(flags & abi::kCSIGNAL);
  if (signal != 0) absl::StrAppend(&names, names.empty() ? "" : "|", SignalName(signal));
  text += names.empty() ? "0" : names;
  if ((flags & abi::kCLONE_PARENT_SETTID) != 0) absl::StrAppend(&text, ", parent_tid=", FormatAddress(call.args[2]));
  if ((flags & abi::kCLONE_SETTLS) != 0) absl::StrAppend(&text, ", tls=", FormatAddress(call.args[4]));
  if ((flags & (abi::kCLONE_CHILD_SETTID | abi::kCLONE_CHILD_CLEARTID)) != 0)
    absl::StrAppend(&text, ", child_tidptr=", FormatAddress(call.args[3]));
  return text;
}

constexpr uint64_t kNumberOfPoll = 7, kNumberOfClone = 56, kNumberOfUmask = 95, kNumberOfFcntl = 72;

bool AnswersAddress(uint64_t number) { return number == 9 || number == 12 || number == 25; }  // mmap, brk, mremap

std::string_view RestartText(int64_t code) {
  switch (code) {
    case proc::kRestartSys:
      return "? ERESTARTSYS (To be restarted if SA_RESTART is set)";
    case proc::kRestartNoIntr:
      return "? ERESTARTNOINTR (To be restarted)";
    case proc::kRestartNoHandler:
      return "? ERESTARTNOHAND (To be restarted if no handler)";
    case proc::kRestartBlock:
      return "? ERESTART_RESTARTBLOCK (Interrupted by signal)";
    default:
      return "";
  }
}

// What poll found, behind its result.
std::string PollResult(const CallFacts& call, const mm::UserMemory& memory, int64_t result) {
  if (result == 0) return " (Timeout)";
  if (result < 0) return "";
  std::string text;
  const uint64_t count = std::min<uint64_t>(static_cast<uint32_t>(call.args[1]), kQuotedBytes);
  for (uint64_t i = 0; i < count; ++i) {
    const auto p = memory.Read<abi::Pollfd>(GuestAddr(call.args[0] + sizeof(abi::Pollfd) * i));
    if (!p.ok()) break;
    if (p->revents == 0) continue;
    absl::StrAppend(&text, text.empty() ? "" : ", ", "{fd=", p->fd,
                    ", revents=", JoinFlags(PollEvents(), static_cast<uint16_t>(p->revents)), "}");
  }
  return absl::StrCat(" ([", text, "])");
}

std::string SignalCode(int signal, int code) {
  switch (code) {
    case abi::kSI_USER:
      return "SI_USER";
    case abi::kSI_KERNEL:
      return "SI_KERNEL";
    case abi::kSI_QUEUE:
      return "SI_QUEUE";
    case abi::kSI_TIMER:
      return "SI_TIMER";
    case abi::kSI_TKILL:
      return "SI_TKILL";
    default:
      break;
  }
  if (signal == abi::kSIGCHLD) return NameOrNumber(SignalCodesOfChild(), static_cast<uint32_t>(code), false);
  if (signal == abi::kSIGSEGV && code == abi::kSEGV_MAPERR) return "SEGV_MAPERR";
  if (signal == abi::kSIGSEGV && code == abi::kSEGV_ACCERR) return "SEGV_ACCERR";
  if (signal == abi::kSIGBUS && code == abi::kBUS_ADRERR) return "BUS_ADRERR";
  if (signal == abi::kSIGFPE && code == abi::kFPE_INTDIV) return "FPE_INTDIV";
  if (signal == abi::kSIGILL && code == abi::kILL_ILLOPN) return "ILL_ILLOPN";
  if (signal == abi::kSIGTRAP && code == abi::kTRAP_BRKPT) return "TRAP_BRKPT";
  return absl::StrCat(code);
}

bool IsFault(int signal) {
  return signal == abi::kSIGSEGV || signal == abi::kSIGBUS || signal == abi::kSIGFPE || signal == abi::kSIGILL ||
         signal == abi::kSIGTRAP;
}

}  // namespace

std::string SignalName(int signal) {
  constexpr std::array<std::string_view, 32> kNames = {
      "",          "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",   "SIGTRAP", "SIGABRT", "SIGBUS",
      "SIGFPE",    "SIGKILL", "SIGUSR1",   "SIGSEGV", "SIGUSR2",  "SIGPIPE", "SIGALRM", "SIGTERM",
      "SIGSTKFLT", "SIGCHLD", "SIGCONT",   "SIGSTOP", "SIGTSTP",  "SIGTTIN", "SIGTTOU", "SIGURG",
      "SIGXCPU",   "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",   "SIGPWR",  "SIGSYS"};
  if (signal >= 1 && signal < 32) return std::string(kNames[static_cast<size_t>(signal)]);
  if (signal == abi::kSIGRTMIN) return "SIGRTMIN";
  if (signal > abi::kSIGRTMIN && signal <= abi::kSIGRTMAX) return absl::StrCat("SIGRT_", signal - abi::kSIGRTMIN);
  return absl::StrCat(signal);
}

std::string QuoteBytes(std::string_view bytes, bool more) {
  if (bytes.size() > kQuotedBytes && more) bytes = bytes.substr(0, kQuotedBytes);
  std::string text = "\"";
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    switch (byte) {
      case '"':
        text += "\\\"";
        break;
      case '\\':
        text += "\\\\";
        break;
      case '\n':
        text += "\\n";
        break;
      case '\t':
        text += "\\t";
        break;
      case '\r':
        text += "\\r";
        break;
      case '\v':
        text += "\\v";
        break;
      case '\f':
        text += "\\f";
        break;
      default:
        if (byte >= 0x20 && byte < 0x7f) {
          text.push_back(static_cast<char>(byte));
        } else {
          // The shortest octal form that the next character does not lengthen.
          const bool digit_follows = i + 1 < bytes.size() && bytes[i + 1] >= '0' && bytes[i + 1] <= '7';
          text += digit_follows ? absl::StrFormat("\\%03o", byte) : absl::StrFormat("\\%o", byte);
        }
    }
  }
  text += more ? "\"..." : "\"";
  return text;
}

FormattedArgs FormatEntry(const CallFacts& call, const mm::UserMemory& memory) {
  FormattedArgs entry;
  if (call.row == nullptr) return entry;
  const int n = NumShownArgs(call);
  for (int i = 0; i < n; ++i) entry[static_cast<size_t>(i)] = FormatInput(call, i, memory);
  return entry;
}

std::string FormatResult(const CallFacts& call, int64_t result) {
  if (AnswersAddress(call.number) && (result >= 0 || result < -abi::kMAX_ERRNO))
    return absl::StrFormat("= %#x", static_cast<uint64_t>(result));
  if (result >= 0) {
    if (call.number == kNumberOfUmask) return absl::StrFormat("= %#03o", result);
    if (call.number == kNumberOfFcntl && static_cast<int32_t>(call.args[1]) == abi::kF_GETFD && result != 0)
      return absl::StrFormat("= %#x (flags FD_CLOEXEC)", result);
    if (call.number == kNumberOfFcntl && static_cast<int32_t>(call.args[1]) == abi::kF_GETFL) {
      constexpr std::array<std::string_view, 4> kModes = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
      const std::string rest = JoinFlags(OpenFlags(), static_cast<uint64_t>(result) & ~uint64_t{3}, "");
      return absl::StrFormat("= %#x (flags %s%s%s)", result, kModes[result & 3], rest.empty() ? "" : "|", rest);
    }
    return absl::StrCat("= ", result);
  }
  if (const std::string_view restart = RestartText(-result); !restart.empty()) return "= " + std::string(restart);
  const int error = static_cast<int>(-result);
  const char* name = strerrorname_np(error);
  const char* text = strerrordesc_np(error);
  if (name == nullptr || text == nullptr) return absl::StrCat("= -1 (errno ", error, ")");
  return absl::StrCat("= -1 ", name, " (", text, ")");
}

std::string FormatCall(const CallFacts& call, const mm::UserMemory& memory, const FormattedArgs& entry,
                       int64_t result) {
  std::string text = CallName(call) + "(";
  if (call.number == kNumberOfClone) {
    text += CloneArguments(call);
  } else if (call.row == nullptr || (call.row->num_args == 0 && call.row->support == Support::kAbsent)) {
    // Nothing is known of its arguments.
    for (int i = 0; i < 6; ++i) absl::StrAppend(&text, i == 0 ? "" : ", ", absl::StrFormat("%#x", call.args[i]));
  } else {
    const int n = NumShownArgs(call);
    for (int i = 0; i < n; ++i) {
      const auto& known = entry[static_cast<size_t>(i)];
      absl::StrAppend(&text, i == 0 ? "" : ", ", known ? *known : FormatOutput(call, i, memory, result));
    }
  }
  text = WithResultColumn(text + ")") + FormatResult(call, result);
  if (call.number == kNumberOfPoll) text += PollResult(call, memory, result);
  return text;
}

std::string FormatCallWithoutResult(const CallFacts& call, const FormattedArgs& entry) {
  std::string text = CallName(call) + "(";
  const int n = call.row == nullptr ? 0 : NumShownArgs(call);
  for (int i = 0; i < n; ++i) absl::StrAppend(&text, i == 0 ? "" : ", ", entry[static_cast<size_t>(i)].value_or("?"));
  return WithResultColumn(text + ")") + "= ?";
}

std::string FormatSignal(const proc::SignalInfo& info) {
  const std::string name = SignalName(info.signal);
  std::string text = absl::StrCat("--- ", name, " {si_signo=", name, ", si_code=", SignalCode(info.signal, info.code));
  if (info.code > 0 && IsFault(info.signal)) {
    absl::StrAppend(&text, ", si_addr=", FormatAddress(info.address.value()));
  } else if (info.code == abi::kSI_TIMER) {
    absl::StrAppend(&text, absl::StrFormat(", si_timerid=%#x, si_overrun=%d, si_int=%d, si_ptr=%s", info.pid,
                                           static_cast<int32_t>(info.uid), static_cast<int32_t>(info.value),
                                           FormatAddress(info.value)));
  } else if (info.code != abi::kSI_KERNEL) {
    absl::StrAppend(&text, ", si_pid=", info.pid, ", si_uid=", info.uid);
    if (info.code == abi::kSI_QUEUE)
      absl::StrAppend(&text, absl::StrFormat(", si_int=%d, si_ptr=%s", static_cast<int32_t>(info.value),
                                             FormatAddress(info.value)));
    if (info.code > 0 && info.signal == abi::kSIGCHLD) {
      const std::string status = info.code == abi::kCLD_EXITED ? absl::StrCat(info.status) : SignalName(info.status);
      absl::StrAppend(&text, ", si_status=", status, ", si_utime=", info.user_ticks, ", si_stime=", info.system_ticks);
    }
  }
  return text + "} ---";
}

std::string FormatExit(int32_t status) {
  if ((status & 0x7f) == 0) return absl::StrCat("+++ exited with ", (status >> 8) & 0xff, " +++");
  return absl::StrCat("+++ killed by ", SignalName(status & 0x7f), (status & 0x80) != 0 ? " (core dumped)" : "",
                      " +++");
}

}  // namespace remora::syscalls
