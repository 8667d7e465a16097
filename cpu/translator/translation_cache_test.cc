#include "cpu/translator/translation_cache.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <set>

#include "cpu/translator/block_frame.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/routines.h"
#include "sync/reclaimer.h"

namespace remora::cpu::translator {
namespace {

class TranslationCacheTest : public testing::Test {
 protected:
  sync::Reclaimer reclaimer_;
  TranslationCache cache_{&reclaimer_, uint64_t{1} << 20, HostCalls()};
};

TEST_F(TranslationCacheTest, SitesThatFollowEachOtherHaveExtentsOfTheirOwnAndOfTheirSize) {
  std::set<uint32_t> all;
  for (uint32_t size_class = 0; size_class < kSizeClasses; ++size_class) {
    std::set<uint32_t> extents;
    for (uint32_t i = 0; i < kExtentsOfClass[size_class]; ++i) extents.insert(cache_.NewExtent(size_class));
    EXPECT_EQ(extents.size(), kExtentsOfClass[size_class]);
    for (const uint32_t extent : extents) EXPECT_EQ(SizeClassOf(extent), size_class);
    EXPECT_TRUE(extents.contains(cache_.NewExtent(size_class)));  // from the beginning again
    all.merge(extents);
  }
  EXPECT_EQ(all.size(), kNumExtents);
}

TEST_F(TranslationCacheTest, WaysAndPagesKeepTheirNumbersUntilThereAreNoMore) {
  EXPECT_EQ(cache_.WayTo(0x1000), 0u);
  EXPECT_EQ(cache_.WayTo(0x2000), 1u);
  EXPECT_EQ(cache_.WayTo(0x1000), 0u);
  for (uint64_t i = 2; i < GuestContext::kWays; ++i) EXPECT_EQ(cache_.WayTo(0x100000 + i), i);
  EXPECT_EQ(cache_.WayTo(0x3000), GuestContext::kNoWay);
  EXPECT_EQ(cache_.WayTo(0x2000), 1u);
  const uint32_t page = cache_.PageOf(0x5008, false);
  EXPECT_EQ(cache_.PageOf(0x5ff8, false), page);
  const uint32_t written = cache_.PageOf(0x5ff8, true);
  EXPECT_EQ(cache_.PageOf(0x5000, true), written);
  std::set<uint32_t> pages = {page, written};
  EXPECT_EQ(pages.size(), 2u);
  uint32_t last = 0;
  for (uint64_t i = 0; last != GuestContext::kNoPage; ++i) {
    last = cache_.PageOf((i << 20) + 0x10000, false);
    ASSERT_LE(last, GuestContext::kNoPage);
    ASSERT_TRUE(pages.insert(last).second);
  }
  EXPECT_GT(pages.size(), GuestContext::kPages / 2);
  EXPECT_EQ(cache_.PageOf(0x6000, false), GuestContext::kNoPage);
  EXPECT_EQ(cache_.PageOf(0x5010, false), page);
  EXPECT_EQ(cache_.PageOf(0x5010, true), written);
}

TEST_F(TranslationCacheTest, WhatCodeLoadsIsNotTakenForWhatItStores) {
  for (uint32_t size_class = 0; size_class < kSizeClasses; ++size_class)
    for (uint32_t i = 0; i < kExtentsOfClass[size_class]; ++i) {
      const uint32_t extent = cache_.NewExtent(size_class);
      for (const uint32_t right : {0u, kNumExtents})
        for (size_t offset = 0; offset < sizeof(Extent); offset += sizeof(uint64_t))
          ASSERT_FALSE(LooksStored(ExtentField(extent + right, offset))) << extent;
    }
  for (uint64_t i = 0; i < 200; ++i) ASSERT_FALSE(LooksStored(PageField(cache_.PageOf(i << 20, true))));
  for (int i = 0; i < 2000; ++i) ASSERT_FALSE(LooksStored(GateField(cache_.NewGate())));
}

TEST_F(TranslationCacheTest, EachPathHasAGateOfItsOwnUntilThereAreNoMore) {
  std::set<uint32_t> gates;
  for (uint32_t gate = cache_.NewGate(); gate < GuestContext::kGates; gate = cache_.NewGate())
    ASSERT_TRUE(gates.insert(gate).second);
  EXPECT_FALSE(gates.contains(GuestContext::kNoGate));
  EXPECT_GT(gates.size(), GuestContext::kGates / 2);
  EXPECT_EQ(cache_.NewGate(), GuestContext::kGates);
}

}  // namespace
}  // namespace remora::cpu::translator
