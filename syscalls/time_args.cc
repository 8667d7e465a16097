#include "syscalls/time_args.h"

#include <algorithm>

#include "base/clock.h"

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

int64_t RemainingNanos(const SyscallContext& c, int64_t deadline_nanos) {
  return std::max<int64_t>(0, deadline_nanos - c.MonotonicNanos());
}

}  // namespace remora::syscalls
