#ifndef REMORA_BASE_CLOCK_H_
#define REMORA_BASE_CLOCK_H_

#include <cstdint>

namespace remora {

struct TscTimebase;

inline constexpr int64_t kNanosPerSecond = 1'000'000'000;

// The door for time. Nothing in Remora asks the host for the time but through this interface, so a seed can drive it.
// Thread safety: all methods from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // CLOCK_REALTIME: nanoseconds since the epoch.
  virtual int64_t RealtimeNanos() = 0;
  // CLOCK_MONOTONIC: nanoseconds since some fixed point; never goes back. All deadlines inside Remora are of this
  // clock.
  virtual int64_t MonotonicNanos() = 0;

  // Asks that from now on what the clock tells can be computed from `place` and the CPU's time-stamp counter, until it
  // is given another place or null. False: it cannot. The place holds zeros at first and outlives all readers. At most
  // one place at a time.
  virtual bool KeepTimebaseIn(TscTimebase*) { return false; }
  // How fast the counter counts by which KeepTimebaseIn goes; 0: there is none.
  virtual double tsc_mhz() { return 0; }
};

// The host's clocks.
class HostClock final : public Clock {
 public:
  int64_t RealtimeNanos() override;
  int64_t MonotonicNanos() override;
};

}  // namespace remora

#endif  // REMORA_BASE_CLOCK_H_
