// pidfd_open and its kin: a process named by a descriptor.

#include "proc/pidfd.h"

#include <span>

#include "base/abi/sched.h"
#include "base/abi/signal.h"
#include "proc/pid_table.h"
#include "proc/siginfo.h"
#include "proc/signals.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/pidfd_args.h"

namespace remora::syscalls {
namespace {

// ptrace(2)'s PTRACE_MODE_ATTACH_REALCREDS.
bool MayLookInto(SyscallContext& c, proc::Task& target) {
  if (&target.group() == &c.group()) return true;
  const auto mine = c.task().credentials(), theirs = target.credentials();
  if (mine->privileged()) return true;
  return mine->uid == theirs->uid && mine->uid == theirs->euid && mine->uid == theirs->suid &&
         mine->gid == theirs->gid && mine->gid == theirs->egid && mine->gid == theirs->sgid;
}

}  // namespace

ErrnoOr<Ref<proc::PidFd>> PidFdArg(SyscallContext& c, int32_t fd) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.task().fds()->Lookup(fd));
  auto* pidfd = dynamic_cast<proc::PidFd*>(file.get());
  if (pidfd == nullptr) return Errno(EBADF);
  return Ref<proc::PidFd>(pidfd);
}

ErrnoOr<Ref<proc::Task>> TaskToLookInto(SyscallContext& c, int32_t pid) {
  const Ref<proc::Task> task = c.kernel().pids().FindTask(pid);
  if (!task) return Errno(ESRCH);
  if (!MayLookInto(c, *task)) return Errno(EPERM);
  return task;
}

SyscallOutcome SysPidfdOpen(SyscallContext& c) {
  const int32_t pid = c.i32(0);
  const uint32_t flags = c.u32(1);
  if ((flags & ~abi::kPIDFD_NONBLOCK) != 0 || pid <= 0) return Errno(EINVAL);
  const Ref<proc::Task> task = c.kernel().pids().FindTask(pid);
  if (!task) return Errno(ESRCH);
  // A thread that is not its process's first one.
  if (task->group().pid() != pid) return Errno(EINVAL);
  return c.AddFd(proc::MakePidFd(task->group(), flags), /*close_on_exec=*/true);
}

SyscallOutcome SysPidfdSendSignal(SyscallContext& c) {
  const int32_t signal = c.i32(1);
  if (c.u32(3) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<proc::PidFd> pidfd, PidFdArg(c, c.i32(0)));
  proc::SignalInfo info;
  if (c.addr(2).is_null()) {
    info.code = abi::kSI_USER;
    info.pid = c.group().pid();
    info.uid = c.task().credentials()->uid;
  } else {
    REMORA_ASSIGN_OR_RETURN(const auto in, c.memory().Read<abi::Siginfo>(c.addr(2)));
    if (in.signo != signal) return Errno(EINVAL);
    if (&pidfd->group() != &c.group() && (in.code >= 0 || in.code == abi::kSI_TKILL)) return Errno(EPERM);
    info = proc::DecodeSignalInfo(in);
  }
  info.signal = signal;
  return proc::KillGroup(c.task(), pidfd->group(), info);
}

SyscallOutcome SysPidfdGetfd(SyscallContext& c) {
  if (c.u32(2) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<proc::PidFd> pidfd, PidFdArg(c, c.i32(0)));
  const std::vector<Ref<proc::Task>> tasks = pidfd->group().Tasks();
  if (tasks.empty()) return Errno(ESRCH);
  if (!MayLookInto(c, *tasks.front())) return Errno(EPERM);
  const Ref<fs::FdTable> fds = tasks.front()->FdsForOthers();
  if (!fds) return Errno(ESRCH);
  REMORA_ASSIGN_OR_RETURN(Ref<fs::File> file, fds->Lookup(c.i32(1)));
  return c.AddFd(std::move(file), /*close_on_exec=*/true);
}

}  // namespace remora::syscalls
