#include "proc/repeating_deadline.h"

#include <random>

#include "gtest/gtest.h"

namespace remora::proc {
namespace {

TEST(RepeatingDeadlineTest, OnceIsOnce) {
  RepeatingDeadline deadline;
  EXPECT_FALSE(deadline.on());
  deadline.Set(100, 0);
  EXPECT_EQ(deadline.Remaining(40), 60);
  EXPECT_EQ(deadline.Expire(99), 0u);
  EXPECT_EQ(deadline.Remaining(100), 0);
  EXPECT_TRUE(deadline.on());
  EXPECT_EQ(deadline.Expire(100), 1u);
  EXPECT_FALSE(deadline.on());
  EXPECT_EQ(deadline.Expire(1000), 0u);
}

TEST(RepeatingDeadlineTest, TheEndOfTimeIsNotPassed) {
  RepeatingDeadline deadline;
  deadline.Set(INT64_MAX - 5, INT64_MAX);
  EXPECT_EQ(deadline.Expire(INT64_MAX - 1), 1u);
  EXPECT_EQ(deadline.deadline_nanos(), INT64_MAX);
}

// The model beats one interval at a time.
TEST(RepeatingDeadlineTest, BeatsAsAClockWould) {
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    const int64_t first = 1 + random() % 50, interval = 1 + random() % 20;
    RepeatingDeadline deadline;
    deadline.Set(first, interval);
    int64_t now = 0, next = first;
    for (int step = 0; step < 20; ++step) {
      now += random() % 60;
      int64_t coming = next;
      while (coming <= now) coming += interval;
      ASSERT_EQ(deadline.Remaining(now), coming - now);
      if (random() % 2 == 0) continue;
      uint64_t beats = 0;
      for (; next <= now; next += interval) ++beats;
      ASSERT_EQ(deadline.Expire(now), beats);
      ASSERT_EQ(deadline.deadline_nanos(), next);
    }
  }
}

}  // namespace
}  // namespace remora::proc
