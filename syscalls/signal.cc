// Signals: actions, masks, sending, waiting for them, alarm clocks.

#include "base/abi/signal.h"

#include <optional>

#include "base/abi/resource.h"
#include "base/abi/time.h"
#include "proc/interval_timer.h"
#include "proc/pid_table.h"
#include "proc/siginfo.h"
#include "proc/signal_delivery.h"
#include "proc/signals.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/time_args.h"

namespace remora::syscalls {
namespace {

constexpr proc::SignalSet kUnblockable = proc::SignalSet().With(abi::kSIGKILL).With(abi::kSIGSTOP);

bool ValidSignal(int32_t signal) { return signal >= 1 && signal <= proc::kNumSignals; }

proc::SignalInfo FromSelf(SyscallContext& c, int32_t signal, int32_t code) {
  proc::SignalInfo info;
  info.signal = signal;
  info.code = code;
  info.pid = c.group().pid();
  info.uid = c.task().credentials()->uid;
  return info;
}

// What rt_sigqueueinfo(2) may send: the sender's own words, but nothing that pretends to come from the kernel.
ErrnoOr<proc::SignalInfo> ReadSiginfo(SyscallContext& c, GuestAddr from, int32_t signal, int32_t target) {
  REMORA_ASSIGN_OR_RETURN(const auto in, c.memory().Read<abi::Siginfo>(from));
  if ((in.code >= 0 || in.code == abi::kSI_TKILL) && target != c.group().pid()) return Errno(EPERM);
  proc::SignalInfo info = proc::DecodeSignalInfo(in);
  info.signal = signal;
  return info;
}

struct TimedWait : proc::SyscallState {
  int64_t deadline_nanos = proc::Task::kNoDeadline;
  proc::SignalSet wanted;
  proc::SignalSet blocked_before;
};

ErrnoOr<proc::IntervalTimer> ReadTimer(SyscallContext& c, GuestAddr from) {
  proc::IntervalTimer timer{};
  if (from.is_null()) return timer;  // Linux takes a null pointer for zeros
  REMORA_ASSIGN_OR_RETURN(const auto in, c.memory().Read<abi::Itimerval>(from));
  REMORA_ASSIGN_OR_RETURN(timer.remaining_nanos, NanosOf(in.it_value));
  REMORA_ASSIGN_OR_RETURN(timer.interval_nanos, NanosOf(in.it_interval));
  return timer;
}

abi::Itimerval ToItimerval(const proc::IntervalTimer& timer) {
  abi::Itimerval out{ToTimeval(timer.interval_nanos), ToTimeval(timer.remaining_nanos)};
  // A timer that still runs never shows zero.
  if (timer.remaining_nanos > 0 && out.it_value.tv_sec == 0 && out.it_value.tv_usec == 0) out.it_value.tv_usec = 1;
  return out;
}

}  // namespace

SyscallOutcome SysRtSigaction(SyscallContext& c) {
  const int32_t signal = c.i32(0);
  if (c.arg(3) != sizeof(uint64_t) || !ValidSignal(signal)) return Errno(EINVAL);
  proc::SignalAction old;
  if (c.addr(1).is_null()) {
    old = c.group().action(signal);
  } else {
    REMORA_ASSIGN_OR_RETURN(const auto in, c.memory().Read<abi::Sigaction>(c.addr(1)));
    if (signal == abi::kSIGKILL || signal == abi::kSIGSTOP) return Errno(EINVAL);
    constexpr uint64_t kKnown = abi::kSA_NOCLDSTOP | abi::kSA_NOCLDWAIT | abi::kSA_SIGINFO | abi::kSA_EXPOSE_TAGBITS |
                                abi::kSA_RESTORER | abi::kSA_ONSTACK | abi::kSA_RESTART | abi::kSA_NODEFER |
                                abi::kSA_RESETHAND;
    const proc::SignalAction action{in.handler, in.flags & kKnown, GuestAddr(in.restorer),
                                    proc::SignalSet(in.mask) & ~kUnblockable};
    old = c.group().ExchangeAction(signal, action);
  }
  if (c.addr(2).is_null()) return SyscallOutcome::Return(0);
  return c.memory().Write(c.addr(2), abi::Sigaction{old.handler, old.flags, old.restorer.value(), old.mask.bits()});
}

SyscallOutcome SysRtSigprocmask(SyscallContext& c) {
  if (c.arg(3) != sizeof(uint64_t)) return Errno(EINVAL);
  const proc::SignalSet old = c.task().blocked_signals();
  if (!c.addr(1).is_null()) {
    REMORA_ASSIGN_OR_RETURN(const uint64_t bits, c.memory().Read<uint64_t>(c.addr(1)));
    const proc::SignalSet given = proc::SignalSet(bits) & ~kUnblockable;
    switch (c.i32(0)) {
      case abi::kSIG_BLOCK:
        c.task().set_blocked_signals(old | given);
        break;
      case abi::kSIG_UNBLOCK:
        c.task().set_blocked_signals(old & ~given);
        break;
      case abi::kSIG_SETMASK:
        c.task().set_blocked_signals(given);
        break;
      default:
        return Errno(EINVAL);
    }
  }
  if (c.addr(2).is_null()) return SyscallOutcome::Return(0);
  return c.memory().Write(c.addr(2), old.bits());
}

SyscallOutcome SysRtSigreturn(SyscallContext& c) { return proc::ReturnFromSignal(c.task(), c.memory()); }

SyscallOutcome SysRtSigpending(SyscallContext& c) {
  const uint64_t size = c.arg(1);
  if (size > sizeof(uint64_t)) return Errno(EINVAL);
  const uint64_t bits = (proc::PendingSignals(c.task()) & c.task().blocked_signals()).bits();
  return c.memory().CopyOut(c.addr(0), std::as_bytes(std::span(&bits, 1)).first(size));
}

SyscallOutcome SysRtSigsuspend(SyscallContext& c) {
  if (c.state<TimedWait>() == nullptr) {
    if (c.arg(1) != sizeof(uint64_t)) return Errno(EINVAL);
    REMORA_ASSIGN_OR_RETURN(const uint64_t bits, c.memory().Read<uint64_t>(c.addr(0)));
    c.MakeState<TimedWait>();
    c.task().saved_blocked_signals = c.task().blocked_signals();
    c.task().set_blocked_signals(proc::SignalSet(bits) & ~kUnblockable);
  }
  return c.Park(Interrupted::kRestartWithoutHandler);
}

SyscallOutcome SysPause(SyscallContext& c) {
  // An empty state: a stray wake is no new call.
  if (c.state<proc::SyscallState>() == nullptr) c.MakeState<proc::SyscallState>();
  return c.Park(Interrupted::kRestartWithoutHandler);
}

SyscallOutcome SysRtSigtimedwait(SyscallContext& c) {
  auto* state = c.state<TimedWait>();
  if (state == nullptr) {
    if (c.arg(3) != sizeof(uint64_t)) return Errno(EINVAL);
    REMORA_ASSIGN_OR_RETURN(const uint64_t bits, c.memory().Read<uint64_t>(c.addr(0)));
    TimedWait made;
    made.wanted = proc::SignalSet(bits) & ~kUnblockable;
    made.blocked_before = c.task().blocked_signals();
    if (!c.addr(2).is_null()) {
      REMORA_ASSIGN_OR_RETURN(const int64_t nanos, ReadTimespec(c, c.addr(2)));
      made.deadline_nanos = DeadlineAfter(c, nanos);
    }
    state = &c.MakeState<TimedWait>(made);
  }
  const auto restore = [&] { c.task().set_blocked_signals(state->blocked_before); };
  if (const auto info = proc::TakeSignal(c.task(), state->wanted)) {
    restore();
    if (!c.addr(1).is_null()) REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(1), proc::EncodeSignalInfo(*info)));
    return SyscallOutcome::Return(info->signal);
  }
  if (c.Expired(state->deadline_nanos)) {
    restore();
    return Errno(EAGAIN);
  }
  // While it waits the wanted signals are let through, so that one of them wakes the task; it is taken before it could
  // be delivered.
  c.task().set_blocked_signals(state->blocked_before & ~state->wanted);
  if (c.task().signal_pending()) {
    const auto info = proc::TakeSignal(c.task(), state->wanted);
    restore();
    if (!info) return Errno(EINTR);
    if (!c.addr(1).is_null()) REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(1), proc::EncodeSignalInfo(*info)));
    return SyscallOutcome::Return(info->signal);
  }
  c.task().park_deadline_nanos = state->deadline_nanos;
  return SyscallOutcome::Blocked();
}

