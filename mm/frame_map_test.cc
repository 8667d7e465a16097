#include "mm/frame_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "mm/types.h"
#include "sync/reclaimer.h"

namespace remora::mm {
namespace {

using Entries = std::map<uint64_t, FrameId>;

Entries EntriesOf(const FrameMap& map) {
  Entries entries;
  map.ForEach([&](uint64_t index, FrameId frame) { entries.emplace_hint(entries.end(), index, frame); });
  return entries;
}

class FrameMapTest : public ::testing::Test {
 protected:
  uint64_t Erase(uint64_t first, uint64_t num_pages) {
    uint64_t erased = 0;
    map_.EraseRange(first, num_pages, [&](uint64_t, FrameId) { ++erased; });
    return erased;
  }
  sync::Reclaimer reclaimer_;
  FrameMap map_{&reclaimer_};
};

TEST_F(FrameMapTest, IsEmptyAtFirst) {
  EXPECT_FALSE(map_.Lookup(0).valid());
  EXPECT_FALSE(map_.Lookup(~uint64_t{0}).valid());
  EXPECT_EQ(map_.size(), 0u);
  EXPECT_EQ(Erase(0, ~uint64_t{0}), 0u);
  map_.CheckInvariants();
}

TEST_F(FrameMapTest, TheFirstFrameOfAPageStays) {
  EXPECT_EQ(map_.TryInsert(7, FrameId(1)), std::pair(FrameId(1), true));
  EXPECT_EQ(map_.TryInsert(7, FrameId(2)), std::pair(FrameId(1), false));
  EXPECT_EQ(map_.Lookup(7), FrameId(1));
  EXPECT_FALSE(map_.Lookup(6).valid());
}

TEST_F(FrameMapTest, AnyIndexHasAPlace) {
  const std::vector<uint64_t> indexes = {0,           63, 64, 4095, 4096, (uint64_t{1} << 51) - 1, uint64_t{1} << 60,
                                         ~uint64_t{0}};
  for (size_t i = 0; i < indexes.size(); ++i) {
    EXPECT_TRUE(map_.TryInsert(indexes[i], FrameId(static_cast<uint32_t>(i))).second);
    map_.CheckInvariants();
  }
  for (size_t i = 0; i < indexes.size(); ++i) EXPECT_EQ(map_.Lookup(indexes[i]), FrameId(static_cast<uint32_t>(i)));
  EXPECT_FALSE(map_.Lookup(65).valid());
  EXPECT_EQ(EntriesOf(map_).size(), indexes.size());
  EXPECT_EQ(Erase(1, ~uint64_t{0}), indexes.size() - 1);
  map_.CheckInvariants();
  EXPECT_EQ(map_.Lookup(0), FrameId(0));
}

TEST_F(FrameMapTest, ARangeIsErasedInOrderAndNothingBesideIt) {
  for (uint32_t i = 0; i < 300; ++i) map_.TryInsert(i, FrameId(1000 + i));
  std::vector<uint64_t> erased;
  map_.EraseRange(60, 140, [&](uint64_t index, FrameId frame) {
    EXPECT_EQ(frame.value(), 1000 + index);
    erased.push_back(index);
  });
  EXPECT_EQ(erased.size(), 140u);
  EXPECT_TRUE(std::is_sorted(erased.begin(), erased.end()));
  EXPECT_TRUE(map_.Lookup(59).valid());
  EXPECT_FALSE(map_.Lookup(60).valid());
  EXPECT_FALSE(map_.Lookup(199).valid());
  EXPECT_TRUE(map_.Lookup(200).valid());
  map_.CheckInvariants();
}

TEST_F(FrameMapTest, AnEmptyTreeKeepsNoNode) {
  map_.TryInsert(uint64_t{1} << 40, FrameId(3));
  EXPECT_EQ(Erase(uint64_t{1} << 40, 1), 1u);
  EXPECT_EQ(reclaimer_.num_pending(), 7u);  // the root is at level 6
  map_.TryInsert(5, FrameId(4));
  EXPECT_EQ(map_.Lookup(5), FrameId(4));
  map_.CheckInvariants();
}

// Beside std::map; indexes are dense in one place and far apart elsewhere.
TEST_F(FrameMapTest, AgreesWithAnOrderedMap) {
#ifdef NDEBUG
  constexpr int kSteps = 1'200'000;
#else
  constexpr int kSteps = 10'000;
#endif
  std::mt19937_64 random(5);
  const auto below = [&](uint64_t n) { return random() % n; };
  const auto any_index = [&] {
    switch (below(8)) {
      case 0:
        return random() >> below(64);
      case 1:
        return (uint64_t{1} << (6 * (1 + below(9)))) - 2 + below(4);
      default:
        return below(1000);
    }
  };
  Entries model;
  for (int step = 0; step < kSteps; ++step) {
    const uint64_t index = any_index();
    const auto found = model.find(index);
    ASSERT_EQ(map_.Lookup(index), found == model.end() ? FrameId() : found->second);
    if (below(3) != 0) {
      const FrameId frame(static_cast<uint32_t>(below(1u << 31)));
      const auto [entry, inserted] = model.try_emplace(index, frame);
      ASSERT_EQ(map_.TryInsert(index, frame), std::pair(entry->second, inserted));
    } else {
      const uint64_t num_pages = below(200) == 0 ? random() >> below(64) : 1 + below(5);
      Entries expected;
      auto it = model.lower_bound(index);
      while (it != model.end() && it->first - index < num_pages) expected.insert(model.extract(it++));
      Entries erased;
      map_.EraseRange(index, num_pages, [&](uint64_t i, FrameId frame) { erased.emplace(i, frame); });
      ASSERT_EQ(erased, expected);
    }
    ASSERT_EQ(map_.size(), model.size());
#ifndef NDEBUG
    map_.CheckInvariants();
#endif
    if (step % 1024 == 0) reclaimer_.Collect();
    if (step % 50'000 == 0) ASSERT_EQ(EntriesOf(map_), model);
  }
  map_.CheckInvariants();
  EXPECT_EQ(EntriesOf(map_), model);
}

// One writer puts frames in and takes them out; readers must see, for each page, either none or one that was put there,
// and never an older one after a younger one.
TEST_F(FrameMapTest, ReadersSeeEachPagesFramesInTheirOrder) {
#ifdef NDEBUG
  constexpr uint32_t kRounds = 3000;
#else
  constexpr uint32_t kRounds = 300;
#endif
  constexpr uint64_t kStride = 61, kPages = 200;  // over several leaves
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&] {
      sync::Reclaimer::Participant self(&reclaimer_);
      self.Online();
      std::vector<uint32_t> last(kPages, 0);
      while (!stop.load(std::memory_order_relaxed)) {
        for (uint64_t page = 0; page < kPages; ++page) {
          const FrameId frame = map_.Lookup(page * kStride);
          if (!frame.valid()) continue;
          const uint32_t round = frame.value() / kPages;
          ASSERT_EQ(frame.value() % kPages, page);
          ASSERT_GE(round, last[page]);
          last[page] = round;
        }
        self.Quiesce();
      }
      self.Offline();
    });
  }
  std::mt19937 random(1);
  for (uint32_t round = 1; round <= kRounds; ++round) {
    for (uint32_t page = 0; page < kPages; ++page) map_.TryInsert(page * kStride, FrameId(round * kPages + page));
    const uint64_t first = random() % (kPages * kStride);
    map_.EraseRange(first, random() % 4 == 0 ? ~uint64_t{0} : random() % 2000, [](uint64_t, FrameId) {});
    reclaimer_.Collect();
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
  map_.CheckInvariants();
}

}  // namespace
}  // namespace remora::mm
