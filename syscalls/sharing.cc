// What threads and processes share, and how they keep in step: unshare, rseq, membarrier, process_vm_readv.

#include <algorithm>
#include <span>
#include <vector>

#include "base/abi/fcntl.h"
#include "base/abi/sched.h"
#include "base/abi/uio.h"
#include "mm/address_space.h"
#include "mm/user_buffer.h"
#include "proc/pid_table.h"
#include "proc/rseq.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/pidfd_args.h"

namespace remora::syscalls {
namespace {

constexpr int32_t kBarriers = abi::kMEMBARRIER_CMD_GLOBAL | abi::kMEMBARRIER_CMD_GLOBAL_EXPEDITED |
                              abi::kMEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | abi::kMEMBARRIER_CMD_PRIVATE_EXPEDITED |
                              abi::kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
                              abi::kMEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE |
                              abi::kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE;

// A barrier for all processes: the spaces whose workers have not been seen to follow yet.
struct GlobalBarrier : proc::SyscallState {
  explicit GlobalBarrier(proc::Task* task) : waiter(task) {}
  struct Space {
    Ref<mm::AddressSpace> space;
    uint64_t generation;
  };
  std::vector<Space> left;
  proc::TaskWaiter waiter;
};

SyscallOutcome RunGlobalBarrier(SyscallContext& c) {
  constexpr int64_t kRetryNanos = 1'000'000;
  auto* state = c.state<GlobalBarrier>();
  if (state == nullptr) {
    state = &c.MakeState<GlobalBarrier>(&c.task());
    proc::PidTable& pids = c.kernel().pids();
    for (Ref<proc::ThreadGroup> group = pids.NextGroup(1); group; group = pids.NextGroup(group->pid() + 1)) {
      const auto tasks = group->Tasks();
      if (tasks.empty() || group.get() == &c.group()) continue;
      if (Ref<mm::AddressSpace> space = tasks.front()->SpaceForOthers()) {
        const uint64_t generation = space->RequestBarrier();
        state->left.push_back({std::move(space), generation});
      }
    }
    c.task().space()->RequestBarrier();  // for which the worker waits
  }
  SyscallContext::Arm(state->waiter, c.task().space()->acknowledged_queue(), sync::kAllEvents);
  std::erase_if(state->left, [](const GlobalBarrier::Space& each) {
    return each.space->AcknowledgedByOthers(each.generation, nullptr);
  });
  if (state->left.empty()) return SyscallOutcome::Return(0);
  return c.Park(Interrupted::kRestartAlways, c.MonotonicNanos() + kRetryNanos);
}

// process_vm_readv and process_vm_writev: the remote ranges, one after the other, through one fixed buffer.
SyscallOutcome MoveRemotely(SyscallContext& c, mm::IoBuffer::Direction direction) {
  if (c.arg(5) != 0) return Errno(EINVAL);
  if (c.arg(2) > abi::kIOV_MAX || c.arg(4) > abi::kIOV_MAX) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(auto ranges, mm::UserBuffer::ReadIovecs(c.memory(), c.addr(1), c.arg(2)));
  mm::UserBuffer local(c.memory(), direction, std::move(ranges));
  std::vector<abi::Iovec> remote(c.arg(4));  // bounded above
  if (!remote.empty()) REMORA_RETURN_IF_ERROR(c.memory().CopyIn(std::as_writable_bytes(std::span(remote)), c.addr(3)));
  uint64_t total = 0;
  for (const abi::Iovec& each : remote) {
    if (static_cast<int64_t>(each.iov_len) < 0) return Errno(EINVAL);
    total += each.iov_len;
  }
  if (local.remaining() == 0 || total == 0) return SyscallOutcome::Return(0);
  REMORA_ASSIGN_OR_RETURN(const Ref<proc::Task> task, TaskToLookInto(c, c.i32(0)));
  const Ref<mm::AddressSpace> space = task->SpaceForOthers();
  if (!space) return Errno(ESRCH);
  constexpr uint64_t kPieceBytes = 64 << 10;
  uint64_t done = 0;
  for (const abi::Iovec& each : remote) {
    for (uint64_t offset = 0; offset < each.iov_len && local.remaining() != 0;) {
      const auto piece = local.Peek(std::min(kPieceBytes, each.iov_len - offset));
      if (!piece.ok()) return done != 0 ? SyscallOutcome::Return(static_cast<int64_t>(done)) : piece.error();
      const GuestAddr at(each.iov_base + offset);
      const uint64_t moved =
          direction == mm::IoBuffer::Direction::kFill ? space->ReadRemote(at, *piece) : space->WriteRemote(at, *piece);
      local.Advance(moved);
      done += moved;
      offset += moved;
      if (moved != piece->size()) {
        if (done != 0) return SyscallOutcome::Return(static_cast<int64_t>(done));
        return Errno(EFAULT);
      }
    }
  }
  return SyscallOutcome::Return(static_cast<int64_t>(done));
}

}  // namespace

SyscallOutcome SysUnshare(SyscallContext& c) {
  const uint64_t flags = c.arg(0);
  constexpr uint64_t kAlone = abi::kCLONE_THREAD | abi::kCLONE_SIGHAND | abi::kCLONE_VM;
  constexpr uint64_t kNamespaces = abi::kCLONE_NEWNS | abi::kCLONE_NEWUTS | abi::kCLONE_NEWIPC | abi::kCLONE_NEWNET |
                                   abi::kCLONE_NEWUSER | abi::kCLONE_NEWPID | abi::kCLONE_NEWCGROUP |
                                   abi::kCLONE_NEWTIME;
  if ((flags & ~(kAlone | kNamespaces | abi::kCLONE_FS | abi::kCLONE_FILES | abi::kCLONE_SYSVSEM)) != 0)
    return Errno(EINVAL);
  // To be the only thread cannot be had by asking for it.
  if ((flags & kAlone) != 0 && c.group().num_tasks() > 1) return Errno(EINVAL);
  // There are no namespaces: as a kernel without user namespaces answers, or one to whom the right is missing.
  if ((flags & kNamespaces) != 0) return Errno((flags & abi::kCLONE_NEWUSER) != 0 ? EINVAL : EPERM);
  proc::Task& task = c.task();
  if ((flags & abi::kCLONE_FILES) != 0 && task.fds()->num_users() > 1) task.ReplaceFds(task.fds()->Clone());
  if ((flags & abi::kCLONE_FS) != 0) task.ReplaceFsContext(task.fs_context()->Clone());
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysRseq(SyscallContext& c) {
  return proc::RegisterRseq(c.task(), c.memory(), c.addr(0), c.u32(1), c.u32(2), c.u32(3));
}

// Each thread of the process that is in guest code leaves it and comes back, which is a barrier: that is how changes of
// the memory map reach TLBs too.
SyscallOutcome SysMembarrier(SyscallContext& c) {
  const int32_t command = c.i32(0);
  if (c.u32(1) != 0) return Errno(EINVAL);
  if (command == abi::kMEMBARRIER_CMD_QUERY) return SyscallOutcome::Return(kBarriers);
  std::atomic<uint32_t>& registered = c.group().registered_barriers;
  switch (command) {
    case abi::kMEMBARRIER_CMD_GLOBAL:
    case abi::kMEMBARRIER_CMD_GLOBAL_EXPEDITED:
      return RunGlobalBarrier(c);
    case abi::kMEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
    case abi::kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
    case abi::kMEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
      registered.fetch_or(static_cast<uint32_t>(command), std::memory_order_relaxed);
      return SyscallOutcome::Return(0);
    case abi::kMEMBARRIER_CMD_PRIVATE_EXPEDITED:
    case abi::kMEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE:
      if ((registered.load(std::memory_order_relaxed) & static_cast<uint32_t>(command) << 1) == 0) return Errno(EPERM);
      c.task().space()->RequestBarrier();
      return SyscallOutcome::Return(0);
    default:
      return Errno(EINVAL);
  }
}

SyscallOutcome SysProcessVmReadv(SyscallContext& c) { return MoveRemotely(c, mm::IoBuffer::Direction::kFill); }
SyscallOutcome SysProcessVmWritev(SyscallContext& c) { return MoveRemotely(c, mm::IoBuffer::Direction::kDrain); }

}  // namespace remora::syscalls
