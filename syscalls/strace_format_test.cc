#include "syscalls/strace_format.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "base/abi/epoll.h"
#include "base/abi/fcntl.h"
#include "base/abi/ipc.h"
#include "base/abi/mman.h"
#include "base/abi/poll.h"
#include "base/abi/prctl.h"
#include "base/abi/resource.h"
#include "base/abi/sched.h"
#include "base/abi/signal.h"
#include "base/abi/socket.h"
#include "base/abi/stat.h"
#include "base/abi/time.h"
#include "base/abi/uio.h"
#include "gtest/gtest.h"
#include "mm/address_space.h"
#include "mm/memory_for_testing.h"
#include "mm/tlb.h"
#include "mm/user_memory.h"
#include "proc/syscall_outcome.h"
#include "syscalls/strace_args.h"
#include "syscalls/table.h"

namespace remora::syscalls {
namespace {

// What strace(1) 6.1 printed for the same calls on the host is what these tests expect.
class StraceFormatTest : public testing::Test {
 protected:
  StraceFormatTest() {
    auto base = space_->Map(mm::AnonymousRequest(4));
    base_ = base->value();
    next_ = base_;
    tlb_->Bind(space_.get(), space_->id());
  }

  // Puts bytes into guest memory; their address.
  uint64_t Put(std::string_view bytes) {
    const uint64_t at = next_;
    EXPECT_TRUE(user_.CopyOut(GuestAddr(at), std::as_bytes(std::span(bytes.data(), bytes.size()))).ok());
    next_ += (bytes.size() + 16) & ~uint64_t{15};
    return at;
  }
  uint64_t PutString(const std::string& text) { return Put(std::string_view(text.c_str(), text.size() + 1)); }
  template <typename T>
  uint64_t PutStruct(const T& value) {
    return Put(std::string_view(reinterpret_cast<const char*>(&value), sizeof(value)));
  }

  std::string Line(std::string_view name, std::initializer_list<uint64_t> args, int64_t result) {
    CallFacts call;
    for (uint32_t number = 0; number < kNumSyscalls; ++number)
      if (RowOf(number).name == name) {
        call.number = number;
        call.row = &RowOf(number);
      }
    EXPECT_NE(call.row, nullptr) << name;
    std::copy(args.begin(), args.end(), call.args.begin());
    const FormattedArgs entry = FormatEntry(call, user_);
    return FormatCall(call, user_, entry, result);
  }

