// Timers: alarm, setitimer, timer_create, timerfd.

#include <algorithm>

#include "base/abi/resource.h"
#include "base/abi/signal.h"
#include "base/abi/time.h"
#include "fs/special/anonymous_files.h"
#include "proc/interval_timer.h"
#include "proc/pid_table.h"
#include "proc/posix_timer.h"
#include "proc/process_timers.h"
#include "proc/signals.h"
#include "proc/timerfd.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/time_args.h"

namespace remora::syscalls {
namespace {

using CpuTimer = proc::ProcessTimers::CpuTimer;

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

ErrnoOr<proc::IntervalTimer> ReadTimerspec(SyscallContext& c, GuestAddr from) {
  proc::IntervalTimer timer{};
  REMORA_ASSIGN_OR_RETURN(const auto in, c.memory().Read<abi::Itimerspec>(from));
  REMORA_ASSIGN_OR_RETURN(timer.remaining_nanos, NanosOf(in.it_value));
  REMORA_ASSIGN_OR_RETURN(timer.interval_nanos, NanosOf(in.it_interval));
  return timer;
}

abi::Itimerspec ToItimerspec(const proc::IntervalTimer& timer) {
  return {ToTimespec(timer.interval_nanos), ToTimespec(timer.remaining_nanos)};
}

// The clock that ITIMER_VIRTUAL or ITIMER_PROF counts.
int64_t UsedNanos(SyscallContext& c, CpuTimer which) {
  c.task().ChargeSlice(c.MonotonicNanos());
  const proc::ChildUsage usage = c.group().usage();
  return static_cast<int64_t>(usage.user_nanos + (which == CpuTimer::kProf ? usage.system_nanos : 0));
}

// The point of CLOCK_MONOTONIC that a setting names; 0: off. One that has passed fires at once.
int64_t WallDeadline(SyscallContext& c, int64_t nanos, bool absolute, bool realtime) {
  if (nanos == 0) return 0;
  return std::max<int64_t>(absolute ? DeadlineAt(c, nanos, realtime) : DeadlineAfter(c, nanos), 1);
}

bool CountsRealtime(int32_t clock) {
  return clock == abi::kCLOCK_REALTIME || clock == abi::kCLOCK_REALTIME_ALARM || clock == abi::kCLOCK_TAI;
}
bool WakesTheMachine(int32_t clock) {
  return clock == abi::kCLOCK_REALTIME_ALARM || clock == abi::kCLOCK_BOOTTIME_ALARM;
}

// What timer_create makes of its clock: EOPNOTSUPP for those that only tell the time.
ErrnoOr<void> SetClock(SyscallContext& c, int32_t id, proc::PosixTimer::Options& options, bool& realtime) {
  realtime = CountsRealtime(id);
  switch (id) {
    case abi::kCLOCK_REALTIME:
    case abi::kCLOCK_MONOTONIC:
    case abi::kCLOCK_BOOTTIME:
    case abi::kCLOCK_TAI:
    case abi::kCLOCK_REALTIME_ALARM:
    case abi::kCLOCK_BOOTTIME_ALARM:
      return Ok();
    case abi::kCLOCK_MONOTONIC_RAW:
    case abi::kCLOCK_REALTIME_COARSE:
    case abi::kCLOCK_MONOTONIC_COARSE:
      return Errno(EOPNOTSUPP);
    default:
      break;
  }
  REMORA_ASSIGN_OR_RETURN(const CpuClock clock, ResolveCpuClock(c, id));
  if (clock.group.get() != &c.group()) return Errno(EINVAL);
  if (clock.thread) {
    options.clock = clock.user_only ? proc::TimerClock::kThreadUser : proc::TimerClock::kThreadCpu;
    options.clock_thread = clock.thread->tid();
  } else {
    options.clock = clock.user_only ? proc::TimerClock::kProcessUser : proc::TimerClock::kProcessCpu;
  }
  return Ok();
}

ErrnoOr<void> SetNotification(SyscallContext& c, const abi::Sigevent& event, proc::PosixTimer::Options& options) {
  using Notify = proc::PosixTimer::Notify;
  options.value = event.value;
  if (event.notify == abi::kSIGEV_NONE) {
    options.notify = Notify::kNothing;
    return Ok();
  }
  if (event.notify == abi::kSIGEV_THREAD_ID) {
    const Ref<proc::Task> target = c.kernel().pids().FindTask(event.thread);
    if (!target || &target->group() != &c.group()) return Errno(EINVAL);
    options.notify = Notify::kThread;
    options.target_thread = event.thread;
  } else if (event.notify != abi::kSIGEV_SIGNAL && event.notify != abi::kSIGEV_THREAD) {
    return Errno(EINVAL);
  }
  if (event.signo < 1 || event.signo > proc::kNumSignals) return Errno(EINVAL);
  options.signal = event.signo;
  return Ok();
}

// The present time of the timer's clock.
int64_t NowOf(SyscallContext& c, const proc::PosixTimer& timer) {
  const auto& options = timer.options();
  if (!timer.counts_cpu_time()) return c.MonotonicNanos();
  CpuClock clock;
  clock.group = Ref<proc::ThreadGroup>(&c.group());
  clock.user_only = options.clock == proc::TimerClock::kProcessUser || options.clock == proc::TimerClock::kThreadUser;
  if (options.clock == proc::TimerClock::kThreadCpu || options.clock == proc::TimerClock::kThreadUser) {
    clock.thread = c.kernel().pids().FindTask(options.clock_thread);
    if (!clock.thread) return 0;
  }
  return ReadCpuClock(c, clock);
}

ErrnoOr<Ref<proc::TimerFd>> TimerFdArg(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  auto* timer = dynamic_cast<proc::TimerFd*>(file.get());
  if (timer == nullptr) return Errno(EINVAL);
  return Ref<proc::TimerFd>(timer);
}

}  // namespace

SyscallOutcome SysAlarm(SyscallContext& c) {
  const auto old = proc::ExchangeRealTimer(c.group(), {int64_t{c.u32(0)} * kNanosPerSecond, 0});
  // Rounded to the nearest second, but a timer that still runs is never told as 0.
  int64_t seconds = (old.remaining_nanos + kNanosPerSecond / 2) / kNanosPerSecond;
  if (seconds == 0 && old.remaining_nanos > 0) seconds = 1;
  return SyscallOutcome::Return(seconds);
}

SyscallOutcome SysSetitimer(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const proc::IntervalTimer timer, ReadTimer(c, c.addr(1)));
  proc::IntervalTimer old;
  switch (c.i32(0)) {
    case abi::kITIMER_REAL:
      old = proc::ExchangeRealTimer(c.group(), timer);
      break;
    case abi::kITIMER_VIRTUAL:
      old = c.group().timers().ExchangeCpu(CpuTimer::kVirtual, UsedNanos(c, CpuTimer::kVirtual), timer);
      break;
    case abi::kITIMER_PROF:
      old = c.group().timers().ExchangeCpu(CpuTimer::kProf, UsedNanos(c, CpuTimer::kProf), timer);
      break;
    default:
      return Errno(EINVAL);
  }
  if (c.addr(2).is_null()) return SyscallOutcome::Return(0);
  return c.memory().Write(c.addr(2), ToItimerval(old));
}

