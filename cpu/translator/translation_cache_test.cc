#include "cpu/translator/translation_cache.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>

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
  EXPECT_EQ(cache_.PageOf(0x5008, false), 0u);
  EXPECT_EQ(cache_.PageOf(0x5ff8, false), 0u);
  EXPECT_EQ(cache_.PageOf(0x5ff8, true), 1u);
  for (uint64_t i = 2; i < GuestContext::kPages; ++i) EXPECT_EQ(cache_.PageOf(i << 20, false), i);
  EXPECT_EQ(cache_.PageOf(0x6000, false), GuestContext::kNoPage);
  EXPECT_EQ(cache_.PageOf(0x5010, true), 1u);
}

}  // namespace
}  // namespace remora::cpu::translator
