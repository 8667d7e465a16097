#ifndef REMORA_SYSCALLS_TIME_ARGS_H_
#define REMORA_SYSCALLS_TIME_ARGS_H_

#include <cstdint>

#include "base/abi/time.h"
#include "base/errno_or.h"
#include "syscalls/context.h"

namespace remora::syscalls {

// Times as syscalls take and give them. Inside, all are nanoseconds; a deadline is of CLOCK_MONOTONIC.

// A timespec in nanoseconds, saturated at INT64_MAX. EINVAL where negative or with more than a second of nanoseconds.
ErrnoOr<int64_t> NanosOf(const abi::Timespec& time);
ErrnoOr<int64_t> NanosOf(const abi::Timeval& time);
ErrnoOr<int64_t> ReadTimespec(SyscallContext& c, GuestAddr from);
abi::Timespec ToTimespec(int64_t nanos);
abi::Timeval ToTimeval(int64_t nanos);

// The deadline `nanos` from now; kNoDeadline where that is beyond all time.
int64_t DeadlineAfter(const SyscallContext& c, int64_t nanos);
// The deadline at which CLOCK_MONOTONIC, or CLOCK_REALTIME as it stands now, shows `nanos`.
int64_t DeadlineAt(const SyscallContext& c, int64_t nanos, bool realtime);
// Nanoseconds from now to the deadline, not less than 0.
int64_t RemainingNanos(const SyscallContext& c, int64_t deadline_nanos);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_TIME_ARGS_H_