SyscallOutcome SysGetitimer(SyscallContext& c) {
  switch (c.i32(0)) {
    case abi::kITIMER_REAL:
      return c.memory().Write(c.addr(1), ToItimerval(proc::GetRealTimer(c.group())));
    case abi::kITIMER_VIRTUAL:
      return c.memory().Write(
          c.addr(1), ToItimerval(c.group().timers().GetCpu(CpuTimer::kVirtual, UsedNanos(c, CpuTimer::kVirtual))));
    case abi::kITIMER_PROF:
      return c.memory().Write(c.addr(1),
                              ToItimerval(c.group().timers().GetCpu(CpuTimer::kProf, UsedNanos(c, CpuTimer::kProf))));
    default:
      return Errno(EINVAL);
  }
}

SyscallOutcome SysTimerCreate(SyscallContext& c) {
  proc::PosixTimer::Options options;
  const int32_t clock = c.i32(0);
  REMORA_RETURN_IF_ERROR(SetClock(c, clock, options, options.realtime));
  const bool by_default = c.addr(1).is_null();
  abi::Sigevent event = {};
  event.signo = abi::kSIGALRM;
  if (!by_default) {
    REMORA_ASSIGN_OR_RETURN(event, c.memory().Read<abi::Sigevent>(c.addr(1)));
  }
  REMORA_RETURN_IF_ERROR(SetNotification(c, event, options));
  options.value_is_id = by_default;
  if (WakesTheMachine(clock) && !c.task().credentials()->privileged()) return Errno(EPERM);
  REMORA_ASSIGN_OR_RETURN(const int32_t id, c.group().timers().Create(options, c.Limit(abi::kRLIMIT_SIGPENDING)));
  const auto told = c.memory().Write(c.addr(2), id);
  if (!told.ok()) c.group().timers().Delete(id);
  return told;
}

