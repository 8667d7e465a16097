// System V semaphores.

#include <algorithm>
#include <vector>

#include "base/abi/ipc.h"
#include "proc/ipc/ipc_namespace.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/ipc_args.h"
#include "syscalls/time_args.h"

namespace remora::syscalls {
namespace {

using proc::IpcNamespace;
using proc::SemaphoreSet;

// A semop that waits. The set counts it among the waiters of the operation at fault.
struct SemopState : proc::SyscallState {
  SemopState(proc::Task* task, Ref<SemaphoreSet> waited) : set(std::move(waited)), waiter(task) {}
  ~SemopState() override { CountAs(nullptr); }
  void CountAs(const abi::Sembuf* operation) {
    if (counted) set->AddWaiter(*counted, -1);
    counted.reset();
    if (operation == nullptr) return;
    counted = *operation;
    set->AddWaiter(*operation, 1);
  }
  Ref<SemaphoreSet> set;  // before the waiter: outlives it
  std::vector<abi::Sembuf> operations;
  std::optional<abi::Sembuf> counted;
  int64_t deadline_nanos = proc::Task::kNoDeadline;
  proc::TaskWaiter waiter;
};

// SEM_UNDO of `operations`. ERANGE where an adjustment would grow beyond its bounds.
ErrnoOr<void> CheckUndo(SyscallContext& c, const SemaphoreSet& set, const std::vector<abi::Sembuf>& operations) {
  for (const abi::Sembuf& each : operations) {
    if ((each.sem_flg & abi::kSEM_UNDO) == 0) continue;
    const int32_t after = c.kernel().ipc().undo.Find(c.group().pid(), set.id(), each.sem_num) - each.sem_op;
    if (after < -SemaphoreSet::kMaxValue - 1 || after > SemaphoreSet::kMaxValue) return Errno(ERANGE);
  }
  return Ok();
}

SyscallOutcome RunSemop(SyscallContext& c, SemopState& state) {
  for (;;) {
    size_t blocking = 0;
    REMORA_RETURN_IF_ERROR(CheckUndo(c, *state.set, state.operations));
    const auto result =
        state.set->Try(state.operations, *c.task().credentials(), c.group().pid(), NowSeconds(c), &blocking);
    if (result.ok()) {
      for (const abi::Sembuf& each : state.operations)
        if ((each.sem_flg & abi::kSEM_UNDO) != 0 && each.sem_op != 0)
          c.kernel().ipc().undo.Note(c.group().pid(), state.set->id(), each.sem_num, -each.sem_op);
      return SyscallOutcome::Return(0);
    }
    if (result.error_number() != EAGAIN) return result;
    const abi::Sembuf& at_fault = state.operations[blocking];
    if ((static_cast<uint32_t>(at_fault.sem_flg) & abi::kIPC_NOWAIT) != 0 || c.Expired(state.deadline_nanos))
      return Errno(EAGAIN);
    if (SyscallContext::Arm(state.waiter, state.set->queue(), sync::kAllEvents)) continue;
    state.CountAs(&at_fault);
    // Never restarted, as Linux says in signal(7).
    if (c.task().signal_pending()) return Errno(EINTR);
    return c.Park(Interrupted::kRestartWithoutHandler, state.deadline_nanos);
  }
}

SyscallOutcome BeginSemop(SyscallContext& c, std::optional<int64_t> timeout_nanos) {
  const uint32_t count = c.u32(2);
  if (count < 1 || c.i32(0) < 0) return Errno(EINVAL);
  if (count > IpcNamespace::kMaxSemaphoreOperations) return Errno(E2BIG);
  std::vector<abi::Sembuf> operations(count);
  REMORA_RETURN_IF_ERROR(c.memory().CopyIn(std::as_writable_bytes(std::span(operations)), c.addr(1)));
  const Ref<SemaphoreSet> set = c.kernel().ipc().semaphores.Find(c.i32(0));
  if (!set) return Errno(EINVAL);
  auto& state = c.MakeState<SemopState>(&c.task(), set);
  state.operations = std::move(operations);
  if (timeout_nanos) state.deadline_nanos = DeadlineAfter(c, *timeout_nanos);
  return RunSemop(c, state);
}

abi::SemidDs ToSemidDs(const SemaphoreSet& set) {
  const SemaphoreSet::Facts facts = set.facts();
  abi::SemidDs out{};
  out.sem_perm = ToIpcPerm(facts.permissions, set.id());
  out.sem_otime = facts.operated_seconds;
  out.sem_ctime = facts.changed_seconds;
  out.sem_nsems = set.size();
  return out;
}

SyscallOutcome Information(SyscallContext& c, int32_t command) {
  IpcNamespace& ipc = c.kernel().ipc();
  abi::Seminfo out{};
  out.semmap = out.semmns = out.semmnu = static_cast<int32_t>(IpcNamespace::kMaxSemaphores);
  out.semmni = static_cast<int32_t>(IpcNamespace::kMaxSets);
  out.semmsl = static_cast<int32_t>(IpcNamespace::kMaxSemaphoresOfSet);
  out.semopm = out.semume = static_cast<int32_t>(IpcNamespace::kMaxSemaphoreOperations);
  out.semvmx = out.semaem = SemaphoreSet::kMaxValue;
  out.semusz = 20;
  if (command == abi::kSEM_INFO) {
    out.semusz = static_cast<int32_t>(ipc.semaphores.num_objects());
    out.semaem = static_cast<int32_t>(ipc.num_semaphores.load(std::memory_order_relaxed));
  }
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(3), out));
  return SyscallOutcome::Return(std::max(ipc.semaphores.max_slot(), 0));
}

