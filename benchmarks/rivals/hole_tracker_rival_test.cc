#include "benchmarks/rivals/hole_tracker_rival.h"

#include <algorithm>
#include <cstdint>
#include <random>

#include "base/guest_addr.h"
#include "gtest/gtest.h"
#include "mm/hole_tracker.h"

namespace remora {
namespace {

constexpr PageRange Pages(uint64_t first, uint64_t end) { return {PageNumber(first), PageNumber(end)}; }

TEST(HoleTrackerRivalTest, GivesTheSameAnswers) {
  constexpr uint64_t kFirst = 100, kEnd = 5000;
  mm::HoleTracker ours(Pages(kFirst, kEnd));
  HoleTrackerRival theirs(Pages(kFirst, kEnd));
  std::mt19937_64 random(8);
  for (int step = 0; step < 20'000; ++step) {
    const uint64_t first = kFirst + random() % (kEnd - kFirst);
    const PageRange range = Pages(first, std::min(kEnd, first + random() % 12));
    if (random() % 16 < (step / 4000 % 2 == 0 ? 10u : 7u)) {
      ours.Reserve(range);
      theirs.Reserve(range);
    } else {
      ours.Release(range);
      theirs.Release(range);
    }
    const uint64_t lo = kFirst + random() % (kEnd - kFirst), hi = lo + random() % (kEnd - lo + 1);
    const uint64_t num_pages = 1 + random() % 12;
    ASSERT_EQ(ours.FindTopmost(num_pages, Pages(lo, hi)), theirs.FindTopmost(num_pages, Pages(lo, hi)));
  }
}

}  // namespace
}  // namespace remora
