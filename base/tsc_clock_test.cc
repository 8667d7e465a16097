#include "base/tsc_clock.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

namespace remora {
namespace {

class TscClockTest : public testing::Test {
 protected:
  void SetUp() override {
    clock_ = TscClock::TryMake();
    if (!clock_) GTEST_SKIP() << "this host does not tell the time by the time-stamp counter";
  }
  // Until it goes by the counter.
  void Settle() {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    clock_->MonotonicNanos();
  }
  // The least difference to the host's clock: another process may run between two readings, but not between all.
  int64_t DifferenceNanos(int64_t (Clock::*read)()) {
    int64_t least = INT64_MAX;
    for (int i = 0; i < 50; ++i) {
      const int64_t before = (host_.*read)();
      const int64_t told = (clock_.get()->*read)();
      const int64_t after = (host_.*read)();
      if (told >= before && told <= after) return 0;
      least = std::min(least, told < before ? before - told : told - after);
    }
    return least;
  }

  HostClock host_;
  std::unique_ptr<TscClock> clock_;
};

TEST_F(TscClockTest, AgreesWithTheHostFromTheFirstMoment) {
  EXPECT_LT(DifferenceNanos(&Clock::MonotonicNanos), 1000);
  Settle();
  EXPECT_GT(clock_->tsc_mhz(), 0);
  for (int i = 0; i < 20; ++i) {
    EXPECT_LT(DifferenceNanos(&Clock::MonotonicNanos), 5000);
    EXPECT_LT(DifferenceNanos(&Clock::RealtimeNanos), 5000);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

TEST_F(TscClockTest, AgreesWithTheHostAfterALongSleep) {
  Settle();
  std::this_thread::sleep_for(std::chrono::nanoseconds(TscClock::kMaxAgeNanos + TscClock::kRefreshNanos));
  EXPECT_LT(DifferenceNanos(&Clock::MonotonicNanos), 5000);
}

TEST_F(TscClockTest, NeverGoesBackBetweenThreads) {
  std::atomic<int64_t> latest{0};
  std::atomic<int64_t> worst{0};
  std::vector<std::thread> threads;
  const int64_t end = host_.MonotonicNanos() + 300'000'000;  // some corrections, the first one too
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      for (int64_t now = 0; now < end;) {
        int64_t seen = latest.load(std::memory_order_acquire);
        now = clock_->MonotonicNanos();
        if (now < seen) worst.store(std::max(worst.load(), seen - now));
        while (seen < now && !latest.compare_exchange_weak(seen, now)) {
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(worst.load(), 0);
}

TEST_F(TscClockTest, KeepsItsTimebaseWhereItIsTold) {
  TscTimebase place;
  Settle();
  ASSERT_TRUE(clock_->KeepTimebaseIn(&place));
  EXPECT_NE(place.sequence.load(), 0u);
  const int64_t before = clock_->MonotonicNanos();
  const uint64_t cycles = ReadTsc() - place.base_tsc.load();
  const int64_t told =
      place.base_nanos.load() +
      static_cast<int64_t>(static_cast<unsigned __int128>(cycles) * place.nanos_per_cycle.load() >> 32);
  EXPECT_GE(told, before);
  EXPECT_LE(told, clock_->MonotonicNanos());
  EXPECT_LT(cycles, place.max_cycles.load());
  TscTimebase second;
  EXPECT_FALSE(clock_->KeepTimebaseIn(&second));  // one at a time
  ASSERT_TRUE(clock_->KeepTimebaseIn(nullptr));
  EXPECT_GE(clock_->MonotonicNanos(), told);
}

}  // namespace
}  // namespace remora
