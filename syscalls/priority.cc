// getpriority, setpriority, ioprio_get, ioprio_set: kept and told; the scheduler has one priority.

#include <algorithm>

#include "absl/functional/function_ref.h"
#include "base/abi/resource.h"
#include "base/abi/sched.h"
#include "proc/pid_table.h"
#include "proc/process_tree.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

enum class Whom : uint8_t { kThread, kProcessGroup, kUser };

// Calls `visit` for each thread that `who` names, with 0 for the caller's own. ESRCH if there is none.
ErrnoOr<void> ForEachTarget(SyscallContext& c, Whom whom, int32_t who, absl::FunctionRef<void(proc::Task&)> visit) {
  proc::PidTable& pids = c.kernel().pids();
  const auto visit_group = [&](proc::ThreadGroup& group) {
    for (const Ref<proc::Task>& task : group.Tasks()) visit(*task);
  };
  switch (whom) {
    case Whom::kThread: {
      const Ref<proc::Task> task = who == 0 ? Ref<proc::Task>(&c.task()) : pids.FindTask(who);
      if (!task) return Errno(ESRCH);
      visit(*task);
      return Ok();
    }
    case Whom::kProcessGroup: {
      const int32_t process_group = who == 0 ? c.group().process_group() : who;
      if (c.kernel().tree().ForEachMember(process_group, visit_group) == 0) return Errno(ESRCH);
      return Ok();
    }
    case Whom::kUser: {
      const uint32_t uid = who == 0 ? c.task().credentials()->uid : static_cast<uint32_t>(who);
      bool found = false;
      for (Ref<proc::ThreadGroup> group = pids.NextGroup(1); group; group = pids.NextGroup(group->pid() + 1)) {
        for (const Ref<proc::Task>& task : group->Tasks()) {
          if (task->credentials()->uid != uid) continue;
          found = true;
          visit(*task);
        }
      }
      if (!found) return Errno(ESRCH);
      return Ok();
    }
  }
  return Errno(EINVAL);
}

bool MayChange(SyscallContext& c, proc::Task& target) {
  const auto mine = c.task().credentials(), theirs = target.credentials();
  return mine->privileged() || mine->euid == theirs->uid || mine->euid == theirs->euid;
}

// RLIMIT_NICE counts from 1 (nice 19) to 40 (nice -20).
bool MayRaiseTo(SyscallContext& c, proc::Task& target, int32_t nice) {
  return c.task().credentials()->privileged() ||
         static_cast<uint64_t>(20 - nice) <= target.group().limit(abi::kRLIMIT_NICE).soft;
}

ErrnoOr<Whom> PriorityWhom(int32_t which) {
  switch (which) {
    case abi::kPRIO_PROCESS:
      return Whom::kThread;
    case abi::kPRIO_PGRP:
      return Whom::kProcessGroup;
    case abi::kPRIO_USER:
      return Whom::kUser;
    default:
      return Errno(EINVAL);
  }
}

ErrnoOr<Whom> IoPriorityWhom(int32_t which) {
  switch (which) {
    case abi::kIOPRIO_WHO_PROCESS:
      return Whom::kThread;
    case abi::kIOPRIO_WHO_PGRP:
      return Whom::kProcessGroup;
    case abi::kIOPRIO_WHO_USER:
      return Whom::kUser;
    default:
      return Errno(EINVAL);
  }
}

// Real time, best effort, idle, in falling order; none counts as the middle of best effort.
int32_t EffectiveIoPriority(int32_t priority) {
  constexpr int32_t kBestEffort = 2, kMiddle = 4;
  return priority >> abi::kIOPRIO_CLASS_SHIFT == 0 ? kBestEffort << abi::kIOPRIO_CLASS_SHIFT | kMiddle : priority;
}

}  // namespace

SyscallOutcome SysGetpriority(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Whom whom, PriorityWhom(c.i32(0)));
  int32_t lowest = 19;
  REMORA_RETURN_IF_ERROR(ForEachTarget(c, whom, c.i32(1), [&](proc::Task& task) {
    lowest = std::min(lowest, task.nice.load(std::memory_order_relaxed));
  }));
  return SyscallOutcome::Return(20 - lowest);  // the raw call answers 20 - nice
}

SyscallOutcome SysSetpriority(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Whom whom, PriorityWhom(c.i32(0)));
  const int32_t nice = std::clamp(c.i32(2), -20, 19);
  int error = 0;
  REMORA_RETURN_IF_ERROR(ForEachTarget(c, whom, c.i32(1), [&](proc::Task& task) {
    if (!MayChange(c, task))
      error = EPERM;
    else if (nice < task.nice.load(std::memory_order_relaxed) && !MayRaiseTo(c, task, nice))
      error = EACCES;
    else
      task.nice.store(nice, std::memory_order_relaxed);
  }));
  if (error != 0) return Errno(error);
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysIoprioGet(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Whom whom, IoPriorityWhom(c.i32(0)));
  int32_t best = -1;
  REMORA_RETURN_IF_ERROR(ForEachTarget(c, whom, c.i32(1), [&](proc::Task& task) {
    const int32_t priority = task.io_priority.load(std::memory_order_relaxed);
    if (best < 0 || EffectiveIoPriority(priority) < EffectiveIoPriority(best)) best = priority;
  }));
  return SyscallOutcome::Return(best);
}

SyscallOutcome SysIoprioSet(SyscallContext& c) {
  constexpr int32_t kNone = 0, kRealTime = 1, kBestEffort = 2, kIdle = 3, kNumLevels = 8;
  const int32_t priority = c.i32(2);
  const int32_t kind = priority >> abi::kIOPRIO_CLASS_SHIFT, level = priority & (kNumLevels - 1);
  switch (kind) {
    case kRealTime:
      if (!c.task().credentials()->privileged()) return Errno(EPERM);
      break;
    case kBestEffort:
    case kIdle:
      break;
    case kNone:
      if (level != 0) return Errno(EINVAL);
      break;
    default:
      return Errno(EINVAL);
  }
  REMORA_ASSIGN_OR_RETURN(const Whom whom, IoPriorityWhom(c.i32(0)));
  int error = 0;
  REMORA_RETURN_IF_ERROR(ForEachTarget(c, whom, c.i32(1), [&](proc::Task& task) {
    if (MayChange(c, task))
      task.io_priority.store(priority, std::memory_order_relaxed);
    else
      error = EPERM;
  }));
  if (error != 0) return Errno(error);
  return SyscallOutcome::Return(0);
}

}  // namespace remora::syscalls
