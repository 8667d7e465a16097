#ifndef REMORA_BASE_TSC_CLOCK_H_
#define REMORA_BASE_TSC_CLOCK_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "base/tsc_timebase.h"

namespace remora {

// The host's clocks by way of the CPU's time-stamp counter: a few nanoseconds, no call, and guest code can read the
// same timebase without a system call, with an answer that is never earlier than what it was told before.
//
// For the first milliseconds it asks the host, measures the counter against CLOCK_MONOTONIC, and again from time to
// time (Refresh), on the thread of whoever reads it. Corrections go forward at once; a clock that is ahead of the
// host's (by some nanoseconds, as a rule) goes slower until the host has caught up. CLOCK_REALTIME follows when
// somebody sets the host's clock, at the next correction.
//
// Thread safety: all methods from any thread; no lock. A reader meets a writer's few instructions at worst.
class TscClock final : public Clock {
 public:
  // Null where the host's kernel does not itself tell the time by the counter, which then cannot be trusted.
  static std::unique_ptr<TscClock> TryMake();
  ~TscClock() override = default;

  int64_t RealtimeNanos() override;
  int64_t MonotonicNanos() override;
  bool KeepTimebaseIn(TscTimebase* place) override;
  double tsc_mhz() override;

  // Between two corrections; and the age of a timebase that nobody may rely on.
  static constexpr int64_t kRefreshNanos = 50'000'000, kMaxAgeNanos = 2'000'000'000;

 private:
  // The counter, and what the host's clocks said just behind it.
  struct Reading {
    uint64_t tsc = 0;
    int64_t monotonic_nanos = 0, realtime_nanos = 0;
  };
  struct Times {
    int64_t monotonic_nanos = 0, realtime_offset_nanos = 0;
  };
  TscClock();
  static Reading ReadHost();
  Times Now();
  // False: somebody else is at it.
  bool Refresh();
  void Correct(TscTimebase* base, const Reading& now);

  const Reading first_;
  // What the rate is measured from: readings some seconds apart, so that it follows a host whose clock is being slewed.
  // The writer's.
  Reading older_, newer_;
  TscTimebase own_;
  std::atomic<TscTimebase*> base_{&own_};
  std::atomic<uint64_t> refresh_cycles_{0};  // after the timebase's base; 0: not measured yet
};

// The time-stamp counter, not read before what stands in front of it is done. 0 on hosts that have none.
uint64_t ReadTsc();

}  // namespace remora

#endif  // REMORA_BASE_TSC_CLOCK_H_
