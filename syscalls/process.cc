// Processes and threads: clone, exit, wait, ids, process groups.

#include <algorithm>
#include <cstring>

#include "base/abi/futex.h"
#include "base/abi/resource.h"
#include "base/abi/sched.h"
#include "base/abi/signal.h"
#include "base/abi/wait.h"
#include "proc/clone.h"
#include "proc/exit.h"
#include "proc/sessions.h"
#include "proc/wait.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/pidfd_args.h"
#include "syscalls/time_args.h"

namespace remora::syscalls {
namespace {

struct VforkState : proc::SyscallState {
  VforkState(proc::Task* task, Ref<proc::VforkDone> vfork_done, int32_t tid)
      : done(std::move(vfork_done)), child(tid), waiter(task) {}
  Ref<proc::VforkDone> done;  // before the waiter: outlives it
  int32_t child;
  proc::TaskWaiter waiter;
};

// No signal but a fatal one ends this wait, and for that the worker ends the task itself.
SyscallOutcome WaitForVfork(VforkState& state) {
  SyscallContext::Arm(state.waiter, state.done->queue(), sync::kReadable);
  if (state.done->done()) return SyscallOutcome::Return(state.child);
  return SyscallOutcome::Blocked();
}

SyscallOutcome RunClone(SyscallContext& c, proc::CloneRequest request) {
  if (auto* state = c.state<VforkState>()) return WaitForVfork(*state);
  const bool vfork = (request.flags & abi::kCLONE_VFORK) != 0;
  if (vfork) request.vfork_done = MakeRef<proc::VforkDone>();
  // tid() of the child may not be asked later: it may be dead and reaped by then.
  REMORA_ASSIGN_OR_RETURN(const Ref<proc::Task> child, proc::Clone(c.task(), request));
  if (!vfork) return SyscallOutcome::Return(child->tid());
  return WaitForVfork(c.MakeState<VforkState>(&c.task(), request.vfork_done, child->tid()));
}

constexpr uint64_t kUnsupportedCloneFlags = abi::kCLONE_NEWTIME | abi::kCLONE_NEWNS | abi::kCLONE_NEWCGROUP |
                                            abi::kCLONE_NEWUTS | abi::kCLONE_NEWIPC | abi::kCLONE_NEWUSER |
                                            abi::kCLONE_NEWPID | abi::kCLONE_NEWNET | abi::kCLONE_INTO_CGROUP;

// The first of the numbers that clone3's set_tid asks for: there is but one pid namespace.
ErrnoOr<int32_t> WantedTid(SyscallContext& c, const abi::CloneArgs& args) {
  constexpr uint64_t kMaxNamespaces = 32;
  if (args.set_tid_size > kMaxNamespaces || (args.set_tid == 0) != (args.set_tid_size == 0)) return Errno(EINVAL);
  if (args.set_tid_size == 0) return 0;
  REMORA_ASSIGN_OR_RETURN(const int32_t tid, c.memory().Read<int32_t>(GuestAddr(args.set_tid)));
  if (args.set_tid_size > 1 || tid < 1 || tid >= c.kernel().options().max_pid) return Errno(EINVAL);
  if (!c.task().credentials()->privileged()) return Errno(EPERM);
  return tid;
}

struct WaitState : proc::SyscallState {
  WaitState(proc::Task* task, const proc::WaitRequest& wanted) : request(wanted), waiter(task) {}
  const proc::WaitRequest request;
  proc::TaskWaiter waiter;
};

// A child that changed, or the answer of the call: 0 for WNOHANG, an error, a wait.
struct WaitResult {
  std::optional<proc::WaitedChild> child;
  SyscallOutcome otherwise = SyscallOutcome::Return(0);
};
WaitResult WaitForChild(SyscallContext& c, const proc::WaitRequest& request, uint32_t options) {
  auto found = proc::CollectChild(c.task(), request);
  if (!found.ok()) return {std::nullopt, found.error()};
  if (*found) return {**found};
  if ((options & abi::kWNOHANG) != 0) return {};
  auto* state = c.state<WaitState>();
  if (state == nullptr) state = &c.MakeState<WaitState>(&c.task(), request);
  if (SyscallContext::Arm(state->waiter, c.group().child_queue(), sync::kAllEvents)) {
    found = proc::CollectChild(c.task(), request);
    if (!found.ok()) return {std::nullopt, found.error()};
    if (*found) return {**found};
  }
  return {std::nullopt, c.Park()};
}

proc::WaitRequest::Clones ClonesOf(uint32_t options) {
  if ((options & abi::k__WALL) != 0) return proc::WaitRequest::Clones::kToo;
  return (options & abi::k__WCLONE) != 0 ? proc::WaitRequest::Clones::kOnly : proc::WaitRequest::Clones::kNone;
}

}  // namespace

SyscallOutcome SysClone(SyscallContext& c) {
  proc::CloneRequest request;
  request.flags = c.u32(0) & ~uint32_t{abi::kCSIGNAL};
  request.exit_signal = static_cast<int>(c.arg(0) & abi::kCSIGNAL);
  request.stack = c.addr(1);
  request.parent_tid = c.addr(2);
  request.child_tid = c.addr(3);
  request.tls = c.arg(4);
  request.pidfd = c.addr(2);
  if ((request.flags & kUnsupportedCloneFlags) != 0) return Errno(EINVAL);
  // Both would be told at the same place.
  if ((request.flags & abi::kCLONE_PIDFD) != 0 && (request.flags & abi::kCLONE_PARENT_SETTID) != 0)
    return Errno(EINVAL);
  return RunClone(c, std::move(request));
}

SyscallOutcome SysClone3(SyscallContext& c) {
  const uint64_t size = c.arg(1);
  if (size < abi::kCLONE_ARGS_SIZE_VER0) return Errno(EINVAL);
  if (size > kPageSize) return Errno(E2BIG);
  abi::CloneArgs args{};
  const uint64_t known = std::min<uint64_t>(size, sizeof(args));
  REMORA_RETURN_IF_ERROR(c.memory().CopyIn(std::as_writable_bytes(std::span(&args, 1)).first(known), c.addr(0)));
  for (uint64_t offset = known; offset < size; ++offset) {
    REMORA_ASSIGN_OR_RETURN(const uint8_t byte, c.memory().Read<uint8_t>(c.addr(0) + offset));
    if (byte != 0) return Errno(E2BIG);
  }
  if ((args.flags & (kUnsupportedCloneFlags | abi::kCLONE_DETACHED | abi::kCSIGNAL)) != 0) return Errno(EINVAL);
  if (args.exit_signal > abi::kCSIGNAL) return Errno(EINVAL);
  if ((args.stack == 0) != (args.stack_size == 0)) return Errno(EINVAL);
  if ((args.flags & (abi::kCLONE_THREAD | abi::kCLONE_PARENT)) != 0 && args.exit_signal != 0) return Errno(EINVAL);
  proc::CloneRequest request;
  if (c.state<proc::SyscallState>() == nullptr) {
    REMORA_ASSIGN_OR_RETURN(request.wanted_tid, WantedTid(c, args));
  }
  request.pidfd = GuestAddr(args.pidfd);
  request.flags = args.flags;
  request.exit_signal = static_cast<int>(args.exit_signal);
  request.stack = GuestAddr(args.stack + args.stack_size);
  request.parent_tid = GuestAddr(args.parent_tid);
  request.child_tid = GuestAddr(args.child_tid);
  request.tls = args.tls;
  return RunClone(c, std::move(request));
}

SyscallOutcome SysFork(SyscallContext& c) {
  proc::CloneRequest request;
  request.exit_signal = abi::kSIGCHLD;
  return RunClone(c, std::move(request));
}

SyscallOutcome SysVfork(SyscallContext& c) {
  proc::CloneRequest request;
  request.flags = abi::kCLONE_VFORK | abi::kCLONE_VM;
  request.exit_signal = abi::kSIGCHLD;
  return RunClone(c, std::move(request));
}

SyscallOutcome SysExit(SyscallContext& c) {
  proc::ExitThread(c.task(), abi::WaitStatusExited(c.i32(0)));
  return SyscallOutcome::NoReturn();
}
SyscallOutcome SysExitGroup(SyscallContext& c) {
  proc::ExitGroup(c.task(), abi::WaitStatusExited(c.i32(0)));
  return SyscallOutcome::NoReturn();
}

SyscallOutcome SysWait4(SyscallContext& c) {
  const int32_t pid = c.i32(0);
  const uint32_t options = c.u32(2);
  if ((options &
       ~(abi::kWNOHANG | abi::kWUNTRACED | abi::kWCONTINUED | abi::k__WNOTHREAD | abi::k__WALL | abi::k__WCLONE)) != 0)
    return Errno(EINVAL);
  if (pid == INT32_MIN) return Errno(ESRCH);
  proc::WaitRequest request;
  if (pid > 0) {
    request.who = proc::WaitRequest::Who::kPid;
    request.id = pid;
  } else if (pid != -1) {
    request.who = proc::WaitRequest::Who::kProcessGroup;
    request.id = pid == 0 ? c.group().process_group() : -pid;
  }
  request.stopped = (options & abi::kWUNTRACED) != 0;
  request.continued = (options & abi::kWCONTINUED) != 0;
  request.clones = ClonesOf(options);
  const WaitResult result = WaitForChild(c, request, options);
  if (!result.child) return result.otherwise;
  // As on Linux the child is reaped even if what is told of it cannot be stored.
  if (!c.addr(1).is_null()) REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(1), result.child->status));
  if (!c.addr(3).is_null()) REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(3), ToRusage(result.child->usage)));
  return SyscallOutcome::Return(result.child->pid);
}