  mm::MemoryForTesting memory_;
  Ref<mm::AddressSpace> space_ = mm::AddressSpace::Create(&memory_.context, memory_.layout);
  std::unique_ptr<mm::Tlb> tlb_ = std::make_unique<mm::Tlb>();
  mm::UserMemory user_{tlb_.get()};
  uint64_t base_ = 0, next_ = 0;
};

constexpr uint64_t kCwd = static_cast<uint64_t>(int64_t{abi::kAT_FDCWD});

TEST_F(StraceFormatTest, OpenShowsTheModeOnlyWhereItCreates) {
  const uint64_t path = PutString("/etc/passwd");
  EXPECT_EQ(Line("openat", {kCwd, path, abi::kO_RDONLY | abi::kO_CLOEXEC}, 3),
            "openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3");
  EXPECT_EQ(Line("openat", {kCwd, path, abi::kO_RDWR | abi::kO_CREAT | abi::kO_TRUNC, 0644}, -ENOENT),
            "openat(AT_FDCWD, \"/etc/passwd\", O_RDWR|O_CREAT|O_TRUNC, 0644) = -1 ENOENT (No such file or directory)");
}

TEST_F(StraceFormatTest, ShortCallsHaveTheirResultInColumnForty) {
  EXPECT_EQ(Line("close", {99}, -EBADF), "close(99)                               = -1 EBADF (Bad file descriptor)");
  EXPECT_EQ(Line("brk", {0}, 0x558f1ff18000), "brk(NULL)                               = 0x558f1ff18000");
  EXPECT_EQ(Line("umask", {022}, 022), "umask(022)                              = 022");
}

TEST_F(StraceFormatTest, BytesAreQuotedAndCut) {
  const std::string text =
      "hello\n\x01\xff"
      "abcdefghijklmnopqrstuvwxyz0123456789";
  const uint64_t at = Put(text);
  EXPECT_EQ(Line("write", {6, at, 44}, 44), "write(6, \"hello\\n\\1\\377abcdefghijklmnopqrstuvwx\"..., 44) = 44");
  EXPECT_EQ(Line("read", {5, at, 64}, 44), "read(5, \"hello\\n\\1\\377abcdefghijklmnopqrstuvwx\"..., 64) = 44");
  EXPECT_EQ(Line("read", {5, Put(std::string_view("a\0001b\33", 5)), 5}, 5),
            "read(5, \"a\\0001b\\33\", 5)                = 5");
  EXPECT_EQ(Line("read", {5, at, 64}, 0), "read(5, \"\", 64)                         = 0");
}

TEST_F(StraceFormatTest, WhatCannotBeReadIsAnAddress) {
  EXPECT_EQ(Line("write", {1, 0x1000, 5}, -EFAULT),
            "write(1, 0x1000, 5)                     = -1 EFAULT (Bad address)");
  EXPECT_EQ(Line("openat", {kCwd, 8, 0}, -EFAULT), "openat(AT_FDCWD, 0x8, O_RDONLY)         = -1 EFAULT (Bad address)");
  EXPECT_EQ(Line("read", {0, base_, 5}, -EAGAIN).substr(0, 10), "read(0, 0x");
}

TEST_F(StraceFormatTest, Timers) {
  const uint64_t spec = PutStruct(abi::Itimerspec{{1, 2}, {3, 4}});
  const std::string text = "{it_interval={tv_sec=1, tv_nsec=2}, it_value={tv_sec=3, tv_nsec=4}}";
  EXPECT_EQ(Line("timerfd_settime", {3, abi::kTFD_TIMER_ABSTIME, spec, 0}, 0),
            "timerfd_settime(3, TFD_TIMER_ABSTIME, " + text + ", NULL) = 0");
  EXPECT_EQ(Line("timerfd_gettime", {3, spec}, 0), "timerfd_gettime(3, " + text + ") = 0");
  EXPECT_EQ(Line("timer_settime", {2, abi::kTIMER_ABSTIME, spec, 0}, 0),
            "timer_settime(2, TIMER_ABSTIME, " + text + ", NULL) = 0");
  EXPECT_EQ(Line("setitimer", {2, PutStruct(abi::Itimerval{{0, 0}, {5, 6}}), 0}, 0),
            "setitimer(ITIMER_PROF, {it_interval={tv_sec=0, tv_usec=0}, it_value={tv_sec=5, tv_usec=6}}, NULL) = 0");
  abi::Sigevent event{};
  event.value = 7;
  event.signo = abi::kSIGUSR1;
  event.notify = abi::kSIGEV_THREAD_ID;
  event.thread = 7904;
  EXPECT_EQ(Line("timer_create", {1, PutStruct(event), PutStruct(int32_t{2})}, 0),
            "timer_create(CLOCK_MONOTONIC, {sigev_value={sival_int=7, sival_ptr=0x7}, sigev_signo=SIGUSR1, "
            "sigev_notify=SIGEV_THREAD_ID, sigev_notify_thread_id=7904}, [2]) = 0");
  proc::SignalInfo info;
  info.signal = abi::kSIGUSR1;
  info.code = abi::kSI_TIMER;
  info.pid = 2;
  info.uid = 13349;
  info.value = 7;
  EXPECT_EQ(FormatSignal(info),
            "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_TIMER, si_timerid=0x2, si_overrun=13349, si_int=7, "
            "si_ptr=0x7} ---");
}

TEST_F(StraceFormatTest, DescriptorsOfOtherKinds) {
  EXPECT_EQ(Line("timerfd_create", {1, abi::kTFD_CLOEXEC | abi::kTFD_NONBLOCK}, 3),
            "timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC|TFD_NONBLOCK) = 3");
  EXPECT_EQ(Line("signalfd4", {~uint64_t{0}, PutStruct(uint64_t{2}), 8, abi::kSFD_CLOEXEC}, 4),
            "signalfd4(-1, [INT], 8, SFD_CLOEXEC)    = 4");
  EXPECT_EQ(Line("memfd_create", {PutString("n"), abi::kMFD_CLOEXEC | abi::kMFD_ALLOW_SEALING}, 5),
            "memfd_create(\"n\", MFD_CLOEXEC|MFD_ALLOW_SEALING) = 5");
  EXPECT_EQ(Line("pidfd_open", {8008, 0}, 6), "pidfd_open(8008, 0)                     = 6");
  EXPECT_EQ(Line("membarrier", {16, 0, 0}, 0), "membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0) = 0");
  EXPECT_EQ(Line("splice", {3, PutStruct(int64_t{3}), 8, 0, 10, 3}, -EINVAL),
            "splice(3, [3], 8, NULL, 10, SPLICE_F_MOVE|SPLICE_F_NONBLOCK) = -1 EINVAL (Invalid argument)");
}

TEST_F(StraceFormatTest, SystemV) {
  EXPECT_EQ(Line("shmget", {0, 10, abi::kIPC_CREAT | 0600}, 2), "shmget(IPC_PRIVATE, 10, IPC_CREAT|0600) = 2");
  EXPECT_EQ(Line("shmget", {0x1234, 10, 0}, -ENOENT),
            "shmget(0x1234, 10, 000)                 = -1 ENOENT (No such file or directory)");
  EXPECT_EQ(Line("shmctl", {2, 0, 0}, 0), "shmctl(2, IPC_RMID, NULL)               = 0");
  EXPECT_EQ(Line("semget", {0, 2, abi::kIPC_CREAT | abi::kIPC_EXCL | 0644}, 2),
            "semget(IPC_PRIVATE, 2, IPC_CREAT|IPC_EXCL|0644) = 2");
  EXPECT_EQ(Line("semtimedop", {99, PutStruct(abi::Sembuf{0, 1, 0}), 1, 0}, -EINVAL),
            "semtimedop(99, [{sem_num=0, sem_op=1, sem_flg=0}], 1, NULL) = -1 EINVAL (Invalid argument)");
  EXPECT_EQ(Line("semctl", {99, 0, 0, 0}, -EINVAL),
            "semctl(99, 0, IPC_RMID, NULL)           = -1 EINVAL (Invalid argument)");
  EXPECT_EQ(Line("msgget", {0, 0600}, 1), "msgget(IPC_PRIVATE, 0600)               = 1");
}

TEST_F(StraceFormatTest, Iovecs) {
  const abi::Iovec iovs[2] = {{Put("ab"), 2}, {Put("cde"), 3}};
  const uint64_t at = PutStruct(iovs);
  EXPECT_EQ(Line("writev", {6, at, 2}, 5),
            "writev(6, [{iov_base=\"ab\", iov_len=2}, {iov_base=\"cde\", iov_len=3}], 2) = 5");
  EXPECT_EQ(Line("readv", {6, at, 2}, 3),
            "readv(6, [{iov_base=\"ab\", iov_len=2}, {iov_base=\"c\", iov_len=3}], 2) = 3");
}

TEST_F(StraceFormatTest, PollShowsWhatItFound) {
  const uint64_t at = PutStruct(abi::Pollfd{6, abi::kPOLLOUT, abi::kPOLLOUT});
  EXPECT_EQ(Line("poll", {at, 1, ~uint64_t{0}}, 1),
            "poll([{fd=6, events=POLLOUT}], 1, -1)   = 1 ([{fd=6, revents=POLLOUT}])");
  EXPECT_EQ(Line("poll", {at, 1, 0}, 0), "poll([{fd=6, events=POLLOUT}], 1, 0)    = 0 (Timeout)");
}

TEST_F(StraceFormatTest, EpollShowsEventsAndBothFacesOfTheData) {
  const uint64_t at = PutStruct(abi::EpollEvent{abi::kPOLLIN | abi::kEPOLLET, 0x100000005});
  EXPECT_EQ(Line("epoll_ctl", {3, abi::kEPOLL_CTL_ADD, 5, at}, 0),
            "epoll_ctl(3, EPOLL_CTL_ADD, 5, {events=EPOLLIN|EPOLLET, data={u32=5, u64=4294967301}}) = 0");
  EXPECT_EQ(Line("epoll_wait", {3, at, 8, ~uint64_t{0}}, 1),
            "epoll_wait(3, [{events=EPOLLIN|EPOLLET, data={u32=5, u64=4294967301}}], 8, -1) = 1");
  EXPECT_EQ(Line("epoll_wait", {3, at, 8, 0}, 0), "epoll_wait(3, [], 8, 0)                 = 0");
  EXPECT_EQ(Line("epoll_create1", {abi::kEPOLL_CLOEXEC}, 3), "epoll_create1(EPOLL_CLOEXEC)            = 3");
}

TEST_F(StraceFormatTest, Signals) {
  const uint64_t action = PutStruct(abi::Sigaction{0x401000, abi::kSA_RESTORER | abi::kSA_RESTART, 0x402000, 0});
  EXPECT_EQ(Line("rt_sigaction", {10, action, 0, 8}, 0),
            "rt_sigaction(SIGUSR1, {sa_handler=0x401000, sa_mask=[], sa_flags=SA_RESTORER|SA_RESTART, "
            "sa_restorer=0x402000}, NULL, 8) = 0");
  const uint64_t set = PutStruct(uint64_t{1} << 1 | uint64_t{1} << 39);
  EXPECT_EQ(Line("rt_sigprocmask", {0, set, 0, 8}, 0), "rt_sigprocmask(SIG_BLOCK, [INT RT_8], NULL, 8) = 0");
  const uint64_t most = PutStruct(~(uint64_t{3} << 31));
  EXPECT_EQ(Line("rt_sigprocmask", {2, most, 0, 8}, 0), "rt_sigprocmask(SIG_SETMASK, ~[RTMIN RT_1], NULL, 8) = 0");
  EXPECT_EQ(Line("kill", {5, 15}, 0), "kill(5, SIGTERM)                        = 0");
}

TEST_F(StraceFormatTest, Files) {
  abi::Stat stat{};
  stat.st_mode = 0100644;
  stat.st_size = 18;
  EXPECT_EQ(Line("fstat", {3, PutStruct(stat)}, 0), "fstat(3, {st_mode=S_IFREG|0644, st_size=18, ...}) = 0");
  stat.st_mode = 0020666;
  stat.st_rdev = abi::MakeDevice(1, 3);
  EXPECT_EQ(Line("newfstatat", {kCwd, PutString("/dev/null"), PutStruct(stat), 0}, 0),
            "newfstatat(AT_FDCWD, \"/dev/null\", {st_mode=S_IFCHR|0666, st_rdev=makedev(0x1, 0x3), ...}, 0) = 0");
  EXPECT_EQ(Line("access", {PutString("/x"), abi::kR_OK | abi::kX_OK}, -ENOENT),
            "access(\"/x\", R_OK|X_OK)                 = -1 ENOENT (No such file or directory)");
  EXPECT_EQ(Line("access", {PutString("/"), 0}, 0), "access(\"/\", F_OK)                       = 0");
  EXPECT_EQ(Line("unlinkat", {kCwd, PutString("/nonx"), 0}, 0), "unlinkat(AT_FDCWD, \"/nonx\", 0)          = 0");
  EXPECT_EQ(Line("getcwd", {PutString("/tmp/sys"), 64}, 9), "getcwd(\"/tmp/sys\", 64)                  = 9");
  EXPECT_EQ(Line("lseek", {8, 5, 0}, 5), "lseek(8, 5, SEEK_SET)                   = 5");
}

TEST_F(StraceFormatTest, FcntlShowsAnArgumentOnlyWhereThereIsOne) {
  EXPECT_EQ(Line("fcntl", {8, abi::kF_GETFD}, 0), "fcntl(8, F_GETFD)                       = 0");
  EXPECT_EQ(Line("fcntl", {8, abi::kF_SETFD, 1}, 0), "fcntl(8, F_SETFD, FD_CLOEXEC)           = 0");
  EXPECT_EQ(Line("fcntl", {8, abi::kF_GETFL}, 0x8002),
            "fcntl(8, F_GETFL)                       = 0x8002 (flags O_RDWR|O_LARGEFILE)");
  EXPECT_EQ(Line("fcntl", {8, abi::kF_DUPFD, 10}, 11), "fcntl(8, F_DUPFD, 10)                   = 11");
}

TEST_F(StraceFormatTest, Memory) {
  EXPECT_EQ(Line("mmap", {0, 8192, 3, abi::kMAP_PRIVATE | abi::kMAP_ANONYMOUS, ~uint64_t{0}, 0}, 0x7f8770247000),
            "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f8770247000");
  EXPECT_EQ(Line("mprotect", {0x10000000, 4096, 0}, 0), "mprotect(0x10000000, 4096, PROT_NONE)   = 0");
  EXPECT_EQ(Line("mmap", {0, 0, 0, 2, 0, 0}, -EINVAL),
            "mmap(NULL, 0, PROT_NONE, MAP_PRIVATE, 0, 0) = -1 EINVAL (Invalid argument)");
}

TEST_F(StraceFormatTest, Processes) {
  const uint64_t ls = PutString("/bin/ls"), name = PutString("ls");
  const uint64_t argv = PutStruct(std::array<uint64_t, 2>{name, 0});
  const uint64_t envp = PutStruct(std::array<uint64_t, 3>{name, name, 0});
  std::string expected = "execve(\"/bin/ls\", [\"ls\"], 0x";
  EXPECT_EQ(Line("execve", {ls, argv, envp}, 0).substr(0, expected.size()), expected);
  expected = " /* 2 vars */) = 0";
  EXPECT_TRUE(Line("execve", {ls, argv, envp}, 0).ends_with(expected));
  EXPECT_EQ(Line("wait4", {~uint64_t{0}, PutStruct(int32_t{3 << 8}), 0, 0}, 77),
            "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 77");
  EXPECT_EQ(Line("clone", {abi::kCLONE_CHILD_CLEARTID | abi::kCLONE_CHILD_SETTID | 17, 0, 0, 0x7f00, 0}, 5),
            "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f00) = 5");
  EXPECT_EQ(Line("pipe2", {PutStruct(std::array<int32_t, 2>{3, 4}), abi::kO_CLOEXEC}, 0),
            "pipe2([3, 4], O_CLOEXEC)                = 0");
  const uint64_t limit = PutStruct(abi::Rlimit{8192 * 1024, abi::kRLIM_INFINITY});
  EXPECT_EQ(Line("prlimit64", {0, abi::kRLIMIT_STACK, 0, limit}, 0),
            "prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}) = 0");
  EXPECT_EQ(Line("arch_prctl", {static_cast<uint64_t>(abi::kARCH_SET_FS), 0x7f8770056740}, 0),
            "arch_prctl(ARCH_SET_FS, 0x7f8770056740) = 0");
}

TEST_F(StraceFormatTest, SocketsShowAddressesAndMessages) {
  EXPECT_EQ(Line("socket", {abi::kAF_UNIX, abi::kSOCK_STREAM | abi::kSOCK_CLOEXEC, 0}, 3),
            "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3");
  const uint64_t path = Put(std::string_view("\1\0/run/x\0", 9));
  EXPECT_EQ(Line("connect", {3, path, 9}, 0), "connect(3, {sa_family=AF_UNIX, sun_path=\"/run/x\"}, 9) = 0");
  const uint64_t abstract = Put(std::string_view("\1\0\0name", 7));
  EXPECT_EQ(Line("getsockname", {3, abstract, PutStruct(int32_t{7})}, 0),
            "getsockname(3, {sa_family=AF_UNIX, sun_path=@\"name\"}, [7]) = 0");
  EXPECT_EQ(Line("shutdown", {3, abi::kSHUT_WR}, 0), "shutdown(3, SHUT_WR)                    = 0");
  EXPECT_EQ(Line("getsockopt", {3, abi::kSOL_SOCKET, abi::kSO_TYPE, PutStruct(int32_t{1}), PutStruct(int32_t{4})}, 0),
            "getsockopt(3, SOL_SOCKET, SO_TYPE, [1], [4]) = 0");
  abi::Msghdr header{};
  header.msg_iov = PutStruct(abi::Iovec{PutString("hi"), 2});
  header.msg_iovlen = 1;
  struct {
    abi::Cmsghdr head{20, abi::kSOL_SOCKET, abi::kSCM_RIGHTS};
    int32_t fds[2] = {5, 0};
  } control;
  header.msg_control = PutStruct(control);
  header.msg_controllen = sizeof(control);
  EXPECT_EQ(Line("sendmsg", {3, PutStruct(header), abi::kMSG_NOSIGNAL}, 2),
            "sendmsg(3, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base=\"hi\", iov_len=2}], msg_iovlen=1, "
            "msg_control=[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[5]}], "
            "msg_controllen=24, msg_flags=0}, MSG_NOSIGNAL) = 2");
}

TEST_F(StraceFormatTest, InterruptedCallsShowTheRestartCode) {
  EXPECT_EQ(Line("pause", {}, -proc::kRestartNoHandler),
            "pause()                                 = ? ERESTARTNOHAND (To be restarted if no handler)");
}

TEST_F(StraceFormatTest, SignalAndExitLines) {
  proc::SignalInfo child;
  child.signal = abi::kSIGCHLD;
  child.code = abi::kCLD_EXITED;
  child.pid = 26636;
  child.status = 3;
  EXPECT_EQ(FormatSignal(child),
            "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=26636, si_uid=0, si_status=3, si_utime=0, "
            "si_stime=0} ---");
  proc::SignalInfo user;
  user.signal = abi::kSIGUSR1;
  user.pid = 7;
  EXPECT_EQ(FormatSignal(user), "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=7, si_uid=0} ---");
  EXPECT_EQ(FormatExit(3 << 8), "+++ exited with 3 +++");
  EXPECT_EQ(FormatExit(abi::kSIGTERM), "+++ killed by SIGTERM +++");
  EXPECT_EQ(FormatExit(abi::kSIGSEGV | 0x80), "+++ killed by SIGSEGV (core dumped) +++");
}

}  // namespace
}  // namespace remora::syscalls
