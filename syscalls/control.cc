// What a process or thread says about itself: prctl, arch_prctl, scheduling, personality.

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>

#include "base/abi/prctl.h"
#include "base/abi/resource.h"
#include "base/abi/sched.h"
#include "base/abi/signal.h"
#include "base/abi/time.h"
#include "proc/pid_table.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

SyscallOutcome SetName(SyscallContext& c) {
  std::array<char, abi::kTASK_COMM_LEN> name{};
  // Linux copies up to 15 bytes and stops at the NUL; what lies behind it need not be readable.
  for (uint32_t i = 0; i + 1 < name.size(); ++i) {
    REMORA_ASSIGN_OR_RETURN(name[i], c.memory().Read<char>(c.addr(1) + i));
    if (name[i] == 0) break;
  }
  c.task().set_name(name.data());
  return SyscallOutcome::Return(0);
}

SyscallOutcome GetName(SyscallContext& c) {
  std::array<char, abi::kTASK_COMM_LEN> out{};
  const std::string name = c.task().name();
  std::memcpy(out.data(), name.data(), std::min(name.size(), out.size() - 1));
  return c.memory().Write(c.addr(1), out);
}

// The task named by argument 0, where 0 is the caller. ESRCH.
ErrnoOr<Ref<proc::Task>> TaskArg(SyscallContext& c) {
  const int32_t tid = c.i32(0);
  if (tid < 0) return Errno(EINVAL);
  if (tid == 0) return Ref<proc::Task>(&c.task());
  Ref<proc::Task> task = c.kernel().pids().FindTask(tid);
  if (!task) return Errno(ESRCH);
  return task;
}

// CPU n exists for each worker.
uint64_t CpuMask(SyscallContext& c) {
  const uint32_t n = c.kernel().options().num_workers;
  return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
}

SyscallOutcome CheckPolicy(SyscallContext& c, int32_t policy, GuestAddr param) {
  REMORA_RETURN_IF_ERROR(TaskArg(c));
  REMORA_ASSIGN_OR_RETURN(const auto in, c.memory().Read<abi::SchedParam>(param));
  switch (policy & ~abi::kSCHED_RESET_ON_FORK) {
    case abi::kSCHED_OTHER:
    case abi::kSCHED_BATCH:
    case abi::kSCHED_IDLE:
      return in.sched_priority == 0 ? SyscallOutcome::Return(0) : SyscallOutcome(Errno(EINVAL));
    case abi::kSCHED_FIFO:
    case abi::kSCHED_RR:
      return Errno(in.sched_priority >= 1 && in.sched_priority <= 99 ? EPERM : EINVAL);
    default:
      return Errno(EINVAL);
  }
}

SyscallOutcome PriorityBound(SyscallContext& c, int64_t realtime) {
  switch (c.i32(0)) {
    case abi::kSCHED_OTHER:
    case abi::kSCHED_BATCH:
    case abi::kSCHED_IDLE:
    case abi::kSCHED_DEADLINE:
      return SyscallOutcome::Return(0);
    case abi::kSCHED_FIFO:
    case abi::kSCHED_RR:
      return SyscallOutcome::Return(realtime);
    default:
      return Errno(EINVAL);
  }
}

}  // namespace

SyscallOutcome SysPrctl(SyscallContext& c) {
  const uint64_t value = c.arg(1);
  switch (c.i32(0)) {
    case abi::kPR_SET_NAME:
      return SetName(c);
    case abi::kPR_GET_NAME:
      return GetName(c);
    case abi::kPR_SET_PDEATHSIG:
      if (value > proc::kNumSignals) return Errno(EINVAL);
      c.task().parent_death_signal.store(static_cast<int>(value), std::memory_order_relaxed);
      return SyscallOutcome::Return(0);
    case abi::kPR_GET_PDEATHSIG:
      return c.memory().Write(c.addr(1), int32_t{c.task().parent_death_signal.load(std::memory_order_relaxed)});
    case abi::kPR_SET_CHILD_SUBREAPER:
      c.group().child_subreaper.store(value != 0, std::memory_order_relaxed);
      return SyscallOutcome::Return(0);
    case abi::kPR_GET_CHILD_SUBREAPER:
      return c.memory().Write(c.addr(1), int32_t{c.group().child_subreaper.load(std::memory_order_relaxed)});
    case abi::kPR_GET_DUMPABLE:
      return SyscallOutcome::Return(1);
    case abi::kPR_SET_DUMPABLE:
      return value <= 1 ? SyscallOutcome::Return(0) : SyscallOutcome(Errno(EINVAL));
    case abi::kPR_GET_KEEPCAPS:
    case abi::kPR_GET_SECCOMP:
      return SyscallOutcome::Return(0);
    case abi::kPR_SET_NO_NEW_PRIVS:
      if (value != 1 || c.arg(2) != 0 || c.arg(3) != 0 || c.arg(4) != 0) return Errno(EINVAL);
      return SyscallOutcome::Return(0);  // exec never gives privileges here
    case abi::kPR_GET_NO_NEW_PRIVS:
      return SyscallOutcome::Return(1);
    case abi::kPR_CAPBSET_READ: {
      constexpr uint64_t kLastCapability = 40;
      if (value > kLastCapability) return Errno(EINVAL);
      return SyscallOutcome::Return(c.task().credentials()->privileged() ? 1 : 0);
    }
    case abi::kPR_GET_TIMERSLACK:
      return SyscallOutcome::Return(50'000);
    case abi::kPR_SET_TIMERSLACK:
      return SyscallOutcome::Return(0);
    case abi::kPR_GET_TID_ADDRESS:
      return c.memory().Write(c.addr(1), c.task().clear_child_tid.value());
    default:
      return Errno(EINVAL);
  }
}

SyscallOutcome SysArchPrctl(SyscallContext& c) {
  cpu::CpuState& cpu = c.task().cpu;
  switch (c.i32(0)) {
    case abi::kARCH_SET_FS:
      if (c.arg(1) >= kUserAddressEnd) return Errno(EPERM);
      cpu.fs_base = c.arg(1);
      return SyscallOutcome::Return(0);
    case abi::kARCH_SET_GS:
      if (c.arg(1) >= kUserAddressEnd) return Errno(EPERM);
      cpu.gs_base = c.arg(1);
      return SyscallOutcome::Return(0);
    case abi::kARCH_GET_FS:
      return c.memory().Write(c.addr(1), cpu.fs_base);
    case abi::kARCH_GET_GS:
      return c.memory().Write(c.addr(1), cpu.gs_base);
    case abi::kARCH_GET_CPUID:
      return SyscallOutcome::Return(1);  // CPUID may be executed
    default:
      return Errno(EINVAL);
  }
}

SyscallOutcome SysSchedYield(SyscallContext& c) {
  // Blocked with a wake that has come already: the task goes to the end of the queue, and runs this again with the
  // state set.
  struct Yielded : proc::SyscallState {};
  if (c.state<Yielded>() != nullptr) return SyscallOutcome::Return(0);
  c.MakeState<Yielded>();
  c.task().Wake();
  return SyscallOutcome::Blocked();
}

SyscallOutcome SysSchedGetaffinity(SyscallContext& c) {
  if (c.u32(1) < sizeof(uint64_t) || (c.u32(1) & (sizeof(uint64_t) - 1)) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<proc::Task> task, TaskArg(c));
  const uint64_t mask = task->affinity.load(std::memory_order_relaxed) & CpuMask(c);
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(2), mask));
  return SyscallOutcome::Return(sizeof(uint64_t));
}

