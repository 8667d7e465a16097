#ifndef REMORA_SYSCALLS_TIME_ARGS_H_
#define REMORA_SYSCALLS_TIME_ARGS_H_

#include <cstdint>

#include "base/abi/resource.h"
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
abi::Rusage ToRusage(const proc::ChildUsage& usage);

// The deadline `nanos` from now; kNoDeadline where that is beyond all time.
int64_t DeadlineAfter(const SyscallContext& c, int64_t nanos);
// The deadline at which CLOCK_MONOTONIC, or CLOCK_REALTIME as it stands now, shows `nanos`.
int64_t DeadlineAt(const SyscallContext& c, int64_t nanos, bool realtime);
// A clock of CPU time: CLOCK_PROCESS_CPUTIME_ID and its kin, or a number that clock_getcpuclockid(3) made.
struct CpuClock {
  Ref<proc::ThreadGroup> group;
  Ref<proc::Task> thread;  // null: the whole process
  bool user_only = false;
};
// EINVAL if `id` is no such clock, or nobody's.
ErrnoOr<CpuClock> ResolveCpuClock(SyscallContext& c, int32_t id);
int64_t ReadCpuClock(SyscallContext& c, const CpuClock& clock);
// What any clock shows now. EINVAL for those that Linux does not know either, and for clocks that are devices.
ErrnoOr<int64_t> ReadClock(SyscallContext& c, int32_t id);

// Nanoseconds from now to the deadline, not less than 0.
int64_t RemainingNanos(const SyscallContext& c, int64_t deadline_nanos);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_TIME_ARGS_H_
