#include "proc/worker.h"

#include <algorithm>
#include <utility>

#include "base/abi/signal.h"
#include "base/check.h"
#include "base/mutex.h"
#include "proc/exit.h"
#include "proc/kernel.h"
#include "proc/process_timers.h"
#include "proc/signal_delivery.h"
#include "proc/signals.h"
#include "proc/thread_group.h"

namespace remora::proc {

namespace {

// How long a task that waits for acknowledgements sleeps at most before it asks again.
constexpr int64_t kAcknowledgeRetryNanos = 1'000'000;
constexpr int64_t kMustWaitRetryNanos = 50'000;

bool IsRestart(int64_t value) { return value <= -kRestartSys && value >= -kRestartBlock; }

// Linux's fpu__exception_code: the first unmasked exception.
int FloatingPointCode(uint32_t raised) {
  if (raised & 0x01) return abi::kFPE_FLTINV;
  if (raised & 0x04) return abi::kFPE_FLTDIV;
  if (raised & 0x08) return abi::kFPE_FLTOVF;
  if (raised & 0x12) return abi::kFPE_FLTUND;
  if (raised & 0x20) return abi::kFPE_FLTRES;
  return abi::kFPE_FLTINV;
}

}  // namespace

Worker::Worker(Kernel* kernel, uint32_t index)
    : kernel_(*kernel),
      scheduler_(kernel->scheduler()),
      slot_(scheduler_.slot(index)),
      dispatcher_(*kernel->options().dispatcher),
      engine_(kernel->options().make_engine(&kernel->blocks())),
      participant_(&kernel->reclaimer()),
      slice_instructions_(std::max<uint64_t>(kernel->options().slice_instructions, 1)) {
  runner_.interrupt = &slot_.interrupt;
  engine_->set_syscall_gate(this);
}

Worker::~Worker() { DCHECK(!bound_space_); }

mm::Tlb::Counters Worker::tlb_counters() const {
  mm::Tlb::Counters sum;
  for (const OwnedTlb& owned : tlbs_) {
    const mm::Tlb* tlb = owned.counted.load(std::memory_order_acquire);
    if (tlb == nullptr) continue;
    const mm::Tlb::Counters c = tlb->counters();
    sum.hits += c.hits;
    sum.way_hits += c.way_hits;
    sum.misses += c.misses;
    sum.evictions_by_conflict += c.evictions_by_conflict;
    sum.evictions_by_range += c.evictions_by_range;
    sum.evictions_by_flush += c.evictions_by_flush;
  }
  return sum;
}

void Worker::Run() {
  participant_.Online();
  const auto before_sleep = [this] {
    Unbind();
    participant_.Quiesce();
    kernel_.reclaimer().Collect();
  };
  while (Task* task = scheduler_.Next(slot_, &participant_, before_sleep)) {
    RunSlice(*task);
    AssertNoLocksHeld();
    participant_.Quiesce();
    kernel_.reclaimer().Collect();
  }
  Unbind();
  participant_.Quiesce();
  participant_.Offline();
}

void Worker::Unbind() {
  if (!bound_space_) return;
  bound_space_->UnregisterRunner(&runner_);
  tlb_ = nullptr;
  bound_space_.reset();
}

void Worker::Bind(Task& task) {
  if (bound_space_ == task.space()) {
    task.tlb = tlb_;
    return;
  }
  Unbind();
  bound_space_ = task.space();
  const uint64_t id = bound_space_->id();
  OwnedTlb* chosen = nullptr;
  for (OwnedTlb& owned : tlbs_) {
    if (owned.tlb && owned.space_id == id) {
      chosen = &owned;
      break;
    }
    if (chosen == nullptr || owned.last_used < chosen->last_used) chosen = &owned;
  }
  if (!chosen->tlb) {
    chosen->tlb = std::make_unique<mm::Tlb>();
    chosen->counted.store(chosen->tlb.get(), std::memory_order_release);
  }
  chosen->space_id = id;
  chosen->last_used = ++binds_;
  tlb_ = chosen->tlb.get();
  tlb_->Bind(bound_space_.get(), id);
  bound_space_->RegisterRunner(&runner_);
  tlb_->Synchronize();
  acknowledged_generation_ = 0;
  task.tlb = tlb_;
}

void Worker::RunSlice(Task& task) {
  const int64_t start = kernel_.clock().MonotonicNanos();
  slot_.slice_start_nanos.store(start, std::memory_order_relaxed);
  task.slice = Task::Slice{start, 0, 0};
  Scheduler::SetRunningOn(task, &slot_);
  budget_left_ = slice_instructions_;
  Bind(task);
  task.space_holder = this;
  task.rseq.due = !task.rseq.area.is_null();

  SliceEnd end = RunTask(task);
  task.tlb = nullptr;
  task.space_holder = nullptr;
  Scheduler::SetRunningOn(task, nullptr);
  if (end == SliceEnd::kDead) {
    Unbind();  // where the exit has not done so already
    scheduler_.Retire(task);
    kernel_.OnTaskRetired();
    return;
  }
  task.ChargeSlice(kernel_.clock().MonotonicNanos());
  task.slice = Task::Slice{};
  if (task.group().timers().watches_cpu_time()) [[unlikely]]
    task.group().timers().CheckCpuTime(task.group(), task);
  if (end == SliceEnd::kPark && scheduler_.Park(task)) return;
  scheduler_.Requeue(task);
}

bool Worker::MustWaitForOthers(Task& task) {
  const uint64_t generation = bound_space_->generation();
  if (generation == acknowledged_generation_) [[likely]]
    return false;
  tlb_->Synchronize();
  if (!bound_space_->AcknowledgedByOthers(generation, &runner_)) {
    task.memory_wait = std::make_unique<MemoryWait>(&task, bound_space_->acknowledged_queue());
    if (!bound_space_->AcknowledgedByOthers(generation, &runner_)) return true;
  }
  acknowledged_generation_ = generation;
  return false;
}

bool Worker::MustWaitForPage(Task& task, const mm::Fault& fault) {
  task.memory_wait = std::make_unique<MemoryWait>(&task, *bound_space_->page_arrivals());
  if (bound_space_->IsReady(fault.addr.page(), fault.access)) return false;
  task.park_deadline_nanos = Task::kNoDeadline;
  return true;
}

void Worker::Charge(uint64_t instructions) {
  budget_left_ -= std::min(budget_left_, instructions);
  if (slot_.promised_instructions == 0) [[likely]]
    return;
  if (instructions >= slot_.promised_instructions)
    scheduler_.BreakPromise(slot_);
  else
    slot_.promised_instructions -= instructions;
}

void Worker::BeginCall(Task& task, uint64_t retired) {
  task.syscall_number = task.cpu.gpr[cpu::kRax];
  task.in_syscall = true;
  ++task.slice.calls;
  Charge(retired + Task::kSyscallCost);
  task.slice.instructions += retired;
}

bool Worker::NothingIsDue(const Task& task) const {
  return slot_.interrupt.load(std::memory_order_relaxed) == 0 && !task.signal_pending() && !task.memory_wait &&
         !task.rseq.due && bound_space_ == task.space() && budget_left_ != 0;
}

// In line: it is a part of each call's way.
[[gnu::always_inline]] inline Worker::CallEnd Worker::RunCall(Task& task) {
  Scheduler::ClearWoken(task);
  mm::Tlb* const tlb = tlb_;
  if (bound_space_->generation() != tlb->seen_generation()) [[unlikely]]
    tlb->Synchronize();
  const SyscallOutcome outcome = dispatcher_.Dispatch(task, mm::UserMemory(tlb, &scratch_));
  if (outcome.kind() == SyscallOutcome::Kind::kBlocked) return CallEnd::kBlocked;
  task.in_syscall = false;
  if (outcome.kind() == SyscallOutcome::Kind::kNoReturn) return task.dead() ? CallEnd::kDead : CallEnd::kSettled;
  DCHECK(!task.dead());
  task.cpu.gpr[cpu::kRax] = static_cast<uint64_t>(outcome.value());
  task.restartable = true;
  return IsRestart(outcome.value()) ? CallEnd::kMustDeliver : CallEnd::kReturned;
}

// Killed: whatever the handler waits for does not matter any more.
Worker::CallEnd Worker::AbandonCall(Task& task) {
  Scheduler::ClearWoken(task);
  task.in_syscall = false;
  task.syscall_state.reset();
  task.restartable = false;
  return CallEnd::kMustDeliver;
}

uint64_t Worker::Call(uint64_t instructions_retired) {
  Task& task = *task_;
  bound_space_->LeaveGuestForCall(&runner_);
  BeginCall(task, instructions_retired);
  const CallEnd end = RunCall(task);
  if (end == CallEnd::kReturned && NothingIsDue(task)) [[likely]] {
    // What everybody has seen we had, when this task last went into guest code.
    if (bound_space_->ReenterGuest(&runner_, acknowledged_generation_)) [[likely]]
      return guest_budget();
  }
  if (bound_space_) bound_space_->LeaveGuest(&runner_);
  // Who was killed before the call began has been woken for that already, and would wait for ever.
  call_end_ = end == CallEnd::kBlocked && task.group().must_end(&task) ? AbandonCall(task) : end;
  return 0;
}

Worker::SliceEnd Worker::RunTask(Task& task) {
  task_ = &task;
  uint64_t must_wait_at = ~uint64_t{0};
  for (;;) {
    // Interrupts up to here have reached us; what they announce is looked at below.
    if (slot_.interrupt.load(std::memory_order_relaxed) != 0) slot_.interrupt.exchange(0, std::memory_order_seq_cst);

    bool deliver = false;
    if (call_end_ == CallEnd::kNone && task.in_syscall) {
      if (task.group().must_end(&task)) [[unlikely]]
        call_end_ = AbandonCall(task);
      else
        call_end_ = RunCall(task);
    }
    if (call_end_ != CallEnd::kNone) {
      switch (std::exchange(call_end_, CallEnd::kNone)) {
        case CallEnd::kBlocked:
          return SliceEnd::kPark;
        case CallEnd::kDead:
          return SliceEnd::kDead;
        case CallEnd::kMustDeliver:
          deliver = true;
          break;
        case CallEnd::kReturned:
        case CallEnd::kSettled:
        case CallEnd::kNone:
          break;
      }
      // An exec has put another space in place.
      if (bound_space_ != task.space()) Bind(task);
    } else {
      Scheduler::ClearWoken(task);
    }
    if (task.memory_wait) [[unlikely]]
      task.memory_wait.reset();
    if (deliver || task.signal_pending()) {
      tlb_->Synchronize();
      switch (DeliverSignals(task, memory())) {
        case Delivery::kDead:
          return SliceEnd::kDead;
        case Delivery::kStopped:
          task.park_deadline_nanos = Task::kNoDeadline;
          return SliceEnd::kPark;
        case Delivery::kResumeCall:
          task.in_syscall = true;
          continue;
        case Delivery::kRunGuest:
          break;
      }
    }
    if (task.rseq.due) [[unlikely]] {
      if (!SettleRseq(task, memory()).ok()) {
        Raise(task, abi::kSIGSEGV, abi::kSI_KERNEL, 0, abi::kX86_TRAP_GP);
        continue;
      }
    }
    if (MustWaitForOthers(task)) {
      task.park_deadline_nanos = kernel_.clock().MonotonicNanos() + kAcknowledgeRetryNanos;
      return SliceEnd::kPark;
    }
    if (budget_left_ == 0) return SliceEnd::kYield;

    task.cpu.tsc_aux = task.cpu_number();  // on node 0
    bound_space_->EnterGuest(&runner_, tlb_);
    const cpu::Exit exit = engine_->Run(task.cpu, *tlb_, guest_budget(), slot_.interrupt);
    if (call_end_ != CallEnd::kNone) continue;
    bound_space_->LeaveGuest(&runner_);
    if (exit.reason == cpu::ExitReason::kSyscall) [[likely]] {
      BeginCall(task, exit.instructions_retired);
      continue;
    }
    task.slice.instructions += exit.instructions_retired;
    Charge(exit.instructions_retired);
    task.restartable = false;
    if (exit.reason == cpu::ExitReason::kInterrupt && scheduler_.others_waiting() && !task.signal_pending())
      return SliceEnd::kYield;
    if (!HandleExit(task, exit)) continue;
    if (exit.fault.kind == mm::FaultKind::kNotReady) {
      if (MustWaitForPage(task, exit.fault)) return SliceEnd::kPark;
      continue;
    }
    // Others have to acknowledge something first: of this space, which the next round sees to, or of another that has
    // the page too. Then the same instruction says so again, and there is nothing to wait on but time.
    if (exit.instructions_retired == 0 && std::exchange(must_wait_at, task.cpu.rip) == task.cpu.rip) {
      task.park_deadline_nanos = kernel_.clock().MonotonicNanos() + kMustWaitRetryNanos;
      return SliceEnd::kPark;
    }
  }
}

void Worker::Raise(Task& task, int signal, int code, uint64_t address, uint64_t trap) {
  task.trap.number = trap;
  task.trap.error_code = 0;
  SignalInfo info;
  info.signal = signal;
  info.code = code;
  info.address = GuestAddr(address);
  ForceSignal(task, info);
}

void Worker::RaiseFault(Task& task, const mm::Fault& fault) {
  const uint64_t address = fault.addr.value();
  const auto page_fault = [&](int signal, int code, bool protection) {
    Raise(task, signal, code, address, abi::kX86_TRAP_PF);
    task.trap.fault_address = address;
    task.trap.error_code = abi::kX86_PF_USER | (protection ? abi::kX86_PF_PROT : 0) |
                           (fault.access == mm::Access::kWrite ? abi::kX86_PF_WRITE : 0) |
                           (fault.access == mm::Access::kFetch ? abi::kX86_PF_INSTR : 0);
  };
  switch (fault.kind) {
    case mm::FaultKind::kProtection:
      return page_fault(abi::kSIGSEGV, abi::kSEGV_ACCERR, true);
    case mm::FaultKind::kBeyondEnd:
      return page_fault(abi::kSIGBUS, abi::kBUS_ADRERR, false);
    case mm::FaultKind::kNonCanonical:
      return Raise(task, abi::kSIGSEGV, abi::kSI_KERNEL, 0, abi::kX86_TRAP_GP);
    case mm::FaultKind::kOutOfMemory:
      return Raise(task, abi::kSIGKILL, abi::kSI_KERNEL, 0, abi::kX86_TRAP_PF);
    default:
      return page_fault(abi::kSIGSEGV, abi::kSEGV_MAPERR, false);
  }
}

bool Worker::HandleExit(Task& task, const cpu::Exit& exit) {
  using cpu::ExitReason;
  const uint64_t rip = task.cpu.rip;
  switch (exit.reason) {
    case ExitReason::kBudget:
    case ExitReason::kInterrupt:
    case ExitReason::kSyscall:
      return false;
    case ExitReason::kMustWait:
      return true;
    case ExitReason::kFault:
      RaiseFault(task, exit.fault);
      return false;
    case ExitReason::kIllegal:
      Raise(task, abi::kSIGILL, abi::kILL_ILLOPN, rip, abi::kX86_TRAP_UD);
      return false;
    case ExitReason::kDivide:
      Raise(task, abi::kSIGFPE, abi::kFPE_INTDIV, rip, abi::kX86_TRAP_DE);
      return false;
    case ExitReason::kBreakpoint:
      Raise(task, abi::kSIGTRAP, abi::kSI_KERNEL, 0, abi::kX86_TRAP_BP);
      return false;
    case ExitReason::kDebugTrap:
      Raise(task, abi::kSIGTRAP, abi::kTRAP_BRKPT, rip, abi::kX86_TRAP_DB);
      return false;
    case ExitReason::kSingleStep:
      Raise(task, abi::kSIGTRAP, abi::kTRAP_TRACE, rip, abi::kX86_TRAP_DB);
      return false;
    case ExitReason::kX87Error:
      Raise(task, abi::kSIGFPE, FloatingPointCode(task.cpu.x87.status & ~uint32_t{task.cpu.x87.control}), rip,
            abi::kX86_TRAP_MF);
      return false;
    case ExitReason::kSimdError:
      Raise(task, abi::kSIGFPE, FloatingPointCode(task.cpu.mxcsr & ~(task.cpu.mxcsr >> 7)), rip, abi::kX86_TRAP_XF);
      return false;
    case ExitReason::kProtection:
      Raise(task, abi::kSIGSEGV, abi::kSI_KERNEL, 0, abi::kX86_TRAP_GP);
      return false;
    case ExitReason::kOverflow:
      Raise(task, abi::kSIGSEGV, abi::kSI_KERNEL, 0, 4);
      return false;
    case ExitReason::kAlignment:
      Raise(task, abi::kSIGBUS, abi::kBUS_ADRALN, rip, 17);
      return false;
  }
  return false;
}

}  // namespace remora::proc
