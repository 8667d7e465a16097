#include "base/clock.h"

#include <time.h>

#include "base/check.h"

namespace remora {
namespace {

int64_t NanosOf(clockid_t clock) {
  timespec now;
  CHECK(clock_gettime(clock, &now) == 0);
  return int64_t{now.tv_sec} * kNanosPerSecond + now.tv_nsec;
}

}  // namespace

int64_t HostClock::RealtimeNanos() { return NanosOf(CLOCK_REALTIME); }
int64_t HostClock::MonotonicNanos() { return NanosOf(CLOCK_MONOTONIC); }

}  // namespace remora
