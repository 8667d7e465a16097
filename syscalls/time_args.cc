#include "syscalls/time_args.h"

#include <algorithm>

#include "base/clock.h"
#include "proc/pid_table.h"

namespace remora::syscalls {

ErrnoOr<int64_t> NanosOf(const abi::Timespec& time) {
  if (time.tv_sec < 0 || time.tv_nsec < 0 || time.tv_nsec >= kNanosPerSecond) return Errno(EINVAL);
  int64_t nanos = 0;
  if (__builtin_mul_overflow(time.tv_sec, kNanosPerSecond, &nanos) ||
      __builtin_add_overflow(nanos, time.tv_nsec, &nanos))
    return INT64_MAX;
  return nanos;
}

ErrnoOr<int64_t> NanosOf(const abi::Timeval& time) {
  if (time.tv_usec < 0 || time.tv_usec >= 1'000'000) return Errno(EINVAL);
  return NanosOf(abi::Timespec{time.tv_sec, time.tv_usec * 1000});
}

ErrnoOr<int64_t> ReadTimespec(SyscallContext& c, GuestAddr from) {
  REMORA_ASSIGN_OR_RETURN(const auto time, c.memory().Read<abi::Timespec>(from));
  return NanosOf(time);
}

abi::Timespec ToTimespec(int64_t nanos) { return {nanos / kNanosPerSecond, nanos % kNanosPerSecond}; }
abi::Timeval ToTimeval(int64_t nanos) { return {nanos / kNanosPerSecond, nanos % kNanosPerSecond / 1000}; }

abi::Rusage ToRusage(const proc::ChildUsage& usage) {
  abi::Rusage out{};
  out.ru_utime = ToTimeval(static_cast<int64_t>(usage.user_nanos));
  out.ru_stime = ToTimeval(static_cast<int64_t>(usage.system_nanos));
  out.ru_maxrss = static_cast<int64_t>(usage.max_resident_pages * (kPageSize / 1024));
  out.ru_minflt = static_cast<int64_t>(usage.minor_faults);
  out.ru_nvcsw = static_cast<int64_t>(usage.voluntary_switches);
  out.ru_nivcsw = static_cast<int64_t>(usage.involuntary_switches);
  return out;
}

int64_t DeadlineAfter(const SyscallContext& c, int64_t nanos) {
  int64_t deadline = 0;
  if (__builtin_add_overflow(c.MonotonicNanos(), nanos, &deadline)) return proc::Task::kNoDeadline;
  return deadline;
}

int64_t DeadlineAt(const SyscallContext& c, int64_t nanos, bool realtime) {
  if (!realtime) return nanos;
  int64_t from_now = 0;
  if (__builtin_sub_overflow(nanos, c.kernel().clock().RealtimeNanos(), &from_now)) return proc::Task::kNoDeadline;
  return DeadlineAfter(c, from_now);
}

ErrnoOr<CpuClock> ResolveCpuClock(SyscallContext& c, int32_t id) {
  CpuClock clock;
  int32_t number = 0;  // 0: the caller
  bool of_thread = id == abi::kCLOCK_THREAD_CPUTIME_ID;
  if (id < 0) {
    // ~number << 3 | of a thread << 2 | kind
    const uint32_t kind = static_cast<uint32_t>(id) & 3;
    if (kind == 3) return Errno(EINVAL);  // a device's
    number = ~(id >> 3);
    of_thread = (id & 4) != 0;
    clock.user_only = kind == 1;
  } else if (!of_thread && id != abi::kCLOCK_PROCESS_CPUTIME_ID) {
    return Errno(EINVAL);
  }
  const Ref<proc::Task> task = number == 0 ? Ref<proc::Task>(&c.task()) : c.kernel().pids().FindTask(number);
  if (!task) return Errno(EINVAL);
  clock.group = Ref<proc::ThreadGroup>(&task->group());
  if (of_thread) {
    if (clock.group.get() != &c.group()) return Errno(EINVAL);
    clock.thread = task;
  } else if (number != 0 && clock.group->pid() != number && task.get() != &c.task()) {
    return Errno(EINVAL);
  }
  return clock;
}

int64_t ReadCpuClock(SyscallContext& c, const CpuClock& clock) {
  c.task().ChargeSlice(c.MonotonicNanos());
  if (!clock.thread) {
    const proc::ChildUsage usage = clock.group->usage();
    return static_cast<int64_t>(usage.user_nanos + (clock.user_only ? 0 : usage.system_nanos));
  }
  const uint64_t user = clock.thread->user_nanos.load(std::memory_order_relaxed);
  const uint64_t system = clock.thread->system_nanos.load(std::memory_order_relaxed);
  return static_cast<int64_t>(user + (clock.user_only ? 0 : system));
}

ErrnoOr<int64_t> ReadClock(SyscallContext& c, int32_t id) {
  switch (id) {
    case abi::kCLOCK_REALTIME:
    case abi::kCLOCK_REALTIME_COARSE:
    case abi::kCLOCK_REALTIME_ALARM:
    case abi::kCLOCK_TAI:
      return c.kernel().clock().RealtimeNanos();
    case abi::kCLOCK_MONOTONIC:
    case abi::kCLOCK_MONOTONIC_RAW:
    case abi::kCLOCK_MONOTONIC_COARSE:
    case abi::kCLOCK_BOOTTIME:
    case abi::kCLOCK_BOOTTIME_ALARM:
      return c.MonotonicNanos();
    default: {
      REMORA_ASSIGN_OR_RETURN(const CpuClock clock, ResolveCpuClock(c, id));
      return ReadCpuClock(c, clock);
    }
  }
}

int64_t RemainingNanos(const SyscallContext& c, int64_t deadline_nanos) {
  return std::max<int64_t>(0, deadline_nanos - c.MonotonicNanos());
}

}  // namespace remora::syscalls