SyscallOutcome Remove(SyscallContext& c, SemaphoreSet& set) {
  IpcNamespace& ipc = c.kernel().ipc();
  // Of two that remove it at once one is told so.
  if (ipc.semaphores.Find(set.id()).get() != &set) return Errno(EIDRM);
  ipc.semaphores.Remove(set.id());
  set.MarkRemoved();
  ipc.undo.Clear(set.id(), ~uint32_t{0});
  return SyscallOutcome::Return(0);
}

// What needs the right to read, or to alter.
SyscallOutcome ReadOrAlter(SyscallContext& c, SemaphoreSet& set, int32_t command) {
  const bool alters = command == abi::kSETVAL || command == abi::kSETALL;
  if (!set.facts().permissions.Allows(*c.task().credentials(), alters ? 0222 : 0444)) return Errno(EACCES);
  const int32_t pid = c.group().pid();
  const uint32_t number = c.u32(1);
  proc::SemaphoreUndo& undo = c.kernel().ipc().undo;
  switch (command) {
    case abi::kSETVAL:
      REMORA_RETURN_IF_ERROR(set.Set(number, static_cast<int32_t>(c.arg(3)), pid, NowSeconds(c)));
      undo.Clear(set.id(), number);
      return SyscallOutcome::Return(0);
    case abi::kSETALL: {
      std::vector<uint16_t> values(set.size());  // at most kMaxSemaphoresOfSet
      REMORA_RETURN_IF_ERROR(c.memory().CopyIn(std::as_writable_bytes(std::span(values)), c.addr(3)));
      REMORA_RETURN_IF_ERROR(set.SetValues(values, pid, NowSeconds(c)));
      undo.Clear(set.id(), ~uint32_t{0});
      return SyscallOutcome::Return(0);
    }
    case abi::kGETALL: {
      REMORA_ASSIGN_OR_RETURN(const auto values, set.Values());
      return c.memory().CopyOut(c.addr(3), std::as_bytes(std::span(values)));
    }
    default:
      break;
  }
  REMORA_ASSIGN_OR_RETURN(const SemaphoreSet::Semaphore semaphore, set.Get(number));
  switch (command) {
    case abi::kGETVAL:
      return SyscallOutcome::Return(semaphore.value);
    case abi::kGETPID:
      return SyscallOutcome::Return(semaphore.pid);
    case abi::kGETNCNT:
      return SyscallOutcome::Return(semaphore.waiting_for_more);
    default:
      return SyscallOutcome::Return(semaphore.waiting_for_zero);
  }
}

}  // namespace

