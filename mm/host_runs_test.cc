#include "mm/host_runs.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <utility>

#include "base/guest_addr.h"

namespace remora::mm {
namespace {

constexpr PageRange Pages(uint64_t first, uint64_t end) { return {PageNumber(first), PageNumber(end)}; }
constexpr uint64_t kDelta = 77 * kPageSize;

TEST(HostRunsTest, NeighboursOfOneDeltaAreOneRunInAnyOrder) {
  HostRuns runs;
  for (const uint64_t page : {5, 3, 9, 4, 8, 6, 7}) runs.Add(PageNumber(page), kDelta);
  EXPECT_EQ(runs.Find(PageNumber(6), kDelta), Pages(3, 10));
  EXPECT_TRUE(runs.Find(PageNumber(2), kDelta).empty());
  EXPECT_TRUE(runs.Find(PageNumber(6), kDelta + kPageSize).empty());
  runs.CheckInvariants();
}

TEST(HostRunsTest, ACutLeavesBothSides) {
  HostRuns runs;
  for (uint64_t page = 0; page < 100; ++page) runs.Add(PageNumber(page), kDelta);
  runs.Cut(Pages(30, 32));
  EXPECT_EQ(runs.Find(PageNumber(99), kDelta), Pages(32, 100));
  EXPECT_EQ(runs.Find(PageNumber(0), kDelta), Pages(0, 30));
  EXPECT_TRUE(runs.Find(PageNumber(31), kDelta).empty());
  runs.Cut(Pages(0, 1000));
  EXPECT_TRUE(runs.Find(PageNumber(50), kDelta).empty());
  runs.CheckInvariants();
}

TEST(HostRunsTest, InAFullSetALongRunTakesTheShortestOnesPlace) {
  HostRuns runs;
  for (uint64_t page = 0; page < 100; page += 10) runs.Add(PageNumber(page), kDelta);
  EXPECT_TRUE(runs.Find(PageNumber(90), kDelta).empty());
  EXPECT_EQ(runs.Join(Pages(80, 90), kDelta), Pages(80, 90));
  EXPECT_EQ(runs.Find(PageNumber(85), kDelta), Pages(80, 90));
  for (uint64_t first = 200; first < 1000; first += 100) runs.Join(Pages(first, first + 5), kDelta);
  EXPECT_EQ(runs.Find(PageNumber(85), kDelta), Pages(80, 90));
  runs.CheckInvariants();
}

TEST(HostRunsTest, JoiningTakesInWhatItTouches) {
  HostRuns runs;
  runs.Join(Pages(10, 20), kDelta);
  runs.Join(Pages(30, 40), kDelta);
  EXPECT_EQ(runs.Join(Pages(20, 31), kDelta), Pages(10, 40));
  EXPECT_EQ(runs.Find(PageNumber(39), kDelta), Pages(10, 40));
  runs.CheckInvariants();
}

TEST(HostRunsTest, NeverHoldsAPageThatWasNotAddedOrWasCut) {
  HostRuns runs;
  std::map<std::pair<uint64_t, uint64_t>, bool> present;  // (page, delta)
  std::mt19937 random(3);
  for (int i = 0; i < 100000; ++i) {
    const uint64_t page = random() % 64;
    const uint64_t delta = (random() % 6) * 0x10000000000;
    switch (random() % 10) {
      case 0: {
        const uint64_t end = page + random() % 16;
        runs.Cut(Pages(page, end));
        for (auto& [key, held] : present)
          if (key.first >= page && key.first < end) held = false;
        break;
      }
      case 1: {
        const uint64_t end = page + 1 + random() % 8;
        for (uint64_t p = page; p < end; ++p) present[{p, delta}] = true;
        ASSERT_TRUE(runs.Join(Pages(page, end), delta).Contains(Pages(page, end)));
        break;
      }
      case 2: {
        const PageRange run = runs.Find(PageNumber(page), delta);
        for (PageNumber p = run.first; p < run.end; ++p) ASSERT_TRUE((present[{p.value(), delta}]));  // invariant 1
        break;
      }
      default:
        runs.Add(PageNumber(page), delta);
        present[{page, delta}] = true;
    }
    if (i % 64 == 0) runs.CheckInvariants();
  }
}

}  // namespace
}  // namespace remora::mm