SyscallOutcome SysWaitid(SyscallContext& c) {
  const int32_t which = c.i32(0), id = c.i32(1);
  const uint32_t options = c.u32(3);
  constexpr uint32_t kStates = abi::kWEXITED | abi::kWSTOPPED | abi::kWCONTINUED;
  if ((options & ~(kStates | abi::kWNOHANG | abi::kWNOWAIT | abi::k__WNOTHREAD | abi::k__WALL | abi::k__WCLONE)) != 0 ||
      (options & kStates) == 0)
    return Errno(EINVAL);
  proc::WaitRequest request;
  bool never_waits = false;
  switch (which) {
    case abi::kP_ALL:
      break;
    case abi::kP_PID:
      if (id <= 0) return Errno(EINVAL);
      request.who = proc::WaitRequest::Who::kPid;
      request.id = id;
      break;
    case abi::kP_PGID:
      if (id < 0) return Errno(EINVAL);
      request.who = proc::WaitRequest::Who::kProcessGroup;
      request.id = id == 0 ? c.group().process_group() : id;
      break;
    case abi::kP_PIDFD: {
      request.who = proc::WaitRequest::Who::kPid;
      if (const auto* waiting = c.state<WaitState>()) {
        request.id = waiting->request.id;
        break;
      }
      if (id < 0) return Errno(EINVAL);
      REMORA_ASSIGN_OR_RETURN(const Ref<proc::PidFd> pidfd, PidFdArg(c, id));
      request.id = pidfd->group().pid();
      never_waits = pidfd->nonblocking();
      break;
    }
    default:
      return Errno(EINVAL);
  }
  request.exited = (options & abi::kWEXITED) != 0;
  request.stopped = (options & abi::kWSTOPPED) != 0;
  request.continued = (options & abi::kWCONTINUED) != 0;
  request.clones = ClonesOf(options);
  request.leave_waitable = (options & abi::kWNOWAIT) != 0;
  const WaitResult result = WaitForChild(c, request, options | (never_waits ? abi::kWNOHANG : 0));
  if (never_waits && (options & abi::kWNOHANG) == 0 && !result.child &&
      result.otherwise.kind() == SyscallOutcome::Kind::kReturned && result.otherwise.value() == 0)
    return Errno(EAGAIN);
  abi::Siginfo info{};
  if (result.child) {
    const int32_t status = result.child->status;
    info.signo = abi::kSIGCHLD;
    info.child.pid = result.child->pid;
    info.child.uid = result.child->uid;
    if (status == abi::kWaitStatusContinued) {
      info.code = abi::kCLD_CONTINUED;
      info.child.status = abi::kSIGCONT;
    } else if ((status & 0xff) == 0x7f) {
      info.code = abi::kCLD_STOPPED;
      info.child.status = (status >> 8) & 0xff;
    } else if ((status & 0x7f) == 0) {
      info.code = abi::kCLD_EXITED;
      info.child.status = (status >> 8) & 0xff;
    } else {
      info.code = (status & 0x80) != 0 ? abi::kCLD_DUMPED : abi::kCLD_KILLED;
      info.child.status = status & 0x7f;
    }
  } else if (result.otherwise.kind() != SyscallOutcome::Kind::kReturned || result.otherwise.value() != 0) {
    return result.otherwise;
  }
  // Linux stores these fields only, all zero where WNOHANG found nothing.
  if (!c.addr(2).is_null())
    REMORA_RETURN_IF_ERROR(c.memory().CopyOut(
        c.addr(2), std::as_bytes(std::span(&info, 1)).first(offsetof(abi::Siginfo, child.status) + sizeof(int32_t))));
  if (result.child && !c.addr(4).is_null())
    REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(4), ToRusage(result.child->usage)));
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysGetpid(SyscallContext& c) { return SyscallOutcome::Return(c.group().pid()); }
SyscallOutcome SysGetppid(SyscallContext& c) { return SyscallOutcome::Return(c.group().parent_pid()); }
SyscallOutcome SysGettid(SyscallContext& c) { return SyscallOutcome::Return(c.task().tid()); }

SyscallOutcome SysSetTidAddress(SyscallContext& c) {
  c.task().clear_child_tid = c.addr(0);
  return SyscallOutcome::Return(c.task().tid());
}

SyscallOutcome SysSetsid(SyscallContext& c) { return proc::CreateSession(c.task()); }
SyscallOutcome SysSetpgid(SyscallContext& c) { return proc::SetProcessGroup(c.task(), c.i32(0), c.i32(1)); }
SyscallOutcome SysGetpgid(SyscallContext& c) { return proc::ProcessGroupOf(c.task(), c.i32(0)); }
SyscallOutcome SysGetpgrp(SyscallContext& c) { return SyscallOutcome::Return(c.group().process_group()); }
SyscallOutcome SysGetsid(SyscallContext& c) { return proc::SessionOf(c.task(), c.i32(0)); }

}  // namespace remora::syscalls
