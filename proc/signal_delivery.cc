#include "proc/signal_delivery.h"

#include "base/abi/signal.h"
#include "proc/exit.h"
#include "proc/kernel.h"
#include "proc/process_tree.h"
#include "proc/signal_frame.h"
#include "proc/signal_sets.h"
#include "proc/signal_state.h"
#include "proc/signals.h"
#include "proc/thread_group.h"

namespace remora::proc {

namespace {

constexpr uint64_t kSyscallInstructionBytes = 2;

// The call's answer, if a call was interrupted: one of kRestart*, else 0.
int InterruptedCall(const Task& task) {
  if (!task.restartable) return 0;
  const int64_t error = -static_cast<int64_t>(task.cpu.gpr[cpu::kRax]);
  return error == kRestartSys || error == kRestartNoIntr || error == kRestartNoHandler || error == kRestartBlock
             ? static_cast<int>(error)
             : 0;
}

// The SYSCALL instruction runs once more, with the same number.
void RunCallAgain(Task& task) {
  task.cpu.gpr[cpu::kRax] = task.syscall_number;
  task.cpu.rip -= kSyscallInstructionBytes;
}

void SettleCallForHandler(Task& task, const SignalAction& action) {
  const int call = InterruptedCall(task);
  if (call == 0) return;
  const bool again = call == kRestartNoIntr || (call == kRestartSys && (action.flags & abi::kSA_RESTART) != 0);
  if (again)
    RunCallAgain(task);
  else
    task.cpu.gpr[cpu::kRax] = static_cast<uint64_t>(-int64_t{EINTR});
  task.syscall_state.reset();
}

// A handler's frame could not be pushed: SIGSEGV, which ends the process if it is the one that failed.
void ForceSegv(Task& task, int failed_signal) {
  if (failed_signal == abi::kSIGSEGV) {
    SignalAction action;
    (void)task.group().ExchangeAction(abi::kSIGSEGV, action);
  }
  SignalInfo info;
  info.signal = abi::kSIGSEGV;
  info.code = abi::kSI_KERNEL;
  ForceSignal(task, info);
}

// Calls the handler. What the frame does not save is settled first, so it saves what the program shall come back to.
void Handle(Task& task, mm::UserMemory memory, const SignalInfo& info, const SignalAction& action) {
  task.kernel().options().dispatcher->OnSignalDelivered(task, info);
  SettleCallForHandler(task, action);
  task.restartable = false;
  if (!SettleRseq(task, memory).ok()) {
    ForceSegv(task, info.signal);
    return;
  }
  const SignalSet restored = task.saved_blocked_signals.value_or(task.blocked_signals());
  if (!PushSignalFrame(task, memory, info, action, restored).ok()) {
    ForceSegv(task, info.signal);
    return;
  }
  task.saved_blocked_signals.reset();
  SignalSet blocked = task.blocked_signals() | action.mask;
  if ((action.flags & abi::kSA_NODEFER) == 0) blocked = blocked.With(info.signal);
  task.set_blocked_signals(blocked);
}

Delivery NoHandlerRan(Task& task) {
  const int call = InterruptedCall(task);
  task.restartable = false;
  if (task.saved_blocked_signals) {
    const SignalSet saved = *task.saved_blocked_signals;
    task.saved_blocked_signals.reset();
    task.set_blocked_signals(saved);
  }
  if (call == kRestartBlock) {
    task.restartable = true;
    return Delivery::kResumeCall;
  }
  if (call != 0) {
    task.syscall_state.reset();
    RunCallAgain(task);
  }
  return Delivery::kRunGuest;
}

}  // namespace

Delivery DeliverSignals(Task& task, mm::UserMemory memory) {
  using Kind = SignalState::Next::Kind;
  ThreadGroup& group = task.group();
  bool handled = false;
  for (;;) {
    const SignalState::Next next = SignalState::TakeNext(task);
    if (next.kind != Kind::kStop) SignalState::SetStopped(task, false);
    switch (next.kind) {
      case Kind::kNothing:
        return handled ? Delivery::kRunGuest : NoHandlerRan(task);
      case Kind::kExit:
        task.syscall_state.reset();
        ExitThread(task, next.status);
        return Delivery::kDead;
      case Kind::kStop:
        SignalState::SetStopped(task, true);
        if (next.tell_parent) {
          task.kernel().tree().OnStopped(group, next.stop_signal);
          const auto& tell = task.kernel().options().on_first_process_stopped;
          if (tell && task.kernel().first_group().get() == &group) tell(next.stop_signal);
        }
        return Delivery::kStopped;
      case Kind::kTellContinued:
        task.kernel().tree().OnContinued(group);
        break;
      case Kind::kHandle:
        Handle(task, memory, next.info, next.action);
        handled = true;
        break;
      case Kind::kAskStop:
        // Stops from the terminal are pointless where nobody could continue the process.
        if (next.info.signal != abi::kSIGSTOP && task.kernel().tree().IsOrphaned(group.process_group())) break;
        task.kernel().options().dispatcher->OnSignalDelivered(task, next.info);
        SignalState::BeginStop(task, next.info.signal);
        break;
      case Kind::kTerminate:
        task.kernel().options().dispatcher->OnSignalDelivered(task, next.info);
        if (const auto& tell = task.kernel().options().on_fatal_fault; tell && next.info.code > 0)
          tell(task, next.info);
        task.syscall_state.reset();
        ExitGroup(task, next.status);
        return Delivery::kDead;
    }
  }
}

SyscallOutcome ReturnFromSignal(Task& task, mm::UserMemory memory) {
  task.restartable = false;
  const ErrnoOr<SignalSet> mask = PopSignalFrame(task, memory);
  if (!mask.ok()) {
    SignalInfo info;
    info.signal = abi::kSIGSEGV;
    info.code = abi::kSI_KERNEL;
    ForceSignal(task, info);
    return SyscallOutcome::NoReturn();
  }
  task.set_blocked_signals(*mask);
  return SyscallOutcome::NoReturn();
}

}  // namespace remora::proc
