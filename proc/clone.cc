#include "proc/clone.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/abi/resource.h"
#include "base/abi/sched.h"
#include "base/abi/signal.h"
#include "mm/user_memory.h"
#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/pidfd.h"
#include "proc/process_tree.h"
#include "proc/scheduler.h"
#include "proc/signal_sets.h"
#include "proc/signal_state.h"
#include "proc/task_builder.h"
#include "proc/thread_group.h"

namespace remora::proc {

namespace {

constexpr uint64_t kNamespaces = abi::kCLONE_NEWTIME | abi::kCLONE_NEWNS | abi::kCLONE_NEWCGROUP | abi::kCLONE_NEWUTS |
                                 abi::kCLONE_NEWIPC | abi::kCLONE_NEWUSER | abi::kCLONE_NEWPID | abi::kCLONE_NEWNET;
// What Remora bears at once, whatever the guest's limits are.
constexpr uint32_t kMaxTasks = 100'000;

ErrnoOr<void> Validate(const Task& parent, const CloneRequest& request) {
  const auto has = [&](uint64_t flag) { return (request.flags & flag) != 0; };
  if (has(abi::kCLONE_THREAD) && !has(abi::kCLONE_SIGHAND)) return Errno(EINVAL);
  if (has(abi::kCLONE_SIGHAND) && !has(abi::kCLONE_VM)) return Errno(EINVAL);
  if (has(abi::kCLONE_NEWNS) && has(abi::kCLONE_FS)) return Errno(EINVAL);
  if (has(abi::kCLONE_THREAD) && has(abi::kCLONE_NEWUSER | abi::kCLONE_NEWPID)) return Errno(EINVAL);
  // There are no namespaces: the answers are those of a kernel without them, or to one without the right to make them.
  if (has(kNamespaces)) return Errno(has(abi::kCLONE_NEWUSER) ? EINVAL : EPERM);
  if (has(abi::kCLONE_INTO_CGROUP)) return Errno(EINVAL);
  if (has(abi::kCLONE_PIDFD) && has(abi::kCLONE_THREAD | abi::kCLONE_DETACHED)) return Errno(EINVAL);
  if (has(abi::kCLONE_SIGHAND) && has(abi::kCLONE_CLEAR_SIGHAND)) return Errno(EINVAL);
  if (request.exit_signal < 0 || request.exit_signal > kNumSignals) return Errno(EINVAL);
  const uint32_t live = parent.kernel().scheduler().num_live();
  if (live >= kMaxTasks) return Errno(EAGAIN);
  if (live >= parent.group().limit(abi::kRLIMIT_NPROC).soft && !parent.credentials()->privileged())
    return Errno(EAGAIN);
  return Ok();
}

// The child's registers and thread bookkeeping.
void CopyThread(Task& parent, Task& child, const CloneRequest& request) {
  child.cpu = parent.cpu;
  child.cpu.gpr[cpu::kRax] = 0;
  if (!request.stack.is_null()) child.cpu.gpr[cpu::kRsp] = request.stack.value();
  if ((request.flags & abi::kCLONE_SETTLS) != 0) child.cpu.fs_base = request.tls;
  if ((request.flags & abi::kCLONE_CHILD_CLEARTID) != 0) child.clear_child_tid = request.child_tid;
  // A thread starts without an alternate stack, unless it borrows the parent's memory as vfork does.
  const bool shares_memory = (request.flags & (abi::kCLONE_VM | abi::kCLONE_VFORK)) == abi::kCLONE_VM;
  if (!shares_memory) child.alternate_stack = parent.alternate_stack;
  TaskBuilder::SetBlocked(child, parent.saved_blocked_signals.value_or(parent.blocked_signals()));
  child.set_credentials(parent.credentials());
  child.nice.store(parent.nice.load(std::memory_order_relaxed), std::memory_order_relaxed);
  child.io_priority.store(parent.io_priority.load(std::memory_order_relaxed), std::memory_order_relaxed);
  child.personality.store(parent.personality.load(std::memory_order_relaxed), std::memory_order_relaxed);
  child.affinity.store(parent.affinity.load(std::memory_order_relaxed), std::memory_order_relaxed);
  // The area is in memory: a copy of it is the child's, a shared one is not.
  if ((request.flags & abi::kCLONE_VM) == 0) child.rseq = parent.rseq;
  child.set_name(parent.name());
}

ErrnoOr<void> CopyHandles(Task& parent, Task& child, const CloneRequest& request) {
  if ((request.flags & abi::kCLONE_VM) != 0) {
    child.ReplaceSpace(parent.space());
  } else {
    REMORA_ASSIGN_OR_RETURN(Ref<mm::AddressSpace> space, parent.space()->Fork());
    child.ReplaceSpace(std::move(space));
  }
  child.ReplaceFds((request.flags & abi::kCLONE_FILES) != 0 ? parent.fds() : parent.fds()->Clone());
  child.ReplaceFsContext((request.flags & abi::kCLONE_FS) != 0 ? parent.fs_context() : parent.fs_context()->Clone());
  return Ok();
}

}  // namespace

ErrnoOr<Ref<Task>> Clone(Task& parent, const CloneRequest& request) {
  REMORA_RETURN_IF_ERROR(Validate(parent, request));
  Kernel& kernel = parent.kernel();
  const bool is_thread = (request.flags & abi::kCLONE_THREAD) != 0;
  REMORA_ASSIGN_OR_RETURN(const int32_t tid, request.wanted_tid != 0 ? kernel.pids().AllocateExactly(request.wanted_tid)
                                                                     : kernel.pids().Allocate());

  Ref<ThreadGroup> group(&parent.group());
  if (!is_thread) {
    group = TaskBuilder::NewGroup(&kernel, tid);
    group->registered_barriers.store(parent.group().registered_barriers.load(std::memory_order_relaxed),
                                     std::memory_order_relaxed);
    SignalState::CopyActions(parent.group(), *group, (request.flags & abi::kCLONE_CLEAR_SIGHAND) != 0);
  }
  Ref<Task> child = TaskBuilder::NewTask(&kernel, tid, group);
  CopyThread(parent, *child, request);
  const auto abandon = [&](int error_number) {
    child->ReplaceFds(nullptr);
    child->ReplaceFsContext(nullptr);
    child->ReplaceSpace(nullptr);
    kernel.pids().Remove(tid);
    return Errno(error_number);
  };
  if (const ErrnoOr<void> copied = CopyHandles(parent, *child, request); !copied.ok())
    return abandon(copied.error_number());

  // After the copy: the child does not have it.
  int32_t pidfd = -1;
  if ((request.flags & abi::kCLONE_PIDFD) != 0) {
    const auto made = parent.fds()->Add(
        MakePidFd(*group, 0), /*close_on_exec=*/true, 0,
        static_cast<uint32_t>(std::min<uint64_t>(parent.group().limit(abi::kRLIMIT_NOFILE).soft, 1 << 20)));
    if (!made.ok()) return abandon(made.error_number());
    pidfd = *made;
    const auto pidfd_bytes = std::as_bytes(std::span(&pidfd, 1));
    if (parent.space()->WriteRemote(request.pidfd, pidfd_bytes) != pidfd_bytes.size()) {
      (void)parent.fds()->Close(pidfd);
      return abandon(EFAULT);
    }
  }

  // A bad address is no error here, as in Linux.
  const auto tid_bytes = std::as_bytes(std::span(&tid, 1));
  if ((request.flags & abi::kCLONE_CHILD_SETTID) != 0) child->space()->WriteRemote(request.child_tid, tid_bytes);
  if ((request.flags & abi::kCLONE_PARENT_SETTID) != 0) parent.space()->WriteRemote(request.parent_tid, tid_bytes);
  child->vfork_done = request.vfork_done;

  if (!SignalState::AddTask(*group, child)) {
    if (pidfd >= 0) (void)parent.fds()->Close(pidfd);
    return abandon(EAGAIN);
  }
  kernel.pids().Publish(tid, child);
  if (!is_thread) {
    if ((request.flags & abi::kCLONE_PARENT) != 0)
      kernel.tree().AddSibling(parent.group(), *group);
    else
      kernel.tree().AddChild(parent.group(), *group, request.exit_signal);
  }
  // Whoever ends all processes sees either the child in the table or us here.
  if (kernel.shutting_down()) SignalState::BeginGroupExit(*group, abi::kSIGKILL);
  // Who makes a process mostly waits for it next.
  if (!is_thread) kernel.scheduler().PromiseToCome(parent);
  kernel.scheduler().Add(*child);
  return child;
}

}  // namespace remora::proc
