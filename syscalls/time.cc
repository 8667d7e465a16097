// Clocks and sleeping.

#include "base/abi/time.h"

#include <algorithm>

#include "base/abi/resource.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/time_args.h"

namespace remora::syscalls {
namespace {

struct SleepState : proc::SyscallState {
  int64_t deadline_nanos = 0;
  GuestAddr remaining;  // null: none wanted (or an absolute sleep)
};

SyscallOutcome Sleep(SyscallContext& c, const SleepState& state) {
  if (c.Expired(state.deadline_nanos)) return SyscallOutcome::Return(0);
  if (c.task().signal_pending() && !state.remaining.is_null()) {
    REMORA_RETURN_IF_ERROR(c.memory().Write(state.remaining, ToTimespec(RemainingNanos(c, state.deadline_nanos))));
  }
  return c.Park(Interrupted::kContinueFromState, state.deadline_nanos);
}

constexpr int64_t NanosToTicks(uint64_t nanos) {
  return static_cast<int64_t>(nanos / static_cast<uint64_t>(kNanosPerSecond / abi::kUSER_HZ));
}

}  // namespace

SyscallOutcome SysClockGettime(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const int64_t nanos, ReadClock(c, c.i32(0)));
  return c.memory().Write(c.addr(1), ToTimespec(nanos));
}

SyscallOutcome SysClockGetres(SyscallContext& c) {
  REMORA_RETURN_IF_ERROR(ReadClock(c, c.i32(0)));
  if (c.addr(1).is_null()) return SyscallOutcome::Return(0);
  // A coarse clock moves once in a tick of 4 ms on Linux as commonly configured.
  const bool coarse = c.i32(0) == abi::kCLOCK_REALTIME_COARSE || c.i32(0) == abi::kCLOCK_MONOTONIC_COARSE;
  return c.memory().Write(c.addr(1), abi::Timespec{0, coarse ? 4'000'000 : 1});
}

SyscallOutcome SysGettimeofday(SyscallContext& c) {
  if (!c.addr(0).is_null())
    REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(0), ToTimeval(c.kernel().clock().RealtimeNanos())));
  if (!c.addr(1).is_null()) REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(1), abi::Timezone{}));
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysClockSettime(SyscallContext& c) {
  // As in Linux: a clock of some process refuses, the others cannot be set at all.
  const int32_t clock = c.i32(0);
  const bool cpu_time = clock < 0;
  if (clock != abi::kCLOCK_REALTIME && !cpu_time) return Errno(EINVAL);
  REMORA_RETURN_IF_ERROR(ReadClock(c, clock));
  REMORA_ASSIGN_OR_RETURN(const auto time, c.memory().Read<abi::Timespec>(c.addr(1)));
  if (!cpu_time && (time.tv_sec < 0 || time.tv_nsec < 0 || time.tv_nsec >= kNanosPerSecond)) return Errno(EINVAL);
  return Errno(EPERM);
}

SyscallOutcome SysSettimeofday(SyscallContext& c) {
  if (!c.addr(0).is_null()) {
    REMORA_ASSIGN_OR_RETURN(const auto time, c.memory().Read<abi::Timeval>(c.addr(0)));
    if (time.tv_sec < 0 || time.tv_usec < 0 || time.tv_usec >= 1'000'000) return Errno(EINVAL);
  }
  if (!c.addr(1).is_null()) REMORA_RETURN_IF_ERROR(c.memory().Read<abi::Timezone>(c.addr(1)));
  return Errno(EPERM);
}

SyscallOutcome SysTime(SyscallContext& c) {
  const int64_t seconds = c.kernel().clock().RealtimeNanos() / kNanosPerSecond;
  if (!c.addr(0).is_null()) REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(0), seconds));
  return SyscallOutcome::Return(seconds);
}

SyscallOutcome SysNanosleep(SyscallContext& c) {
  if (auto* state = c.state<SleepState>()) return Sleep(c, *state);
  REMORA_ASSIGN_OR_RETURN(const int64_t nanos, ReadTimespec(c, c.addr(0)));
  auto& state = c.MakeState<SleepState>();
  state.deadline_nanos = DeadlineAfter(c, nanos);
  state.remaining = c.addr(1);
  return Sleep(c, state);
}

SyscallOutcome SysClockNanosleep(SyscallContext& c) {
  const bool absolute = (c.u32(1) & abi::kTIMER_ABSTIME) != 0;
  if (auto* state = c.state<SleepState>()) {
    if (!absolute) return Sleep(c, *state);
    if (c.Expired(state->deadline_nanos)) return SyscallOutcome::Return(0);
    return c.Park(Interrupted::kRestartWithoutHandler, state->deadline_nanos);
  }
  bool realtime = false;
  switch (c.i32(0)) {
    case abi::kCLOCK_REALTIME:
    case abi::kCLOCK_TAI:
    case abi::kCLOCK_REALTIME_ALARM:
      realtime = true;
      break;
    case abi::kCLOCK_MONOTONIC:
    case abi::kCLOCK_BOOTTIME:
    case abi::kCLOCK_BOOTTIME_ALARM:
      break;
    case abi::kCLOCK_MONOTONIC_RAW:
    case abi::kCLOCK_REALTIME_COARSE:
    case abi::kCLOCK_MONOTONIC_COARSE:
    case abi::kCLOCK_PROCESS_CPUTIME_ID:
      return Errno(EOPNOTSUPP);
    default:
      return Errno(EINVAL);
  }
  REMORA_ASSIGN_OR_RETURN(const int64_t nanos, ReadTimespec(c, c.addr(2)));
  auto& state = c.MakeState<SleepState>();
  state.deadline_nanos = absolute ? DeadlineAt(c, nanos, realtime) : DeadlineAfter(c, nanos);
  if (!absolute) state.remaining = c.addr(3);
  return SysClockNanosleep(c);
}

SyscallOutcome SysTimes(SyscallContext& c) {
  if (!c.addr(0).is_null()) {
    c.task().ChargeSlice(c.MonotonicNanos());
    const proc::ChildUsage own = c.group().usage();
    const proc::ChildUsage children = c.group().children_usage();
    const abi::Tms tms{NanosToTicks(own.user_nanos), NanosToTicks(own.system_nanos), NanosToTicks(children.user_nanos),
                       NanosToTicks(children.system_nanos)};
    REMORA_RETURN_IF_ERROR(c.memory().Write(c.addr(0), tms));
  }
  return SyscallOutcome::Return(NanosToTicks(static_cast<uint64_t>(c.MonotonicNanos())));
}

}  // namespace remora::syscalls
