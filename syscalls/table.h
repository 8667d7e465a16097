#ifndef REMORA_SYSCALLS_TABLE_H_
#define REMORA_SYSCALLS_TABLE_H_

#include <array>
#include <cstdint>
#include <string_view>

namespace remora::syscalls {

// How an argument is printed by strace, and so what it is. "Out" kinds are read from guest memory after the call.
enum class ArgKind : uint8_t {
  kNone,
  kAccessMode,
  kArchCode,
  kAtFlags,
  kBytesIn,   // a buffer whose length is the argument that follows
  kBytesOut,  // a buffer that holds as many bytes as the call answered
  kClockId,
  kCloneFlags,
  kCloseRangeFlags,
  kCount,
  kDirFd,
  kEnvironment,
  kEpollEventIn,
  kEpollEventsOut,  // as many as the call answered
  kEpollFlags,
  kEpollOp,
  kEventfdFlags,
  kFcntlArgument,
  kFcntlCommand,
  kFd,
  kFdPairOut,
  kFdSet,
  kFileMode,
  kFlockOp,
  kFutexOp,
  kFutexTimeout,
  kFallocateMode,
  kHex,
  kInt,
  kIntOut,
  kInotifyEvents,
  kInotifyFlags,
  kIoctlRequest,
  kIovecIn,
  kIovecOut,
  kIpcFlags,
  kIpcKey,
  kItimer,
  kItimerspecIn,
  kItimerspecOut,
  kItimervalIn,
  kItimervalOut,
  kLong,
  kMadvise,
  kMapFlags,
  kMembarrierCommand,
  kMemfdFlags,
  kMessageFlags,
  kMode,
  kMremapFlags,
  kMsgCommand,
  kMsgFlags,
  kMsghdrIn,
  kMsghdrOut,
  kMsyncFlags,
  kOffset,
  kOffsetPtr,
  kOpenFlags,
  kOpenMode,  // printed only where the flags before it ask for a mode
  kOptionIn,  // a socket option's value
  kOptionOut,
  kPath,
  kPidfdFlags,
  kPointer,
  kPointerHint,
  kPollFds,
  kPrctlOption,
  kProtection,
  kRandomFlags,
  kRenameFlags,
  kResource,
  kRlimitIn,
  kRlimitOut,
  kSemCommand,
  kSembufs,  // their number is the argument that follows
  kShmCommand,
  kShmatFlags,
  kShutdownHow,
  kSigactionIn,
  kSigactionOut,
  kSigeventIn,
  kSignal,
  kSignalfdFlags,
  kSigprocmaskHow,
  kSigsetIn,
  kSigsetOut,
  kSize,
  kSockaddrIn,   // its length is the argument that follows
  kSockaddrOut,  // a kSocklenOut follows
  kSocketDomain,
  kSocketLevel,
  kSocketOption,
  kSocketType,
  kSocklenOut,
  kSpliceFlags,
  kStatOut,
  kStatxFlags,
  kStringOut,
  kStrings,
  kTimerFlags,
  kTimerfdFlags,
  kTimerfdSetFlags,
  kTimespecIn,
  kTimespecOut,
  kTimespecPairIn,
  kTimevalIn,
  kTimevalOut,
  kUInt,
  kUnlinkFlags,
  kUtsnameOut,
  kWaitFlags,
  kWaitStatusOut,
  kWhence,
};

enum class Support : uint8_t { kUnassigned, kAbsent, kPartial, kSupported };

// One row of syscalls/table.inc without its handler (which stands in syscalls/handlers.h): plain data, so that the
// generator of docs/syscalls.md and the tests link no kernel.
struct SyscallRow {
  uint32_t number = 0;
  Support support = Support::kUnassigned;
  std::string_view name;
  std::string_view test;  // testing/guest/<test>.c; empty for absent ones
  std::string_view note;  // what is missing, or why it is absent
  std::string_view handler;
  std::array<ArgKind, 6> args{};
  uint8_t num_args = 0;
};

inline constexpr uint32_t kNumSyscalls = 462;

// Row of `number`, which is below kNumSyscalls.
const SyscallRow& RowOf(uint64_t number);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_TABLE_H_
