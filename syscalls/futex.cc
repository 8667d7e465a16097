// futex(2) and robust lists, in front of sync::FutexTable.

#include "base/abi/futex.h"

#include <algorithm>
#include <atomic>
#include <optional>

#include "base/abi/time.h"
#include "mm/address_space.h"
#include "proc/pid_table.h"
#include "sync/futex_table.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/time_args.h"

namespace remora::syscalls {
namespace {

// What a word's callback answers when the translation it relied on has gone: resolve again, outside the bucket's lock.
constexpr int kResolveAgain = proc::kRestartNoIntr;

// The word at `addr` as its host address, looked at under a bucket's lock: no fault may be served there, and a
// translation older than the space's generation may show a frame that has been replaced (a lost wake-up otherwise).
template <mm::Access kAccess>
ErrnoOr<uint32_t*> ResolvedWord(mm::Tlb& tlb, GuestAddr addr) {
  if (tlb.source()->generation() != tlb.seen_generation()) return Errno(kResolveAgain);
  std::byte* host = tlb.Probe<kAccess>(addr);
  if (host == nullptr) return Errno(kResolveAgain);
  return reinterpret_cast<uint32_t*>(host);
}

class TaskFutexWaiter final : public sync::FutexWaiter {
 public:
  explicit TaskFutexWaiter(proc::Task* task) : task_(task) {}
  void Woken() override {
    woken_.store(true, std::memory_order_release);
    task_->Wake();
  }
  bool woken() const { return woken_.load(std::memory_order_acquire); }

