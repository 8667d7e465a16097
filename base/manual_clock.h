#ifndef REMORA_BASE_MANUAL_CLOCK_H_
#define REMORA_BASE_MANUAL_CLOCK_H_

#include <atomic>
#include <cstdint>

#include "base/check.h"
#include "base/clock.h"

namespace remora {

// A clock that moves only when it is told to: for tests and for deterministic runs.
// Thread safety: all methods from any thread.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t realtime_nanos = 0, int64_t monotonic_nanos = 0)
      : monotonic_nanos_(monotonic_nanos), realtime_offset_nanos_(realtime_nanos - monotonic_nanos) {}

  int64_t RealtimeNanos() override { return MonotonicNanos() + realtime_offset_nanos_.load(std::memory_order_relaxed); }
  int64_t MonotonicNanos() override { return monotonic_nanos_.load(std::memory_order_acquire); }

  // Moves both clocks forward.
  void Advance(int64_t nanos) {
    DCHECK(nanos >= 0);
    monotonic_nanos_.fetch_add(nanos, std::memory_order_acq_rel);
  }
  // What settimeofday does: CLOCK_MONOTONIC stays.
  void SetRealtime(int64_t realtime_nanos) {
    realtime_offset_nanos_.store(realtime_nanos - MonotonicNanos(), std::memory_order_relaxed);
  }

 private:
  std::atomic<int64_t> monotonic_nanos_;
  std::atomic<int64_t> realtime_offset_nanos_;
};

}  // namespace remora

#endif  // REMORA_BASE_MANUAL_CLOCK_H_