SyscallOutcome SysKill(SyscallContext& c) {
  return proc::Kill(c.task(), c.i32(0), FromSelf(c, c.i32(1), abi::kSI_USER));
}
SyscallOutcome SysTkill(SyscallContext& c) {
  if (c.i32(0) <= 0) return Errno(EINVAL);
  return proc::KillThread(c.task(), -1, c.i32(0), FromSelf(c, c.i32(1), abi::kSI_TKILL));
}
SyscallOutcome SysTgkill(SyscallContext& c) {
  if (c.i32(0) <= 0 || c.i32(1) <= 0) return Errno(EINVAL);
  return proc::KillThread(c.task(), c.i32(0), c.i32(1), FromSelf(c, c.i32(2), abi::kSI_TKILL));
}
SyscallOutcome SysRtSigqueueinfo(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const proc::SignalInfo info, ReadSiginfo(c, c.addr(2), c.i32(1), c.i32(0)));
  return proc::Kill(c.task(), c.i32(0), info);
}
SyscallOutcome SysRtTgsigqueueinfo(SyscallContext& c) {
  if (c.i32(0) <= 0 || c.i32(1) <= 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const proc::SignalInfo info, ReadSiginfo(c, c.addr(3), c.i32(2), c.i32(0)));
  return proc::KillThread(c.task(), c.i32(0), c.i32(1), info);
}

