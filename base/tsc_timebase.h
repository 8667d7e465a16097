#ifndef REMORA_BASE_TSC_TIMEBASE_H_
#define REMORA_BASE_TSC_TIMEBASE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace remora {

// How the time follows from the CPU's time-stamp counter. Guest code reads it as well (proc/vdso/guest_vdso.c has the
// same structure), so its layout is fixed and a page of zeros says "cannot be told".
//
//   CLOCK_MONOTONIC = base_nanos + ((tsc - base_tsc) * nanos_per_cycle >> 32), if tsc - base_tsc <= max_cycles
//   CLOCK_REALTIME  = CLOCK_MONOTONIC + realtime_offset_nanos
//
// A sequence lock guards it: the sequence is odd while a writer is at work, 0 before the first one.
struct TscTimebase {
  std::atomic<uint32_t> sequence{0};
  uint32_t unused = 0;
  std::atomic<uint64_t> base_tsc{0};
  std::atomic<int64_t> base_nanos{0};
  std::atomic<uint64_t> nanos_per_cycle{0};  // times 2^32
  std::atomic<uint64_t> max_cycles{0};       // beyond, whoever keeps the time has to be asked
  std::atomic<int64_t> realtime_offset_nanos{0};
};
static_assert(sizeof(TscTimebase) == 48 && offsetof(TscTimebase, base_tsc) == 8 &&
              offsetof(TscTimebase, realtime_offset_nanos) == 40);

}  // namespace remora

#endif  // REMORA_BASE_TSC_TIMEBASE_H_
