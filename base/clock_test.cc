#include "base/clock.h"

#include <gtest/gtest.h>

#include "base/manual_clock.h"

namespace remora {
namespace {

TEST(HostClockTest, MonotonicNeverGoesBack) {
  HostClock clock;
  int64_t last = clock.MonotonicNanos();
  for (int i = 0; i < 1000; ++i) {
    const int64_t now = clock.MonotonicNanos();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(HostClockTest, RealtimeIsInThisCentury) {
  HostClock clock;
  EXPECT_GT(clock.RealtimeNanos(), 1'600'000'000 * kNanosPerSecond);
}

TEST(ManualClockTest, MovesOnlyWhenTold) {
  ManualClock clock(1000, 50);
  EXPECT_EQ(clock.RealtimeNanos(), 1000);
  EXPECT_EQ(clock.MonotonicNanos(), 50);
  clock.Advance(7);
  EXPECT_EQ(clock.RealtimeNanos(), 1007);
  EXPECT_EQ(clock.MonotonicNanos(), 57);
}

TEST(ManualClockTest, SettingTheTimeLeavesMonotonicAlone) {
  ManualClock clock(1000, 50);
  clock.SetRealtime(9);
  EXPECT_EQ(clock.RealtimeNanos(), 9);
  EXPECT_EQ(clock.MonotonicNanos(), 50);
  clock.Advance(1);
  EXPECT_EQ(clock.RealtimeNanos(), 10);
}

}  // namespace
}  // namespace remora