SyscallOutcome SysSigaltstack(SyscallContext& c) {
  proc::AlternateStack& stack = c.task().alternate_stack;
  const uint64_t sp = c.task().cpu.gpr[cpu::kRsp];
  const bool in_use = (stack.flags & abi::kSS_AUTODISARM) == 0 && sp > stack.base.value() &&
                      sp - stack.base.value() <= stack.size_bytes;
  abi::SigaltStack old{};
  old.ss_sp = stack.base.value();
  old.ss_size = stack.size_bytes;
  old.ss_flags =
      stack.size_bytes == 0 ? abi::kSS_DISABLE : (in_use ? abi::kSS_ONSTACK : 0) | (stack.flags & abi::kSS_AUTODISARM);
  if (!c.addr(0).is_null()) {
    REMORA_ASSIGN_OR_RETURN(const auto in, c.memory().Read<abi::SigaltStack>(c.addr(0)));
    if (in_use) return Errno(EPERM);
    const int32_t mode = in.ss_flags & ~abi::kSS_AUTODISARM;
    if (mode != 0 && mode != abi::kSS_ONSTACK && mode != abi::kSS_DISABLE) return Errno(EINVAL);
    if (mode == abi::kSS_DISABLE) {
      stack = {};
      stack.flags = in.ss_flags;
    } else {
      if (in.ss_size < abi::kMINSIGSTKSZ) return Errno(ENOMEM);
      stack = {GuestAddr(in.ss_sp), in.ss_flags & abi::kSS_AUTODISARM, in.ss_size};
    }
  }
  if (c.addr(1).is_null()) return SyscallOutcome::Return(0);
  return c.memory().Write(c.addr(1), old);
}

SyscallOutcome SysAlarm(SyscallContext& c) {
  const auto old = proc::ExchangeRealTimer(c.group(), {int64_t{c.u32(0)} * kNanosPerSecond, 0});
  // Rounded to the nearest second, but a timer that still runs is never told as 0.
  int64_t seconds = (old.remaining_nanos + kNanosPerSecond / 2) / kNanosPerSecond;
  if (seconds == 0 && old.remaining_nanos > 0) seconds = 1;
  return SyscallOutcome::Return(seconds);
}

SyscallOutcome SysSetitimer(SyscallContext& c) {
  if (c.i32(0) != abi::kITIMER_REAL) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const proc::IntervalTimer timer, ReadTimer(c, c.addr(1)));
  const auto old = proc::ExchangeRealTimer(c.group(), timer);
  if (c.addr(2).is_null()) return SyscallOutcome::Return(0);
  return c.memory().Write(c.addr(2), ToItimerval(old));
}

SyscallOutcome SysGetitimer(SyscallContext& c) {
  if (c.i32(0) != abi::kITIMER_REAL) return Errno(EINVAL);
  return c.memory().Write(c.addr(1), ToItimerval(proc::GetRealTimer(c.group())));
}

}  // namespace remora::syscalls
