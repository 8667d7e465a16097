#ifndef REMORA_SYSCALLS_STRACE_FLAGS_H_
#define REMORA_SYSCALLS_STRACE_FLAGS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace remora::syscalls {

// One constant of the ABI with its name in C.
struct NamedValue {
  uint64_t value;
  std::string_view name;
};
using NamedValues = std::span<const NamedValue>;

// The constants that strace prints, by what they are for.
NamedValues AccessModes();
NamedValues ArchCodes();
NamedValues AtFlags();
NamedValues Clocks();
NamedValues CloneFlags();
NamedValues CloseRangeFlags();
NamedValues EpollEvents();
NamedValues EpollFlags();
NamedValues EpollOps();
NamedValues EventfdFlags();
NamedValues FallocateModes();
NamedValues FcntlCommands();
NamedValues FlockOps();
NamedValues FutexOps();
NamedValues IoctlRequests();
NamedValues InotifyEvents();
NamedValues InotifyFlags();
NamedValues IpcFlags();
NamedValues Itimers();
NamedValues MadviseAdvices();
NamedValues MapFlags();
NamedValues MembarrierCommands();
NamedValues MemfdFlags();
NamedValues MremapFlags();
NamedValues MsgCommands();
NamedValues MsgFlags();
NamedValues MsyncFlags();
NamedValues OpenFlags();  // without the access mode
NamedValues PidfdFlags();
NamedValues PollEvents();
NamedValues PrctlOptions();
NamedValues ProtectionFlags();
NamedValues RandomFlags();
NamedValues RenameFlags();
NamedValues Resources();
NamedValues SigactionFlags();
NamedValues SigeventNotifications();
NamedValues SemCommands();
NamedValues ShmCommands();
NamedValues ShmatFlags();
NamedValues SignalCodesOfChild();
NamedValues SignalfdFlags();
NamedValues SigprocmaskHows();
NamedValues MessageFlags();
NamedValues ShutdownHows();
NamedValues SocketDomains();
NamedValues SocketOptions();
NamedValues SocketTypes();
NamedValues SocketTypeFlags();
NamedValues SpliceFlags();
NamedValues TimerFlags();
NamedValues TimerfdFlags();
NamedValues TimerfdSetFlags();
NamedValues UnlinkFlags();
NamedValues WaitFlags();
NamedValues Whences();

// The name of `value`, or "" if the table has none.
std::string_view NameOf(NamedValues values, uint64_t value);
// The name, or the number in decimal or hex.
std::string NameOrNumber(NamedValues values, uint64_t value, bool hex = true);
// "A|B|0x800"; `zero` where no bit is set.
std::string JoinFlags(NamedValues values, uint64_t flags, std::string_view zero = "0");

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_STRACE_FLAGS_H_
