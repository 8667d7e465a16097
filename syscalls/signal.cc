// Signals: actions, masks, sending, waiting for them, signalfd.

#include "base/abi/signal.h"

#include <optional>

#include "fs/special/anonymous_files.h"
#include "proc/siginfo.h"
#include "proc/signal_delivery.h"
#include "proc/signalfd.h"
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

// What rt_sigqueueinfo(2) may send: the sender's own words, but nothing that pretends to come from the kernel, unless
// it is to oneself.
ErrnoOr<proc::SignalInfo> ReadSiginfo(SyscallContext& c, GuestAddr from, int32_t signal, int32_t target) {
  REMORA_ASSIGN_OR_RETURN(const auto in, c.memory().Read<abi::Siginfo>(from));
  if ((in.code >= 0 || in.code == abi::kSI_TKILL) && target != c.task().tid()) return Errno(EPERM);
  proc::SignalInfo info = proc::DecodeSignalInfo(in);
  info.signal = signal;
  return info;
}

struct TimedWait : proc::SyscallState {
  int64_t deadline_nanos = proc::Task::kNoDeadline;
  proc::SignalSet wanted;
  proc::SignalSet blocked_before;
};

// A new signalfd, or other signals for the one in argument 0.
SyscallOutcome MakeSignalFd(SyscallContext& c, proc::SignalSet wanted, uint32_t flags) {
  if (c.i32(0) != -1) {
    REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
    auto* signals = dynamic_cast<proc::SignalFd*>(file.get());
    if (signals == nullptr) return Errno(EINVAL);
    signals->set_wanted(wanted);
    return SyscallOutcome::Return(c.i32(0));
  }
  auto made = MakeRef<proc::SignalFd>(c.vfs().anonymous_files().MakeInode("anon_inode:[signalfd]", 0600),
                                      Ref<proc::ThreadGroup>(&c.group()), wanted, flags);
  return c.AddFd(std::move(made), (flags & abi::kSFD_CLOEXEC) != 0);
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
  REMORA_ASSIGN_OR_RETURN(const proc::SignalInfo info, ReadSiginfo(c, c.addr(3), c.i32(2), c.i32(1)));
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

SyscallOutcome SysSignalfd4(SyscallContext& c) {
  const uint32_t flags = c.u32(3);
  if (c.arg(2) != sizeof(uint64_t)) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const uint64_t bits, c.memory().Read<uint64_t>(c.addr(1)));
  if ((flags & ~(abi::kSFD_CLOEXEC | abi::kSFD_NONBLOCK)) != 0) return Errno(EINVAL);
  return MakeSignalFd(c, proc::SignalSet(bits), flags);
}

SyscallOutcome SysSignalfd(SyscallContext& c) {
  if (c.arg(2) != sizeof(uint64_t)) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const uint64_t bits, c.memory().Read<uint64_t>(c.addr(1)));
  return MakeSignalFd(c, proc::SignalSet(bits), 0);
}

}  // namespace remora::syscalls
