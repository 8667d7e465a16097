#include "mm/hole_tracker.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "base/guest_addr.h"

namespace remora::mm {
namespace {

constexpr PageRange Pages(uint64_t first, uint64_t end) { return {PageNumber(first), PageNumber(end)}; }

std::vector<PageRange> HolesOf(const HoleTracker& tracker) {
  std::vector<PageRange> holes;
  tracker.ForEachHole([&](PageRange hole) { holes.push_back(hole); });
  return holes;
}

TEST(HoleTrackerTest, StartsAsOneHole) {
  const HoleTracker tracker(Pages(16, 100));
  EXPECT_EQ(HolesOf(tracker), std::vector{Pages(16, 100)});
  EXPECT_EQ(tracker.num_free_pages(), 84u);
}

TEST(HoleTrackerTest, DefaultSpaceIsAllUserMemory) {
  const HoleTracker tracker;
  EXPECT_EQ(tracker.space().end_addr().value(), kUserAddressEnd);
}

TEST(HoleTrackerTest, TopmostIsTheUpperEndOfTheHighestHoleThatFits) {
  HoleTracker tracker(Pages(0, 100));
  tracker.Reserve(Pages(95, 97));
  tracker.Reserve(Pages(40, 60));
  const PageRange all = Pages(0, 100);
  EXPECT_EQ(tracker.FindTopmost(3, all), Pages(97, 100));
  EXPECT_EQ(tracker.FindTopmost(4, all), Pages(91, 95));
  EXPECT_EQ(tracker.FindTopmost(36, all), Pages(4, 40));
  EXPECT_EQ(tracker.FindTopmost(41, all), std::nullopt);
}

TEST(HoleTrackerTest, LimitsCutHoles) {
  HoleTracker tracker(Pages(0, 100));
  tracker.Reserve(Pages(50, 60));
  EXPECT_EQ(tracker.FindTopmost(5, Pages(10, 64)), Pages(45, 50));
  EXPECT_EQ(tracker.FindTopmost(5, Pages(46, 64)), std::nullopt);
  EXPECT_EQ(tracker.FindTopmost(4, Pages(46, 64)), Pages(60, 64));
  EXPECT_EQ(tracker.FindLowest(5, Pages(46, 80)), Pages(60, 65));
  EXPECT_EQ(tracker.FindLowest(4, Pages(46, 80)), Pages(46, 50));
}

TEST(HoleTrackerTest, NothingFitsInAnEmptyRangeOrForNoPages) {
  const HoleTracker tracker(Pages(0, 100));
  EXPECT_EQ(tracker.FindTopmost(1, Pages(7, 7)), std::nullopt);
  EXPECT_EQ(tracker.FindTopmost(0, Pages(0, 100)), std::nullopt);
  EXPECT_EQ(tracker.FindLowest(101, Pages(0, 100)), std::nullopt);
}

TEST(HoleTrackerTest, ReleaseMergesWithBothNeighbours) {
  HoleTracker tracker(Pages(0, 100));
  tracker.Reserve(Pages(40, 60));
  tracker.Release(Pages(45, 50));
  EXPECT_EQ(HolesOf(tracker), (std::vector{Pages(0, 40), Pages(45, 50), Pages(60, 100)}));
  tracker.Release(Pages(40, 45));
  tracker.Release(Pages(50, 60));
  EXPECT_EQ(HolesOf(tracker), std::vector{Pages(0, 100)});
}

TEST(HoleTrackerTest, ReserveOverUsedPagesTakesOnlyTheHoles) {
  HoleTracker tracker(Pages(0, 100));
  tracker.Reserve(Pages(40, 60));
  tracker.Reserve(Pages(30, 70));
  EXPECT_EQ(HolesOf(tracker), (std::vector{Pages(0, 30), Pages(70, 100)}));
  tracker.Reserve(Pages(0, 100));
  EXPECT_EQ(tracker.num_holes(), 0u);
  EXPECT_FALSE(tracker.IsFree(Pages(0, 1)));
  tracker.CheckInvariants();
}

TEST(HoleTrackerTest, ACopyIsIndependent) {
  HoleTracker tracker(Pages(0, 100));
  HoleTracker copy = tracker;
  copy.Reserve(Pages(0, 50));
  EXPECT_TRUE(tracker.IsFree(Pages(0, 100)));
  EXPECT_FALSE(copy.IsFree(Pages(49, 51)));
}

// Many holes, so that the tree has several levels, emptied in different orders.
TEST(HoleTrackerTest, GrowsAndShrinksThroughLevels) {
  constexpr uint64_t kHoles = 5000;
  HoleTracker tracker(Pages(0, 2 * kHoles + 1));
  for (uint64_t i = 0; i < kHoles; ++i) tracker.Reserve(Pages(2 * i + 1, 2 * i + 2));
  tracker.CheckInvariants();
  EXPECT_EQ(tracker.num_holes(), kHoles + 1);
  EXPECT_EQ(tracker.FindTopmost(2, tracker.space()), std::nullopt);
  tracker.Release(Pages(777, 778));
  EXPECT_EQ(tracker.FindTopmost(3, tracker.space()), Pages(776, 779));
  for (uint64_t i = 0; i <= kHoles; ++i) tracker.Reserve(Pages(2 * i, 2 * i + 1));
  tracker.CheckInvariants();
  tracker.Release(tracker.space());
  EXPECT_EQ(tracker.num_holes(), 1u);
  tracker.CheckInvariants();
}

// The obvious model: one flag for each page.
class Model {
 public:
  explicit Model(uint64_t pages) : free_(pages, true) {}
  void Set(PageRange range, bool free) {
    for (PageNumber p = range.first; p < range.end; ++p) free_[p.value()] = free;
  }
  bool IsFree(PageRange range) const {
    for (PageNumber p = range.first; p < range.end; ++p)
      if (!free_[p.value()]) return false;
    return true;
  }
  std::optional<PageRange> FindTopmost(uint64_t n, PageRange within) const {
    for (uint64_t first = within.end.value() - n + 1; first-- > within.first.value();)
      if (IsFree(Pages(first, first + n))) return Pages(first, first + n);
    return std::nullopt;
  }
  std::optional<PageRange> FindLowest(uint64_t n, PageRange within) const {
    for (uint64_t first = within.first.value(); first + n <= within.end.value(); ++first)
      if (IsFree(Pages(first, first + n))) return Pages(first, first + n);
    return std::nullopt;
  }
  std::vector<PageRange> Holes() const {
    std::vector<PageRange> holes;
    for (uint64_t p = 0; p < free_.size(); ++p) {
      if (!free_[p]) continue;
      if (!holes.empty() && holes.back().end.value() == p)
        holes.back().end = PageNumber(p + 1);
      else
        holes.push_back(Pages(p, p + 1));
    }
    return holes;
  }

