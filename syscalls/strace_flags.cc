#include "syscalls/strace_flags.h"

#include "absl/strings/str_cat.h"
#include "base/abi/abi.h"

namespace remora::syscalls {
namespace {

// The name that strace prints and the constant of base/abi come from one token.
#define V(name) \
  NamedValue { static_cast<uint64_t>(abi::k##name), #name }

constexpr NamedValue kAccessModes[] = {V(R_OK), V(W_OK), V(X_OK)};
constexpr NamedValue kArchCodes[] = {V(ARCH_SET_GS), V(ARCH_SET_FS),    V(ARCH_GET_FS),
                                     V(ARCH_GET_GS), V(ARCH_GET_CPUID), V(ARCH_SET_CPUID)};
constexpr NamedValue kAtFlags[] = {V(AT_SYMLINK_NOFOLLOW), V(AT_EACCESS),    V(AT_SYMLINK_FOLLOW),
                                   V(AT_NO_AUTOMOUNT),     V(AT_EMPTY_PATH), V(AT_STATX_FORCE_SYNC),
                                   V(AT_STATX_DONT_SYNC)};
constexpr NamedValue kClocks[] = {V(CLOCK_REALTIME),
                                  V(CLOCK_MONOTONIC),
                                  V(CLOCK_PROCESS_CPUTIME_ID),
                                  V(CLOCK_THREAD_CPUTIME_ID),
                                  V(CLOCK_MONOTONIC_RAW),
                                  V(CLOCK_REALTIME_COARSE),
                                  V(CLOCK_MONOTONIC_COARSE),
                                  V(CLOCK_BOOTTIME),
                                  V(CLOCK_REALTIME_ALARM),
                                  V(CLOCK_BOOTTIME_ALARM),
                                  V(CLOCK_TAI)};
constexpr NamedValue kCloneFlags[] = {V(CLONE_VM),
                                      V(CLONE_FS),
                                      V(CLONE_FILES),
                                      V(CLONE_SIGHAND),
                                      V(CLONE_PIDFD),
                                      V(CLONE_PTRACE),
                                      V(CLONE_VFORK),
                                      V(CLONE_PARENT),
                                      V(CLONE_THREAD),
                                      V(CLONE_NEWNS),
                                      V(CLONE_SYSVSEM),
                                      V(CLONE_SETTLS),
                                      V(CLONE_PARENT_SETTID),
                                      V(CLONE_CHILD_CLEARTID),
                                      V(CLONE_DETACHED),
                                      V(CLONE_UNTRACED),
                                      V(CLONE_CHILD_SETTID),
                                      V(CLONE_NEWCGROUP),
                                      V(CLONE_NEWUTS),
                                      V(CLONE_NEWIPC),
                                      V(CLONE_NEWUSER),
                                      V(CLONE_NEWPID),
                                      V(CLONE_NEWNET),
                                      V(CLONE_IO)};
constexpr NamedValue kCloseRangeFlags[] = {V(CLOSE_RANGE_UNSHARE), V(CLOSE_RANGE_CLOEXEC)};
// The same bits as kPollEvents, under their names here.
constexpr NamedValue kEpollEvents[] = {{abi::kPOLLIN, "EPOLLIN"},
                                       {abi::kPOLLPRI, "EPOLLPRI"},
                                       {abi::kPOLLOUT, "EPOLLOUT"},
                                       {abi::kPOLLRDNORM, "EPOLLRDNORM"},
                                       {abi::kPOLLRDBAND, "EPOLLRDBAND"},
                                       {abi::kPOLLWRNORM, "EPOLLWRNORM"},
                                       {abi::kPOLLWRBAND, "EPOLLWRBAND"},
                                       {abi::kPOLLMSG, "EPOLLMSG"},
                                       {abi::kPOLLERR, "EPOLLERR"},
                                       {abi::kPOLLHUP, "EPOLLHUP"},
                                       {abi::kPOLLRDHUP, "EPOLLRDHUP"},
                                       V(EPOLLEXCLUSIVE),
                                       V(EPOLLWAKEUP),
                                       V(EPOLLONESHOT),
                                       V(EPOLLET)};
constexpr NamedValue kEpollFlags[] = {V(EPOLL_CLOEXEC)};
constexpr NamedValue kEpollOps[] = {V(EPOLL_CTL_ADD), V(EPOLL_CTL_DEL), V(EPOLL_CTL_MOD)};
constexpr NamedValue kEventfdFlags[] = {V(EFD_SEMAPHORE), V(EFD_CLOEXEC), V(EFD_NONBLOCK)};
constexpr NamedValue kFallocateModes[] = {V(FALLOC_FL_KEEP_SIZE),      V(FALLOC_FL_PUNCH_HOLE),
                                          V(FALLOC_FL_COLLAPSE_RANGE), V(FALLOC_FL_ZERO_RANGE),
                                          V(FALLOC_FL_INSERT_RANGE),   V(FALLOC_FL_UNSHARE_RANGE)};
constexpr NamedValue kFcntlCommands[] = {
    V(F_DUPFD),      V(F_GETFD),      V(F_SETFD),      V(F_GETFL),    V(F_SETFL),    V(F_GETLK),     V(F_SETLK),
    V(F_SETLKW),     V(F_SETOWN),     V(F_GETOWN),     V(F_SETSIG),   V(F_GETSIG),   V(F_SETOWN_EX), V(F_GETOWN_EX),
    V(F_OFD_GETLK),  V(F_OFD_SETLK),  V(F_OFD_SETLKW), V(F_SETLEASE), V(F_GETLEASE), V(F_NOTIFY),    V(F_DUPFD_CLOEXEC),
    V(F_SETPIPE_SZ), V(F_GETPIPE_SZ), V(F_ADD_SEALS),  V(F_GET_SEALS)};
constexpr NamedValue kFlockOps[] = {V(LOCK_SH), V(LOCK_EX), V(LOCK_NB), V(LOCK_UN)};
constexpr NamedValue kFutexOps[] = {V(FUTEX_WAIT),           V(FUTEX_WAKE),        V(FUTEX_FD),
                                    V(FUTEX_REQUEUE),        V(FUTEX_CMP_REQUEUE), V(FUTEX_WAKE_OP),
                                    V(FUTEX_LOCK_PI),        V(FUTEX_UNLOCK_PI),   V(FUTEX_TRYLOCK_PI),
                                    V(FUTEX_WAIT_BITSET),    V(FUTEX_WAKE_BITSET), V(FUTEX_WAIT_REQUEUE_PI),
                                    V(FUTEX_CMP_REQUEUE_PI), V(FUTEX_LOCK_PI2)};
// In strace's order.
constexpr NamedValue kInotifyEvents[] = {
    V(IN_ACCESS),      V(IN_MODIFY),     V(IN_ATTRIB),  V(IN_CLOSE_WRITE), V(IN_CLOSE_NOWRITE), V(IN_OPEN),
    V(IN_MOVED_FROM),  V(IN_MOVED_TO),   V(IN_CREATE),  V(IN_DELETE),      V(IN_DELETE_SELF),   V(IN_MOVE_SELF),
    V(IN_UNMOUNT),     V(IN_Q_OVERFLOW), V(IN_IGNORED), V(IN_ONLYDIR),     V(IN_DONT_FOLLOW),   V(IN_EXCL_UNLINK),
    V(IN_MASK_CREATE), V(IN_MASK_ADD),   V(IN_ISDIR),   V(IN_ONESHOT)};
constexpr NamedValue kInotifyFlags[] = {V(IN_NONBLOCK), V(IN_CLOEXEC)};
constexpr NamedValue kIpcFlags[] = {V(IPC_CREAT), V(IPC_EXCL), V(IPC_NOWAIT)};
constexpr NamedValue kMsgCommands[] = {V(IPC_RMID), V(IPC_SET),  V(IPC_STAT),    V(IPC_INFO),
                                       V(MSG_STAT), V(MSG_INFO), V(MSG_STAT_ANY)};
constexpr NamedValue kMsgFlags[] = {V(MSG_NOERROR), V(MSG_EXCEPT), V(MSG_COPY), V(IPC_NOWAIT)};
constexpr NamedValue kSemCommands[] = {V(IPC_RMID), V(IPC_SET), V(IPC_STAT), V(IPC_INFO),    V(SEM_STAT),
                                       V(SEM_INFO), V(GETPID),  V(GETVAL),   V(GETALL),      V(GETNCNT),
                                       V(GETZCNT),  V(SETVAL),  V(SETALL),   V(SEM_STAT_ANY)};
constexpr NamedValue kShmCommands[] = {V(IPC_RMID),   V(IPC_SET),  V(IPC_STAT), V(IPC_INFO),    V(SHM_LOCK),
                                       V(SHM_UNLOCK), V(SHM_STAT), V(SHM_INFO), V(SHM_STAT_ANY)};
constexpr NamedValue kShmatFlags[] = {V(SHM_RDONLY), V(SHM_RND), V(SHM_REMAP), V(SHM_EXEC)};
constexpr NamedValue kItimers[] = {V(ITIMER_REAL), V(ITIMER_VIRTUAL), V(ITIMER_PROF)};
constexpr NamedValue kIoctlRequests[] = {
    V(TCGETS),   V(TCSETS),     V(TCSETSW),    V(TCSETSF),         V(TCGETA),          V(TCSBRK),    V(TCXONC),
    V(TCFLSH),   V(TIOCEXCL),   V(TIOCNXCL),   V(TIOCSCTTY),       V(TIOCGPGRP),       V(TIOCSPGRP), V(TIOCOUTQ),
    V(TIOCSTI),  V(TIOCGWINSZ), V(TIOCSWINSZ), V(TIOCPKT),         V(TIOCNOTTY),       V(TIOCSETD),  V(TIOCGETD),
    V(TCSBRKP),  V(TIOCGSID),   V(TIOCGPTN),   V(TIOCSPTLCK),      V(TIOCGPTPEER),     V(FIONCLEX),  V(FIOCLEX),
    V(FIOASYNC), V(FIONBIO),    V(FIONREAD),   V(FS_IOC_GETFLAGS), V(FS_IOC_SETFLAGS), V(FICLONE),   V(BLKGETSIZE64)};
constexpr NamedValue kMadviseAdvices[] = {
    V(MADV_NORMAL),         V(MADV_RANDOM),          V(MADV_SEQUENTIAL), V(MADV_WILLNEED), V(MADV_DONTNEED),
    V(MADV_FREE),           V(MADV_REMOVE),          V(MADV_DONTFORK),   V(MADV_DOFORK),   V(MADV_MERGEABLE),
    V(MADV_UNMERGEABLE),    V(MADV_HUGEPAGE),        V(MADV_NOHUGEPAGE), V(MADV_DONTDUMP), V(MADV_DODUMP),
    V(MADV_WIPEONFORK),     V(MADV_KEEPONFORK),      V(MADV_COLD),       V(MADV_PAGEOUT),  V(MADV_POPULATE_READ),
    V(MADV_POPULATE_WRITE), V(MADV_DONTNEED_LOCKED), V(MADV_COLLAPSE)};
constexpr NamedValue kMembarrierCommands[] = {V(MEMBARRIER_CMD_QUERY),
                                              V(MEMBARRIER_CMD_GLOBAL),
                                              V(MEMBARRIER_CMD_GLOBAL_EXPEDITED),
                                              V(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED),
                                              V(MEMBARRIER_CMD_PRIVATE_EXPEDITED),
                                              V(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED),
                                              V(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE),
                                              V(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)};
constexpr NamedValue kMemfdFlags[] = {V(MFD_CLOEXEC), V(MFD_ALLOW_SEALING), V(MFD_HUGETLB), V(MFD_NOEXEC_SEAL),
                                      V(MFD_EXEC)};
constexpr NamedValue kPidfdFlags[] = {V(PIDFD_NONBLOCK)};
constexpr NamedValue kSigeventNotifications[] = {V(SIGEV_SIGNAL), V(SIGEV_NONE), V(SIGEV_THREAD), V(SIGEV_THREAD_ID)};
constexpr NamedValue kSignalfdFlags[] = {V(SFD_CLOEXEC), V(SFD_NONBLOCK)};
constexpr NamedValue kSpliceFlags[] = {V(SPLICE_F_MOVE), V(SPLICE_F_NONBLOCK), V(SPLICE_F_MORE), V(SPLICE_F_GIFT)};
constexpr NamedValue kTimerFlags[] = {V(TIMER_ABSTIME)};
constexpr NamedValue kTimerfdFlags[] = {V(TFD_CLOEXEC), V(TFD_NONBLOCK)};
constexpr NamedValue kTimerfdSetFlags[] = {V(TFD_TIMER_ABSTIME), V(TFD_TIMER_CANCEL_ON_SET)};
constexpr NamedValue kMapFlags[] = {V(MAP_SHARED_VALIDATE), V(MAP_SHARED),    V(MAP_PRIVATE),   V(MAP_FIXED),
                                    V(MAP_ANONYMOUS),       V(MAP_32BIT),     V(MAP_NORESERVE), V(MAP_POPULATE),
                                    V(MAP_NONBLOCK),        V(MAP_GROWSDOWN), V(MAP_DENYWRITE), V(MAP_EXECUTABLE),
                                    V(MAP_LOCKED),          V(MAP_STACK),     V(MAP_HUGETLB),   V(MAP_SYNC),
                                    V(MAP_FIXED_NOREPLACE)};
constexpr NamedValue kMremapFlags[] = {V(MREMAP_MAYMOVE), V(MREMAP_FIXED), V(MREMAP_DONTUNMAP)};
constexpr NamedValue kMsyncFlags[] = {V(MS_SYNC), V(MS_ASYNC), V(MS_INVALIDATE)};
constexpr NamedValue kOpenFlags[] = {V(O_CREAT),     V(O_EXCL),    V(O_NOCTTY),    V(O_TRUNC),    V(O_APPEND),
                                     V(O_NONBLOCK),  V(O_SYNC),    V(O_DSYNC),     V(O_ASYNC),    V(O_DIRECT),
                                     V(O_LARGEFILE), V(O_TMPFILE), V(O_DIRECTORY), V(O_NOFOLLOW), V(O_NOATIME),
                                     V(O_CLOEXEC),   V(O_PATH)};
constexpr NamedValue kPollEvents[] = {V(POLLIN),     V(POLLPRI),    V(POLLOUT),    V(POLLRDNORM),
                                      V(POLLRDBAND), V(POLLWRNORM), V(POLLWRBAND), V(POLLERR),
                                      V(POLLHUP),    V(POLLNVAL),   V(POLLRDHUP)};
constexpr NamedValue kPrctlOptions[] = {V(PR_SET_PDEATHSIG),
                                        V(PR_GET_PDEATHSIG),
                                        V(PR_GET_DUMPABLE),
                                        V(PR_SET_DUMPABLE),
                                        V(PR_GET_KEEPCAPS),
                                        V(PR_SET_KEEPCAPS),
                                        V(PR_SET_NAME),
                                        V(PR_GET_NAME),
                                        V(PR_GET_SECCOMP),
                                        V(PR_SET_SECCOMP),
                                        V(PR_CAPBSET_READ),
                                        V(PR_CAPBSET_DROP),
                                        V(PR_SET_TIMERSLACK),
                                        V(PR_GET_TIMERSLACK),
                                        V(PR_SET_CHILD_SUBREAPER),
                                        V(PR_GET_CHILD_SUBREAPER),
                                        V(PR_SET_NO_NEW_PRIVS),
                                        V(PR_GET_NO_NEW_PRIVS),
                                        V(PR_GET_TID_ADDRESS),
                                        V(PR_CAP_AMBIENT),
                                        V(PR_SET_VMA)};
constexpr NamedValue kProtectionFlags[] = {V(PROT_READ), V(PROT_WRITE),     V(PROT_EXEC),
                                           V(PROT_SEM),  V(PROT_GROWSDOWN), V(PROT_GROWSUP)};
constexpr NamedValue kRandomFlags[] = {V(GRND_NONBLOCK), V(GRND_RANDOM), V(GRND_INSECURE)};
constexpr NamedValue kRenameFlags[] = {V(RENAME_NOREPLACE), V(RENAME_EXCHANGE), V(RENAME_WHITEOUT)};
constexpr NamedValue kResources[] = {V(RLIMIT_CPU),      V(RLIMIT_FSIZE), V(RLIMIT_DATA),   V(RLIMIT_STACK),
                                     V(RLIMIT_CORE),     V(RLIMIT_RSS),   V(RLIMIT_NPROC),  V(RLIMIT_NOFILE),
                                     V(RLIMIT_MEMLOCK),  V(RLIMIT_AS),    V(RLIMIT_LOCKS),  V(RLIMIT_SIGPENDING),
                                     V(RLIMIT_MSGQUEUE), V(RLIMIT_NICE),  V(RLIMIT_RTPRIO), V(RLIMIT_RTTIME)};
constexpr NamedValue kSigactionFlags[] = {V(SA_RESTORER),  V(SA_ONSTACK), V(SA_RESTART),   V(SA_NODEFER),
                                          V(SA_RESETHAND), V(SA_SIGINFO), V(SA_NOCLDSTOP), V(SA_NOCLDWAIT)};
constexpr NamedValue kSignalCodesOfChild[] = {V(CLD_EXITED),  V(CLD_KILLED),  V(CLD_DUMPED),
                                              V(CLD_TRAPPED), V(CLD_STOPPED), V(CLD_CONTINUED)};
constexpr NamedValue kSigprocmaskHows[] = {V(SIG_BLOCK), V(SIG_UNBLOCK), V(SIG_SETMASK)};
constexpr NamedValue kUnlinkFlags[] = {V(AT_REMOVEDIR)};
constexpr NamedValue kWaitFlags[] = {V(WNOHANG), V(WUNTRACED),   V(WEXITED), V(WCONTINUED),
                                     V(WNOWAIT), V(__WNOTHREAD), V(__WALL),  V(__WCLONE)};
constexpr NamedValue kWhences[] = {V(SEEK_SET), V(SEEK_CUR), V(SEEK_END), V(SEEK_DATA), V(SEEK_HOLE)};

constexpr NamedValue kMessageFlags[] = {V(MSG_OOB),      V(MSG_PEEK),     V(MSG_DONTROUTE),   V(MSG_CTRUNC),
                                        V(MSG_TRUNC),    V(MSG_DONTWAIT), V(MSG_EOR),         V(MSG_WAITALL),
                                        V(MSG_NOSIGNAL), V(MSG_MORE),     V(MSG_CMSG_CLOEXEC)};
constexpr NamedValue kShutdownHows[] = {V(SHUT_RD), V(SHUT_WR), V(SHUT_RDWR)};
constexpr NamedValue kSocketDomains[] = {V(AF_UNSPEC), V(AF_UNIX),    V(AF_INET),
                                         V(AF_INET6),  V(AF_NETLINK), V(AF_PACKET)};
constexpr NamedValue kSocketOptions[] = {
    V(SO_REUSEADDR), V(SO_TYPE),      V(SO_ERROR),     V(SO_DONTROUTE),  V(SO_BROADCAST), V(SO_SNDBUF),
    V(SO_RCVBUF),    V(SO_KEEPALIVE), V(SO_OOBINLINE), V(SO_LINGER),     V(SO_REUSEPORT), V(SO_PASSCRED),
    V(SO_PEERCRED),  V(SO_RCVTIMEO),  V(SO_SNDTIMEO),  V(SO_ACCEPTCONN), V(SO_PROTOCOL),  V(SO_DOMAIN)};
constexpr NamedValue kSocketTypes[] = {V(SOCK_STREAM), V(SOCK_DGRAM), V(SOCK_RAW), V(SOCK_SEQPACKET)};
constexpr NamedValue kSocketTypeFlags[] = {V(SOCK_CLOEXEC), V(SOCK_NONBLOCK)};

#undef V

}  // namespace

NamedValues AccessModes() { return kAccessModes; }
NamedValues ArchCodes() { return kArchCodes; }
NamedValues AtFlags() { return kAtFlags; }
NamedValues Clocks() { return kClocks; }
NamedValues CloneFlags() { return kCloneFlags; }
NamedValues CloseRangeFlags() { return kCloseRangeFlags; }
NamedValues EpollEvents() { return kEpollEvents; }
NamedValues EpollFlags() { return kEpollFlags; }
NamedValues EpollOps() { return kEpollOps; }
NamedValues EventfdFlags() { return kEventfdFlags; }
NamedValues FallocateModes() { return kFallocateModes; }
NamedValues FcntlCommands() { return kFcntlCommands; }
NamedValues FlockOps() { return kFlockOps; }
NamedValues FutexOps() { return kFutexOps; }
NamedValues InotifyEvents() { return kInotifyEvents; }
NamedValues InotifyFlags() { return kInotifyFlags; }
NamedValues IpcFlags() { return kIpcFlags; }
NamedValues Itimers() { return kItimers; }
NamedValues IoctlRequests() { return kIoctlRequests; }
NamedValues MadviseAdvices() { return kMadviseAdvices; }
NamedValues MapFlags() { return kMapFlags; }
NamedValues MembarrierCommands() { return kMembarrierCommands; }
NamedValues MemfdFlags() { return kMemfdFlags; }
NamedValues MremapFlags() { return kMremapFlags; }
NamedValues MsyncFlags() { return kMsyncFlags; }
NamedValues OpenFlags() { return kOpenFlags; }
NamedValues MsgCommands() { return kMsgCommands; }
NamedValues MsgFlags() { return kMsgFlags; }
NamedValues SemCommands() { return kSemCommands; }
NamedValues ShmCommands() { return kShmCommands; }
NamedValues ShmatFlags() { return kShmatFlags; }
NamedValues PidfdFlags() { return kPidfdFlags; }
NamedValues PollEvents() { return kPollEvents; }
NamedValues PrctlOptions() { return kPrctlOptions; }
NamedValues ProtectionFlags() { return kProtectionFlags; }
NamedValues RandomFlags() { return kRandomFlags; }
NamedValues RenameFlags() { return kRenameFlags; }
NamedValues Resources() { return kResources; }
NamedValues SigactionFlags() { return kSigactionFlags; }
NamedValues SigeventNotifications() { return kSigeventNotifications; }
NamedValues SignalfdFlags() { return kSignalfdFlags; }
NamedValues SignalCodesOfChild() { return kSignalCodesOfChild; }
NamedValues SigprocmaskHows() { return kSigprocmaskHows; }
NamedValues MessageFlags() { return kMessageFlags; }
NamedValues ShutdownHows() { return kShutdownHows; }
NamedValues SocketDomains() { return kSocketDomains; }
NamedValues SocketOptions() { return kSocketOptions; }
NamedValues SocketTypes() { return kSocketTypes; }
NamedValues SocketTypeFlags() { return kSocketTypeFlags; }
NamedValues SpliceFlags() { return kSpliceFlags; }
NamedValues TimerFlags() { return kTimerFlags; }
NamedValues TimerfdFlags() { return kTimerfdFlags; }
NamedValues TimerfdSetFlags() { return kTimerfdSetFlags; }
NamedValues UnlinkFlags() { return kUnlinkFlags; }
NamedValues WaitFlags() { return kWaitFlags; }
NamedValues Whences() { return kWhences; }

std::string_view NameOf(NamedValues values, uint64_t value) {
  for (const NamedValue& v : values)
    if (v.value == value) return v.name;
  return "";
}

std::string NameOrNumber(NamedValues values, uint64_t value, bool hex) {
  const std::string_view name = NameOf(values, value);
  if (!name.empty()) return std::string(name);
  return hex ? absl::StrCat("0x", absl::Hex(value)) : absl::StrCat(static_cast<int64_t>(value));
}

std::string JoinFlags(NamedValues values, uint64_t flags, std::string_view zero) {
  std::string text;
  for (const NamedValue& v : values) {
    if (v.value == 0 || (flags & v.value) != v.value) continue;
    if (!text.empty()) text.push_back('|');
    text.append(v.name);
    flags &= ~v.value;
  }
  if (flags != 0) absl::StrAppend(&text, text.empty() ? "" : "|", "0x", absl::Hex(flags));
  return text.empty() ? std::string(zero) : text;
}

}  // namespace remora::syscalls