 private:
  proc::Task* const task_;
  std::atomic<bool> woken_{false};
};

struct FutexWait : proc::SyscallState {
  FutexWait(proc::Task* task, sync::FutexTable* futexes) : table(futexes), waiter(task) {}
  ~FutexWait() override {
    if (queued) table->Cancel(&waiter);
  }
  sync::FutexTable* const table;
  TaskFutexWaiter waiter;
  bool queued = false;
  bool has_timeout = false;
  int64_t deadline_nanos = proc::Task::kNoDeadline;
};

SyscallOutcome ContinueWait(SyscallContext& c, FutexWait& wait) {
  // The state's destructor still passes through the bucket's lock: the waker may not have let go of the waiter yet.
  if (wait.waiter.woken()) return SyscallOutcome::Return(0);
  const bool expired = c.Expired(wait.deadline_nanos);
  if (expired || c.task().signal_pending()) {
    const bool still_queued = wait.table->Cancel(&wait.waiter);
    wait.queued = false;
    if (!still_queued) return SyscallOutcome::Return(0);  // the wake came first
    if (expired) return Errno(ETIMEDOUT);
    // The deadline is absolute in the state: a restarted wait goes on with it, without the timeout it starts afresh.
    return SyscallOutcome::Fail(wait.has_timeout ? proc::kRestartBlock : proc::kRestartSys);
  }
  return c.Park(Interrupted::kRestart, wait.deadline_nanos);
}

SyscallOutcome Wait(SyscallContext& c, uint32_t bitset, bool process_private, bool relative, bool realtime) {
  auto* wait = c.state<FutexWait>();
  if (wait != nullptr && wait->queued) return ContinueWait(c, *wait);
  if (bitset == 0) return Errno(EINVAL);
  if (wait == nullptr) {
    int64_t deadline = proc::Task::kNoDeadline;
    if (!c.addr(3).is_null()) {
      REMORA_ASSIGN_OR_RETURN(const int64_t nanos, ReadTimespec(c, c.addr(3)));
      deadline = relative ? DeadlineAfter(c, nanos) : DeadlineAt(c, nanos, realtime);
    }
    wait = &c.MakeState<FutexWait>(&c.task(), &c.kernel().futexes());
    wait->deadline_nanos = deadline;
    wait->has_timeout = deadline != proc::Task::kNoDeadline;
  }
  const GuestAddr addr = c.addr(0);
  const uint32_t expected = c.u32(2);
  for (;;) {
    REMORA_ASSIGN_OR_RETURN(const sync::FutexKey key, c.task().space()->KeyOfFutex(addr, process_private));
    REMORA_RETURN_IF_ERROR(c.memory().LoadWord(addr));
    const auto queued = wait->table->Wait(key, bitset, &wait->waiter, [&]() -> ErrnoOr<bool> {
      REMORA_ASSIGN_OR_RETURN(uint32_t* const word, ResolvedWord<mm::Access::kRead>(c.memory().tlb(), addr));
      return std::atomic_ref(*word).load(std::memory_order_seq_cst) == expected;
    });
    if (queued.error_number() == kResolveAgain) continue;
    REMORA_RETURN_IF_ERROR(queued);
    wait->queued = true;
    return ContinueWait(c, *wait);
  }
}

SyscallOutcome Wake(SyscallContext& c, uint32_t bitset, bool process_private) {
  if (bitset == 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const sync::FutexKey key, c.task().space()->KeyOfFutex(c.addr(0), process_private));
  const uint32_t max_wakes = c.i32(2) <= 0 ? 1 : c.u32(2);  // Linux wakes one where none is asked for
  return SyscallOutcome::Return(c.kernel().futexes().Wake(key, max_wakes, bitset));
}

SyscallOutcome Requeue(SyscallContext& c, bool compare, bool process_private) {
  if (c.i32(2) < 0 || c.i32(3) < 0) return Errno(EINVAL);
  const GuestAddr from = c.addr(0);
  for (;;) {
    REMORA_ASSIGN_OR_RETURN(const sync::FutexKey from_key, c.task().space()->KeyOfFutex(from, process_private));
    REMORA_ASSIGN_OR_RETURN(const sync::FutexKey to_key, c.task().space()->KeyOfFutex(c.addr(4), process_private));
    if (compare) REMORA_RETURN_IF_ERROR(c.memory().LoadWord(from));
    const auto moved = c.kernel().futexes().Requeue(from_key, to_key, c.u32(2), c.u32(3), [&]() -> ErrnoOr<bool> {
      if (!compare) return true;
      REMORA_ASSIGN_OR_RETURN(uint32_t* const word, ResolvedWord<mm::Access::kRead>(c.memory().tlb(), from));
      return std::atomic_ref(*word).load(std::memory_order_seq_cst) == c.u32(5);
    });
    if (moved.error_number() == kResolveAgain) continue;
    REMORA_RETURN_IF_ERROR(moved);
    return SyscallOutcome::Return(int64_t{moved->woken} + moved->requeued);
  }
}

// FUTEX_WAKE_OP's val3: what is done to the second word, and how its old value is compared.
struct WakeOperation {
  uint32_t op, compare;
  int32_t operand, comparand;
};

std::optional<uint32_t> Apply(const WakeOperation& operation, uint32_t old) {
  const auto operand = static_cast<uint32_t>(operation.operand);
  switch (operation.op) {
    case abi::kFUTEX_OP_SET:
      return operand;
    case abi::kFUTEX_OP_ADD:
      return old + operand;
    case abi::kFUTEX_OP_OR:
      return old | operand;
    case abi::kFUTEX_OP_ANDN:
      return old & ~operand;
    case abi::kFUTEX_OP_XOR:
      return old ^ operand;
    default:
      return std::nullopt;
  }
}

std::optional<bool> Compare(const WakeOperation& operation, int32_t old) {
  switch (operation.compare) {
    case abi::kFUTEX_OP_CMP_EQ:
      return old == operation.comparand;
    case abi::kFUTEX_OP_CMP_NE:
      return old != operation.comparand;
    case abi::kFUTEX_OP_CMP_LT:
      return old < operation.comparand;
    case abi::kFUTEX_OP_CMP_LE:
      return old <= operation.comparand;
    case abi::kFUTEX_OP_CMP_GT:
      return old > operation.comparand;
    case abi::kFUTEX_OP_CMP_GE:
      return old >= operation.comparand;
    default:
      return std::nullopt;
  }
}

int32_t SignExtend12(uint32_t value) { return static_cast<int32_t>(value << 20) >> 20; }

SyscallOutcome WakeOp(SyscallContext& c, bool process_private) {
  const uint32_t encoded = c.u32(5);
  WakeOperation operation{(encoded >> 28) & 7, (encoded >> 24) & 15, SignExtend12((encoded >> 12) & 0xfff),
                          SignExtend12(encoded & 0xfff)};
  if (((encoded >> 28) & abi::kFUTEX_OP_OPARG_SHIFT) != 0)
    operation.operand = static_cast<int32_t>(1u << (operation.operand & 31));
  if (!Apply(operation, 0) || !Compare(operation, 0)) return Errno(ENOSYS);
  const GuestAddr second = c.addr(4);
  const auto at_least_one = [](int32_t n) { return n <= 0 ? 1u : static_cast<uint32_t>(n); };
  for (;;) {
    REMORA_ASSIGN_OR_RETURN(const sync::FutexKey first_key, c.task().space()->KeyOfFutex(c.addr(0), process_private));
    REMORA_ASSIGN_OR_RETURN(const sync::FutexKey second_key, c.task().space()->KeyOfFutex(second, process_private));
    // Makes the page present and writable, so that the operation finds it in the TLB.
    REMORA_ASSIGN_OR_RETURN(const uint32_t seen, c.memory().LoadWord(second));
    REMORA_RETURN_IF_ERROR(c.memory().CompareExchangeWord(second, seen, seen));
    const auto woken = c.kernel().futexes().WakeOp(
        first_key, second_key, at_least_one(c.i32(2)), at_least_one(c.i32(3)), [&]() -> ErrnoOr<bool> {
          REMORA_ASSIGN_OR_RETURN(uint32_t* const word, ResolvedWord<mm::Access::kWrite>(c.memory().tlb(), second));
          std::atomic_ref<uint32_t> atomic(*word);
          uint32_t old = atomic.load(std::memory_order_relaxed);
          while (!atomic.compare_exchange_weak(old, *Apply(operation, old))) {
          }
          return *Compare(operation, static_cast<int32_t>(old));
        });
    if (woken.error_number() == kResolveAgain) continue;
    return woken;
  }
}

}  // namespace

SyscallOutcome SysFutex(SyscallContext& c) {
  const int32_t op = c.i32(1);
  const bool process_private = (op & abi::kFUTEX_PRIVATE_FLAG) != 0;
  const bool realtime = (op & abi::kFUTEX_CLOCK_REALTIME) != 0;
  const int32_t command = op & abi::kFUTEX_CMD_MASK;
  // A FUTEX_WAIT's time-out is relative whatever clock is named; the others that may name one are absolute.
  if (realtime && command != abi::kFUTEX_WAIT_BITSET && command != abi::kFUTEX_WAIT) return Errno(ENOSYS);
  if ((c.arg(0) & 3) != 0) return Errno(EINVAL);
  switch (command) {
    case abi::kFUTEX_WAIT:
      return Wait(c, abi::kFUTEX_BITSET_MATCH_ANY, process_private, /*relative=*/true, realtime);
    case abi::kFUTEX_WAIT_BITSET:
      return Wait(c, c.u32(5), process_private, /*relative=*/false, realtime);
    case abi::kFUTEX_WAKE:
      return Wake(c, abi::kFUTEX_BITSET_MATCH_ANY, process_private);
    case abi::kFUTEX_WAKE_BITSET:
      return Wake(c, c.u32(5), process_private);
    case abi::kFUTEX_REQUEUE:
      return Requeue(c, /*compare=*/false, process_private);
    case abi::kFUTEX_CMP_REQUEUE:
      return Requeue(c, /*compare=*/true, process_private);
    case abi::kFUTEX_WAKE_OP:
      return WakeOp(c, process_private);
    default:
      return Errno(ENOSYS);
  }
}

SyscallOutcome SysSetRobustList(SyscallContext& c) {
  if (c.arg(1) != sizeof(abi::RobustListHead)) return Errno(EINVAL);
  c.task().robust_list_head = c.addr(0);
  c.task().robust_list_length = c.arg(1);
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysGetRobustList(SyscallContext& c) {
  // Only of its own: another thread's head belongs to that thread's worker.
  if (c.i32(0) != 0 && c.i32(0) != c.task().tid()) return Errno(c.kernel().pids().FindTask(c.i32(0)) ? EPERM : ESRCH);
  REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(2), uint64_t{sizeof(abi::RobustListHead)}));
  return c.memory().Write(c.addr(1), c.task().robust_list_head.value());
}

}  // namespace remora::syscalls