SyscallOutcome SysSchedSetaffinity(SyscallContext& c) {
  uint64_t mask = 0;
  const uint64_t size = std::min<uint64_t>(c.u32(1), sizeof(mask));
  REMORA_RETURN_IF_ERROR(c.memory().CopyIn(std::as_writable_bytes(std::span(&mask, 1)).first(size), c.addr(2)));
  REMORA_ASSIGN_OR_RETURN(const Ref<proc::Task> task, TaskArg(c));
  const auto mine = c.task().credentials(), theirs = task->credentials();
  if (!mine->privileged() && mine->euid != theirs->uid && mine->euid != theirs->euid) return Errno(EPERM);
  if ((mask & CpuMask(c)) == 0) return Errno(EINVAL);
  task->affinity.store(mask & CpuMask(c), std::memory_order_relaxed);
  if (task.get() == &c.task()) {
    task->cpu.tsc_aux = task->cpu_number();
    task->rseq.due = !task->rseq.area.is_null();
  }
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysSchedRrGetInterval(SyscallContext& c) {
  REMORA_RETURN_IF_ERROR(TaskArg(c));
  // As Linux answers for SCHED_OTHER where nobody else wants the CPU.
  return c.memory().Write(c.addr(1), abi::Timespec{0, 0});
}

SyscallOutcome SysSchedGetscheduler(SyscallContext& c) {
  REMORA_RETURN_IF_ERROR(TaskArg(c));
  return SyscallOutcome::Return(abi::kSCHED_OTHER);
}
SyscallOutcome SysSchedGetparam(SyscallContext& c) {
  if (c.addr(1).is_null()) return Errno(EINVAL);
  REMORA_RETURN_IF_ERROR(TaskArg(c));
  return c.memory().Write(c.addr(1), abi::SchedParam{0});
}
SyscallOutcome SysSchedSetscheduler(SyscallContext& c) {
  if (c.i32(1) < 0 || c.addr(2).is_null()) return Errno(EINVAL);
  return CheckPolicy(c, c.i32(1), c.addr(2));
}
SyscallOutcome SysSchedSetparam(SyscallContext& c) {
  if (c.addr(1).is_null()) return Errno(EINVAL);
  return CheckPolicy(c, abi::kSCHED_OTHER, c.addr(1));
}
SyscallOutcome SysSchedGetPriorityMax(SyscallContext& c) { return PriorityBound(c, 99); }
SyscallOutcome SysSchedGetPriorityMin(SyscallContext& c) { return PriorityBound(c, 1); }

SyscallOutcome SysPersonality(SyscallContext& c) {
  constexpr uint32_t kOnlyAsk = ~0u;
  std::atomic<uint32_t>& own = c.task().personality;
  const uint32_t before = own.load(std::memory_order_relaxed);
  if (c.u32(0) != kOnlyAsk) own.store(c.u32(0), std::memory_order_relaxed);
  return SyscallOutcome::Return(before);
}

SyscallOutcome SysGetcpu(SyscallContext& c) {
  if (!c.addr(0).is_null()) REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(0), c.task().cpu_number()));
  if (!c.addr(1).is_null()) REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(1), uint32_t{0}));
  return SyscallOutcome::Return(0);
}

}  // namespace remora::syscalls
