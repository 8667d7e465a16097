#include "syscalls/strace_args.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/abi/abi.h"
#include "syscalls/strace_flags.h"
#include "syscalls/strace_sockets.h"
#include "syscalls/strace_structs.h"

namespace remora::syscalls {
namespace {

constexpr uint64_t kShownBytes = 32;
constexpr uint64_t kShownElements = 32;

std::string Quoted(const mm::UserMemory& memory, uint64_t address, uint64_t length) {
  if (address == 0) return "NULL";
  std::array<char, kShownBytes> bytes;
  const uint64_t n = std::min(length, kShownBytes);
  if (n != 0 && !memory.CopyIn(std::as_writable_bytes(std::span(bytes)).first(n), GuestAddr(address)).ok())
    return FormatAddress(address);
  return QuoteBytes({bytes.data(), n}, length > n);
}

std::string QuotedPath(const mm::UserMemory& memory, uint64_t address) {
  if (address == 0) return "NULL";
  const auto path = memory.ReadString(GuestAddr(address), abi::kPATH_MAX);
  return path.ok() ? QuoteBytes(*path, false) : FormatAddress(address);
}

// One string of an argument vector, cut at 32 bytes.
std::string QuotedString(const mm::UserMemory& memory, uint64_t address) {
  std::string text;
  for (uint64_t i = 0; i <= kShownBytes; ++i) {
    const auto byte = memory.Read<char>(GuestAddr(address + i));
    if (!byte.ok()) return FormatAddress(address);
    if (*byte == 0) return QuoteBytes(text, false);
    text.push_back(*byte);
  }
  text.pop_back();
  return QuoteBytes(text, true);
}

std::string Strings(const mm::UserMemory& memory, uint64_t address) {
  if (address == 0) return "NULL";
  std::string text = "[";
  for (uint64_t i = 0;; ++i) {
    const auto pointer = memory.Read<uint64_t>(GuestAddr(address + 8 * i));
    if (!pointer.ok()) return FormatAddress(address);
    if (*pointer == 0) break;
    if (i != 0) text += ", ";
    if (i == kShownElements) {
      text += "...";
      break;
    }
    text += QuotedString(memory, *pointer);
  }
  return text + "]";
}

std::string Environment(const mm::UserMemory& memory, uint64_t address) {
  if (address == 0) return "NULL";
  constexpr uint64_t kMostVariables = 100'000;
  uint64_t n = 0;
  for (; n < kMostVariables; ++n) {
    const auto pointer = memory.Read<uint64_t>(GuestAddr(address + 8 * n));
    if (!pointer.ok()) return FormatAddress(address);
    if (*pointer == 0) break;
  }
  return absl::StrFormat("%s /* %d var%s */", FormatAddress(address), n, n == 1 ? "" : "s");
}

std::string Timespec(const abi::Timespec& t) {
  if (t.tv_nsec == abi::kUTIME_NOW) return "UTIME_NOW";
  if (t.tv_nsec == abi::kUTIME_OMIT) return "UTIME_OMIT";
  return absl::StrFormat("{tv_sec=%d, tv_nsec=%d}", t.tv_sec, t.tv_nsec);
}

// The struct at `address` as `format` shows it; NULL, or the address where it cannot be read.
template <typename T, typename F>
std::string Struct(const mm::UserMemory& memory, uint64_t address, F format) {
  if (address == 0) return "NULL";
  const auto value = memory.Read<T>(GuestAddr(address));
  return value.ok() ? format(*value) : FormatAddress(address);
}

std::string TimespecAt(const mm::UserMemory& memory, uint64_t address) {
  return Struct<abi::Timespec>(memory, address, Timespec);
}
std::string TimevalAt(const mm::UserMemory& memory, uint64_t address) {
  return Struct<abi::Timeval>(memory, address, [](const abi::Timeval& t) {
    return absl::StrFormat("{tv_sec=%d, tv_usec=%d}", t.tv_sec, t.tv_usec);
  });
}

std::string Sigaction(const mm::UserMemory& memory, uint64_t address) {
  return Struct<abi::Sigaction>(memory, address, [](const abi::Sigaction& a) {
    std::string text = "{sa_handler=";
    if (a.handler == abi::kSIG_DFL)
      text += "SIG_DFL";
    else if (a.handler == abi::kSIG_IGN)
      text += "SIG_IGN";
    else
      text += FormatAddress(a.handler);
    absl::StrAppend(&text, ", sa_mask=", FormatSignalSet(a.mask), ", sa_flags=", JoinFlags(SigactionFlags(), a.flags));
    if ((a.flags & abi::kSA_RESTORER) != 0) absl::StrAppend(&text, ", sa_restorer=", FormatAddress(a.restorer));
    return text + "}";
  });
}

std::string Limit(uint64_t value) {
  if (value == abi::kRLIM_INFINITY) return "RLIM64_INFINITY";
  if (value > 1024 && value % 1024 == 0) return absl::StrCat(value / 1024, "*1024");
  return absl::StrCat(value);
}
std::string Rlimit(const mm::UserMemory& memory, uint64_t address) {
  return Struct<abi::Rlimit>(memory, address, [](const abi::Rlimit& r) {
    return absl::StrCat("{rlim_cur=", Limit(r.rlim_cur), ", rlim_max=", Limit(r.rlim_max), "}");
  });
}

std::string ModeBits(uint32_t mode) { return absl::StrFormat("%#03o", mode); }

std::string FileMode(uint32_t mode) {
  constexpr std::array<std::string_view, 16> kTypes = {
      "", "S_IFIFO", "S_IFCHR", "", "S_IFDIR", "", "S_IFBLK", "", "S_IFREG", "", "S_IFLNK", "", "S_IFSOCK", "", "", ""};
  const std::string_view type = kTypes[(mode & abi::kS_IFMT) >> 12];
  if (type.empty()) return ModeBits(mode);
  std::string text(type);
  if ((mode & abi::kS_ISUID) != 0) text += "|S_ISUID";
  if ((mode & abi::kS_ISGID) != 0) text += "|S_ISGID";
  if ((mode & abi::kS_ISVTX) != 0) text += "|S_ISVTX";
  return absl::StrCat(text, "|", ModeBits(mode & 0777));
}

std::string Stat(const mm::UserMemory& memory, uint64_t address) {
  return Struct<abi::Stat>(memory, address, [](const abi::Stat& s) {
    const uint32_t type = s.st_mode & abi::kS_IFMT;
    if (type == abi::kS_IFCHR || type == abi::kS_IFBLK)
      return absl::StrFormat("{st_mode=%s, st_rdev=makedev(%#x, %#x), ...}", FileMode(s.st_mode),
                             abi::DeviceMajor(s.st_rdev), abi::DeviceMinor(s.st_rdev));
    return absl::StrFormat("{st_mode=%s, st_size=%d, ...}", FileMode(s.st_mode), s.st_size);
  });
}

std::string WaitStatus(const mm::UserMemory& memory, uint64_t address) {
  return Struct<int32_t>(memory, address, [](int32_t s) -> std::string {
    if (s == abi::kWaitStatusContinued) return "[{WIFCONTINUED(s)}]";
    if ((s & 0xff) == 0x7f)
      return absl::StrCat("[{WIFSTOPPED(s) && WSTOPSIG(s) == ", SignalName((s >> 8) & 0xff), "}]");
    if ((s & 0x7f) == 0) return absl::StrCat("[{WIFEXITED(s) && WEXITSTATUS(s) == ", (s >> 8) & 0xff, "}]");
    return absl::StrCat("[{WIFSIGNALED(s) && WTERMSIG(s) == ", SignalName(s & 0x7f),
                        (s & 0x80) != 0 ? " && WCOREDUMP(s)" : "", "}]");
  });
}

std::string Pollfds(const mm::UserMemory& memory, uint64_t address, uint64_t count) {
  if (address == 0) return "NULL";
  std::string text = "[";
  for (uint64_t i = 0; i < count; ++i) {
    if (i != 0) text += ", ";
    if (i == kShownElements) {
      text += "...";
      break;
    }
    const auto p = memory.Read<abi::Pollfd>(GuestAddr(address + sizeof(abi::Pollfd) * i));
    if (!p.ok()) return FormatAddress(address);
    absl::StrAppend(&text, "{fd=", p->fd);
    if (p->fd >= 0) absl::StrAppend(&text, ", events=", JoinFlags(PollEvents(), static_cast<uint16_t>(p->events)));
    text += "}";
  }
  return text + "]";
}

std::string EpollEvent(const abi::EpollEvent& e) {
  return absl::StrFormat("{events=%s, data={u32=%u, u64=%u}}", JoinFlags(EpollEvents(), e.events),
                         static_cast<uint32_t>(e.data), static_cast<uint64_t>(e.data));
}

std::string EpollEventsAt(const mm::UserMemory& memory, uint64_t address, uint64_t count) {
  std::string text = "[";
  for (uint64_t i = 0; i < count; ++i) {
    if (i != 0) text += ", ";
    if (i == kShownElements) {
      text += "...";
      break;
    }
    const auto e = memory.Read<abi::EpollEvent>(GuestAddr(address + sizeof(abi::EpollEvent) * i));
    if (!e.ok()) return FormatAddress(address);
    text += EpollEvent(*e);
  }
  return text + "]";
}

std::string FdSet(const mm::UserMemory& memory, uint64_t address, uint64_t num_fds) {
  if (address == 0) return "NULL";
  std::string text = "[";
  num_fds = std::min<uint64_t>(num_fds, abi::kFD_SETSIZE);
  for (uint64_t word = 0; word * 64 < num_fds; ++word) {
    const auto bits = memory.Read<uint64_t>(GuestAddr(address + 8 * word));
    if (!bits.ok()) return FormatAddress(address);
    for (uint64_t fd = word * 64; fd < std::min(num_fds, word * 64 + 64); ++fd)
      if ((*bits >> fd % 64 & 1) != 0) absl::StrAppend(&text, text.size() == 1 ? "" : " ", fd);
  }
  return text + "]";
}

std::string HexOrZero(uint64_t value) { return value == 0 ? "0" : absl::StrFormat("%#x", value); }

std::string OpenFlagsText(uint32_t flags) {
  constexpr std::array<std::string_view, 4> kModes = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
  const std::string rest = JoinFlags(OpenFlags(), flags & ~abi::kO_ACCMODE, "");
  const std::string_view mode = kModes[flags & abi::kO_ACCMODE];
  std::string text(mode);
  if (!rest.empty()) text += "|" + rest;
  return text;
}

std::string FutexOpText(uint32_t op) {
  std::string text = NameOrNumber(FutexOps(), op & static_cast<uint32_t>(abi::kFUTEX_CMD_MASK));
  if ((op & abi::kFUTEX_PRIVATE_FLAG) != 0) text += "_PRIVATE";
  if ((op & abi::kFUTEX_CLOCK_REALTIME) != 0) text += "|FUTEX_CLOCK_REALTIME";
  return text;
}

std::string FcntlArgument(const CallFacts& call, int i) {
  const uint64_t value = call.args[i];
  switch (static_cast<int32_t>(call.args[1])) {
    case abi::kF_SETFD:
      return value == abi::kFD_CLOEXEC ? "FD_CLOEXEC" : absl::StrFormat("%#x", value);
    case abi::kF_SETFL:
      return OpenFlagsText(static_cast<uint32_t>(value));
    case abi::kF_DUPFD:
    case abi::kF_DUPFD_CLOEXEC:
    case abi::kF_SETPIPE_SZ:
      return absl::StrCat(static_cast<int64_t>(value));
    default:
      return FormatAddress(value);
  }
}

std::string FutexTimeout(const CallFacts& call, int i, const mm::UserMemory& memory) {
  switch (static_cast<int32_t>(call.args[1]) & abi::kFUTEX_CMD_MASK) {
    case abi::kFUTEX_WAIT:
    case abi::kFUTEX_WAIT_BITSET:
      return TimespecAt(memory, call.args[i]);
    default:
      return absl::StrCat(static_cast<uint32_t>(call.args[i]));
  }
}

}  // namespace

std::string FormatIovecs(const mm::UserMemory& memory, uint64_t address, uint64_t count, uint64_t bytes_known) {
  if (address == 0) return "NULL";
  std::string text = "[";
  for (uint64_t i = 0; i < count; ++i) {
    if (i != 0) text += ", ";
    if (i == kShownElements) {
      text += "...";
      break;
    }
    const auto iov = memory.Read<abi::Iovec>(GuestAddr(address + 16 * i));
    if (!iov.ok()) return FormatAddress(address);
    const uint64_t length = std::min(iov->iov_len, bytes_known);
    absl::StrAppend(&text, "{iov_base=", Quoted(memory, iov->iov_base, length), ", iov_len=", iov->iov_len, "}");
    bytes_known -= length;
  }
  return text + "]";
}

std::string FormatAddress(uint64_t address) { return address == 0 ? "NULL" : absl::StrFormat("%#x", address); }

std::string FormatSignalSet(uint64_t bits) {
  // As strace: what is mostly set is shown by what it lacks.
  const bool inverted = __builtin_popcountll(bits) > 42;
  const uint64_t shown = inverted ? ~bits : bits;
  std::string text = inverted ? "~[" : "[";
  bool first = true;
  for (int signal = 1; signal <= proc::kNumSignals; ++signal) {
    if ((shown >> (signal - 1) & 1) == 0) continue;
    const std::string name = SignalName(signal);
    absl::StrAppend(&text, first ? "" : " ", name.starts_with("SIG") ? name.substr(3) : name);
    first = false;
  }
  return text + "]";
}

std::optional<std::string> FormatInput(const CallFacts& call, int i, const mm::UserMemory& memory) {
  using enum ArgKind;
  const uint64_t value = call.args[i];
  const auto word = static_cast<uint32_t>(value);
  const uint64_t next = i + 1 < 6 ? call.args[i + 1] : 0;
  switch (call.row->args[i]) {
    case kNone:
    case kHex:
      return HexOrZero(value);
    case kAccessMode:
      return JoinFlags(AccessModes(), word, "F_OK");
    case kArchCode:
      return NameOrNumber(ArchCodes(), word);
    case kAtFlags:
      return JoinFlags(AtFlags(), word);
    case kBytesIn:
      return Quoted(memory, value, next);
    case kClockId:
      return NameOrNumber(Clocks(), word);
    case kCloneFlags: {
      std::string text = JoinFlags(CloneFlags(), value & ~abi::kCSIGNAL, "");
      const auto signal = static_cast<int>(value & abi::kCSIGNAL);
      if (signal != 0) absl::StrAppend(&text, text.empty() ? "" : "|", SignalName(signal));
      return text.empty() ? "0" : text;
    }
    case kCloseRangeFlags:
      return JoinFlags(CloseRangeFlags(), word);
    case kDirFd:
      return static_cast<int32_t>(word) == abi::kAT_FDCWD ? "AT_FDCWD" : absl::StrCat(static_cast<int32_t>(word));
    case kEnvironment:
      return Environment(memory, value);
    case kEpollEventIn:
      if (static_cast<int32_t>(call.args[1]) == abi::kEPOLL_CTL_DEL) return FormatAddress(value);
      return Struct<abi::EpollEvent>(memory, value, EpollEvent);
    case kEpollFlags:
      return JoinFlags(EpollFlags(), word);
    case kEpollOp:
      return NameOrNumber(EpollOps(), word);
    case kEventfdFlags:
      return JoinFlags(EventfdFlags(), word);
    case kFcntlArgument:
      return FcntlArgument(call, i);
    case kFcntlCommand:
      return NameOrNumber(FcntlCommands(), word);
    case kFd:
    case kInt:
      return absl::StrCat(static_cast<int32_t>(word));
    case kFdSet:
      return FdSet(memory, value, call.args[0]);
    case kFileMode:
      return FileMode(word);
    case kFlockOp:
      return JoinFlags(FlockOps(), word);
    case kFutexOp:
      return FutexOpText(word);
    case kFutexTimeout:
      return FutexTimeout(call, i, memory);
    case kIoctlRequest:
      return NameOrNumber(IoctlRequests(), word);
    case kIovecIn:
      return FormatIovecs(memory, value, next, ~uint64_t{0});
    case kLong:
    case kOffset:
      return absl::StrCat(static_cast<int64_t>(value));
    case kMadvise:
      return NameOrNumber(MadviseAdvices(), word);
    case kMapFlags:
      return JoinFlags(MapFlags(), word);
    case kMode:
    case kOpenMode:
      return ModeBits(word);
    case kMremapFlags:
      return JoinFlags(MremapFlags(), word);
    case kMsyncFlags:
      return JoinFlags(MsyncFlags(), word);
    case kOffsetPtr:
      return Struct<int64_t>(memory, value, [](int64_t offset) { return absl::StrCat("[", offset, "]"); });
    case kOpenFlags: {
      // pipe2 and dup3 take these flags without an access mode.
      const bool opens = i > 0 && (call.row->args[i - 1] == kPath);
      return opens ? OpenFlagsText(word) : JoinFlags(OpenFlags(), word);
    }
    case kPath:
      return QuotedPath(memory, value);
    case kPointer:
    case kPointerHint:
      return FormatAddress(value);
    case kPollFds:
      return Pollfds(memory, value, static_cast<uint32_t>(next));
    case kPrctlOption:
      return NameOrNumber(PrctlOptions(), word);
    case kProtection:
      return JoinFlags(ProtectionFlags(), word, "PROT_NONE");
    case kRandomFlags:
      return JoinFlags(RandomFlags(), word);
    case kRenameFlags:
      return JoinFlags(RenameFlags(), word);
    case kResource:
      return NameOrNumber(Resources(), word);
    case kRlimitIn:
      return Rlimit(memory, value);
    case kSigactionIn:
      return Sigaction(memory, value);
    case kSignal:
      return SignalName(static_cast<int>(word));
    case kSigprocmaskHow:
      return NameOrNumber(SigprocmaskHows(), word);
    case kSigsetIn:
      return Struct<uint64_t>(memory, value, FormatSignalSet);
    case kSize:
    case kCount:
      return absl::StrCat(value);
    case kStatxFlags: {
      std::string text = JoinFlags(AtFlags(), word, "AT_STATX_SYNC_AS_STAT");
      return text;
    }
    case kStrings:
      return Strings(memory, value);
    case kTimespecIn:
      return TimespecAt(memory, value);
    case kTimespecPairIn:
      if (value == 0) return "NULL";
      return absl::StrCat("[", TimespecAt(memory, value), ", ", TimespecAt(memory, value + 16), "]");
    case kTimevalIn:
      return TimevalAt(memory, value);
    case kUInt:
      return absl::StrCat(word);
    case kMessageFlags:
      return JoinFlags(MessageFlags(), word);
    case kShutdownHow:
      return NameOrNumber(ShutdownHows(), word);
    case kSockaddrIn:
      return FormatSocketAddress(memory, value, static_cast<uint32_t>(next));
    case kSocketDomain:
      return NameOrNumber(SocketDomains(), word, false);
    case kSocketLevel:
      return word == abi::kSOL_SOCKET ? "SOL_SOCKET" : absl::StrCat(word);
    case kSocketOption:
      return NameOrNumber(SocketOptions(), word, false);
    case kSocketType:
      return FormatSocketType(word);
    case kMsghdrIn:
      return FormatMessageHeader(memory, value, ~uint64_t{0});
    case kOptionIn:
      return FormatIntAt(memory, value);
    case kFallocateMode:
      return JoinFlags(FallocateModes(), word);
    case kIpcFlags: {
      const std::string flags = JoinFlags(IpcFlags(), word & ~0777u, "");
      return absl::StrCat(flags, flags.empty() ? "" : "|", ModeBits(word & 0777));
    }
    case kIpcKey:
      return word == 0 ? "IPC_PRIVATE" : absl::StrFormat("%#x", word);
    case kItimer:
      return NameOrNumber(Itimers(), word);
    case kItimerspecIn:
      return FormatItimerspec(memory, value);
    case kItimervalIn:
      return FormatItimerval(memory, value);
    case kMembarrierCommand:
      return NameOrNumber(MembarrierCommands(), word);
    case kMsgCommand:
      return NameOrNumber(MsgCommands(), word, false);
    case kMsgFlags:
      return JoinFlags(MsgFlags(), word);
    case kSemCommand:
      return NameOrNumber(SemCommands(), word, false);
    case kSembufs:
      return FormatSembufs(memory, value, static_cast<uint32_t>(next));
    case kShmCommand:
      return NameOrNumber(ShmCommands(), word, false);
    case kShmatFlags:
      return JoinFlags(ShmatFlags(), word);
    case kInotifyEvents:
      return JoinFlags(InotifyEvents(), word);
    case kInotifyFlags:
      return JoinFlags(InotifyFlags(), word);
    case kMemfdFlags:
      return JoinFlags(MemfdFlags(), word);
    case kPidfdFlags:
      return JoinFlags(PidfdFlags(), word);
    case kSigeventIn:
      return FormatSigevent(memory, value);
    case kSignalfdFlags:
      return JoinFlags(SignalfdFlags(), word);
    case kSpliceFlags:
      return JoinFlags(SpliceFlags(), word);
    case kTimerFlags:
      return JoinFlags(TimerFlags(), word);
    case kTimerfdFlags:
      return JoinFlags(TimerfdFlags(), word);
    case kTimerfdSetFlags:
      return JoinFlags(TimerfdSetFlags(), word);
    case kUnlinkFlags:
      return JoinFlags(UnlinkFlags(), word);
    case kWaitFlags:
      return JoinFlags(WaitFlags(), word);
    case kWhence:
      return NameOrNumber(Whences(), word);
    case kBytesOut:
    case kFdPairOut:
    case kIntOut:
    case kIovecOut:
    case kItimerspecOut:
    case kItimervalOut:
    case kMsghdrOut:
    case kOptionOut:
    case kRlimitOut:
    case kSigactionOut:
    case kSigsetOut:
    case kSockaddrOut:
    case kSocklenOut:
    case kEpollEventsOut:
    case kStatOut:
    case kStringOut:
    case kTimespecOut:
    case kTimevalOut:
    case kUtsnameOut:
    case kWaitStatusOut:
      return std::nullopt;
  }
  return FormatAddress(value);
}

std::string FormatOutput(const CallFacts& call, int i, const mm::UserMemory& memory, int64_t result) {
  using enum ArgKind;
  const uint64_t address = call.args[i];
  if (result < 0) return FormatAddress(address);
  const auto moved = static_cast<uint64_t>(result);
  switch (call.row->args[i]) {
    case kBytesOut:
      return Quoted(memory, address, moved);
    case kEpollEventsOut:
      return EpollEventsAt(memory, address, moved);
    case kIovecOut:
      return FormatIovecs(memory, address, call.args[i + 1], moved);
    case kFdPairOut:
      return Struct<std::array<int32_t, 2>>(
          memory, address, [](const auto& fds) { return absl::StrCat("[", fds[0], ", ", fds[1], "]"); });
    case kIntOut:
      return FormatIntAt(memory, address);
    case kItimerspecOut:
      return FormatItimerspec(memory, address);
    case kItimervalOut:
      return FormatItimerval(memory, address);
    case kRlimitOut:
      return Rlimit(memory, address);
    case kSigactionOut:
      return Sigaction(memory, address);
    case kSigsetOut:
      return Struct<uint64_t>(memory, address, FormatSignalSet);
    case kMsghdrOut:
      return FormatMessageHeader(memory, address, moved);
    case kOptionOut:
    case kSocklenOut:
      return FormatIntAt(memory, address);
    case kSockaddrOut: {
      const auto length = memory.Read<uint32_t>(GuestAddr(call.args[i + 1]));
      return length.ok() ? FormatSocketAddress(memory, address, *length) : FormatAddress(address);
    }
    case kStatOut:
      return Stat(memory, address);
    case kStringOut:
      return QuotedPath(memory, address);
    case kTimespecOut:
      return TimespecAt(memory, address);
    case kTimevalOut:
      return TimevalAt(memory, address);
    case kUtsnameOut:
      return Struct<abi::Utsname>(memory, address, [](const abi::Utsname& u) {
        return absl::StrCat("{sysname=", QuoteBytes(std::string_view(u.sysname), false),
                            ", nodename=", QuoteBytes(std::string_view(u.nodename), false), ", ...}");
      });
    case kWaitStatusOut:
      return result == 0 ? FormatAddress(address) : WaitStatus(memory, address);
    default:
      return FormatAddress(address);
  }
}

}  // namespace remora::syscalls