 private:
  std::vector<bool> free_;
};

// A million operations over all seeds: phases of fragmentation and of healing, so that nodes fill, split and empty.
class HoleTrackerModelTest : public testing::TestWithParam<uint32_t> {};

TEST_P(HoleTrackerModelTest, AgreesWithABitmap) {
#ifdef NDEBUG
  constexpr int kSteps = 180'000;
#else
  constexpr int kSteps = 4'000;
#endif
  constexpr uint64_t kPages = 1500;
  std::mt19937 random(GetParam());
  const auto below = [&](uint64_t n) { return random() % n; };
  HoleTracker tracker(Pages(0, kPages));
  Model model(kPages);
  for (int step = 0; step < kSteps; ++step) {
    const bool fragmenting = (step / 3000) % 2 == 0;
    const uint64_t max_length = below(20) == 0 ? 200 : 4;
    const uint64_t first = below(kPages);
    const PageRange range = Pages(first, std::min(kPages, first + below(max_length)));
    if (below(10) < (fragmenting ? 6u : 3u)) {
      tracker.Reserve(range);
      model.Set(range, false);
    } else {
      tracker.Release(range);
      model.Set(range, true);
    }
#ifndef NDEBUG
    tracker.CheckInvariants();
#endif
    ASSERT_EQ(tracker.IsFree(range), model.IsFree(range));
    if (step % 4 != 0) continue;
    const uint64_t lo = below(kPages), hi = std::min(kPages, lo + below(300)), n = 1 + below(8);
    const PageRange within = Pages(lo, hi);
    if (hi - lo >= n) {
      ASSERT_EQ(tracker.FindTopmost(n, within), model.FindTopmost(n, within));
      ASSERT_EQ(tracker.FindLowest(n, within), model.FindLowest(n, within));
    } else {
      ASSERT_EQ(tracker.FindTopmost(n, within), std::nullopt);
    }
    if (step % 2048 == 0) {
      tracker.CheckInvariants();
      ASSERT_EQ(HolesOf(tracker), model.Holes());
      ASSERT_EQ(tracker.FindTopmost(n, tracker.space()), model.FindTopmost(n, tracker.space()));
    }
  }
  tracker.CheckInvariants();
  EXPECT_EQ(HolesOf(tracker), model.Holes());
}

INSTANTIATE_TEST_SUITE_P(Seeds, HoleTrackerModelTest, testing::Range(0u, 6u));

}  // namespace
}  // namespace remora::mm