SyscallOutcome SysTimerSettime(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const proc::IntervalTimer wanted, ReadTimerspec(c, c.addr(2)));
  const Ref<proc::PosixTimer> timer = c.group().timers().Find(c.i32(0));
  if (!timer) return Errno(EINVAL);
  const bool absolute = (c.u32(1) & abi::kTIMER_ABSTIME) != 0;
  const int64_t now = NowOf(c, *timer);
  int64_t deadline = 0;
  if (!timer->counts_cpu_time()) {
    deadline = WallDeadline(c, wanted.remaining_nanos, absolute, timer->options().realtime);
  } else if (wanted.remaining_nanos != 0) {
    deadline = wanted.remaining_nanos;
    if (!absolute && __builtin_add_overflow(now, deadline, &deadline)) deadline = INT64_MAX;
  }
  // First: what the new setting queues may come at once.
  proc::DiscardTimerSignal(c.group(), c.i32(0));
  const proc::IntervalTimer old = timer->Exchange(now, deadline, wanted.interval_nanos);
  if (timer->counts_cpu_time() && deadline != 0 && deadline <= now) timer->CheckCpuTime(c.group(), now);
  if (c.addr(3).is_null()) return SyscallOutcome::Return(0);
  return c.memory().Write(c.addr(3), ToItimerspec(old));
}

SyscallOutcome SysTimerGettime(SyscallContext& c) {
  const Ref<proc::PosixTimer> timer = c.group().timers().Find(c.i32(0));
  if (!timer) return Errno(EINVAL);
  return c.memory().Write(c.addr(1), ToItimerspec(timer->Get(NowOf(c, *timer))));
}

SyscallOutcome SysTimerGetoverrun(SyscallContext& c) {
  const Ref<proc::PosixTimer> timer = c.group().timers().Find(c.i32(0));
  if (!timer) return Errno(EINVAL);
  return SyscallOutcome::Return(timer->overrun());
}

SyscallOutcome SysTimerDelete(SyscallContext& c) {
  if (!c.group().timers().Delete(c.i32(0))) return Errno(EINVAL);
  proc::DiscardTimerSignal(c.group(), c.i32(0));
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysTimerfdCreate(SyscallContext& c) {
  const int32_t clock = c.i32(0);
  const uint32_t flags = c.u32(1);
  if ((flags & ~(abi::kTFD_NONBLOCK | abi::kTFD_CLOEXEC)) != 0) return Errno(EINVAL);
  if (clock != abi::kCLOCK_REALTIME && clock != abi::kCLOCK_MONOTONIC && clock != abi::kCLOCK_BOOTTIME &&
      !WakesTheMachine(clock))
    return Errno(EINVAL);
  if (WakesTheMachine(clock) && !c.task().credentials()->privileged()) return Errno(EPERM);
  auto timer = MakeRef<proc::TimerFd>(c.vfs().anonymous_files().MakeInode("anon_inode:[timerfd]", 0600),
                                      &c.kernel().scheduler(), &c.kernel().clock(), CountsRealtime(clock), flags);
  return c.AddFd(std::move(timer), (flags & abi::kTFD_CLOEXEC) != 0);
}

SyscallOutcome SysTimerfdSettime(SyscallContext& c) {
  const uint32_t flags = c.u32(1);
  REMORA_ASSIGN_OR_RETURN(const proc::IntervalTimer wanted, ReadTimerspec(c, c.addr(2)));
  if ((flags & ~(abi::kTFD_TIMER_ABSTIME | abi::kTFD_TIMER_CANCEL_ON_SET)) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<proc::TimerFd> timer, TimerFdArg(c));
  const bool absolute = (flags & abi::kTFD_TIMER_ABSTIME) != 0;
  const int64_t deadline = WallDeadline(c, wanted.remaining_nanos, absolute, timer->realtime());
  const proc::IntervalTimer old = timer->Exchange(deadline, wanted.interval_nanos);
  if (c.addr(3).is_null()) return SyscallOutcome::Return(0);
  return c.memory().Write(c.addr(3), ToItimerspec(old));
}

SyscallOutcome SysTimerfdGettime(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<proc::TimerFd> timer, TimerFdArg(c));
  return c.memory().Write(c.addr(1), ToItimerspec(timer->Get()));
}

}  // namespace remora::syscalls