SyscallOutcome SysSemget(SyscallContext& c) {
  const int32_t key = c.i32(0), count = c.i32(1);
  const uint32_t flags = c.u32(2);
  IpcNamespace& ipc = c.kernel().ipc();
  if (count < 0 || count > static_cast<int32_t>(IpcNamespace::kMaxSemaphoresOfSet)) return Errno(EINVAL);
  const auto wanted = static_cast<uint32_t>(count);
  return GetByKey(
      c, ipc.semaphores, key, flags,
      [&](const SemaphoreSet& there) -> ErrnoOr<void> {
        if (wanted > there.size()) return Errno(EINVAL);
        return Ok();
      },
      [&]() -> ErrnoOr<Ref<SemaphoreSet>> {
        if (wanted == 0) return Errno(EINVAL);
        if (ipc.num_semaphores.fetch_add(wanted, std::memory_order_relaxed) + wanted > IpcNamespace::kMaxSemaphores) {
          ipc.num_semaphores.fetch_sub(wanted, std::memory_order_relaxed);
          return Errno(ENOSPC);
        }
        return MakeRef<SemaphoreSet>(wanted, NewPermissions(c, key, flags), NowSeconds(c), &ipc.num_semaphores);
      });
}

SyscallOutcome SysSemop(SyscallContext& c) {
  if (auto* state = c.state<SemopState>()) return RunSemop(c, *state);
  return BeginSemop(c, std::nullopt);
}

SyscallOutcome SysSemtimedop(SyscallContext& c) {
  if (auto* state = c.state<SemopState>()) return RunSemop(c, *state);
  if (c.addr(3).is_null()) return BeginSemop(c, std::nullopt);
  REMORA_ASSIGN_OR_RETURN(const int64_t nanos, ReadTimespec(c, c.addr(3)));
  return BeginSemop(c, nanos);
}

SyscallOutcome SysSemctl(SyscallContext& c) {
  const int32_t command = c.i32(2);
  if (c.i32(0) < 0) return Errno(EINVAL);
  auto& sets = c.kernel().ipc().semaphores;
  const auto credentials = c.task().credentials();
  switch (command) {
    case abi::kIPC_INFO:
    case abi::kSEM_INFO:
      return Information(c, command);
    case abi::kIPC_STAT:
    case abi::kSEM_STAT:
    case abi::kSEM_STAT_ANY: {
      const bool by_slot = command != abi::kIPC_STAT;
      const Ref<SemaphoreSet> set = by_slot ? sets.At(c.i32(0)) : sets.Find(c.i32(0));
      if (!set) return Errno(EINVAL);
      if (command != abi::kSEM_STAT_ANY && !set->facts().permissions.Allows(*credentials, 0444)) return Errno(EACCES);
      REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(3), ToSemidDs(*set)));
      return SyscallOutcome::Return(by_slot ? set->id() : 0);
    }
    case abi::kIPC_SET:
    case abi::kIPC_RMID: {
      abi::SemidDs in{};
      if (command == abi::kIPC_SET) {
        REMORA_ASSIGN_OR_RETURN(in, c.memory().Read<abi::SemidDs>(c.addr(3)));
      }
      const Ref<SemaphoreSet> set = sets.Find(c.i32(0));
      if (!set) return Errno(EINVAL);
      if (!set->facts().permissions.Owns(*credentials)) return Errno(EPERM);
      if (command == abi::kIPC_RMID) return Remove(c, *set);
      set->SetOwner(in.sem_perm.uid, in.sem_perm.gid, in.sem_perm.mode, NowSeconds(c));
      return SyscallOutcome::Return(0);
    }
    case abi::kGETALL:
    case abi::kSETALL:
    case abi::kGETVAL:
    case abi::kSETVAL:
    case abi::kGETPID:
    case abi::kGETNCNT:
    case abi::kGETZCNT: {
      const Ref<SemaphoreSet> set = sets.Find(c.i32(0));
      if (!set) return Errno(EINVAL);
      return ReadOrAlter(c, *set, command);
    }
    default:
      return Errno(EINVAL);
  }
}

}  // namespace remora::syscalls
