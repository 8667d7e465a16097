#include "cpu/translator/block_frame.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <set>

#include "base/zeroed.h"
#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {
namespace {

class BlockFrameTest : public testing::Test {
 protected:
  // What code means by `place`.
  const void* At(const HostPlace& place) const {
    return reinterpret_cast<const std::byte*>(&context_->r10) + place.displacement;
  }

  const Zeroed<GuestContext> context_ = MakeZeroed<GuestContext>();
};

TEST_F(BlockFrameTest, CodeReachesTheSameExtentsAsTheMissPath) {
  std::set<const void*> all;
  for (uint32_t number = 0; number < 2 * kNumExtents; ++number) {
    const Extent& extent = context_->extent(number);
    ASSERT_EQ(At(ExtentField(number, offsetof(Extent, start))), &extent.start) << number;
    ASSERT_EQ(At(ExtentField(number, offsetof(Extent, delta))), &extent.delta) << number;
    all.insert(&extent);
  }
  EXPECT_EQ(all.size(), 2 * kNumExtents);
  EXPECT_EQ(&context_->extent(/*write=*/true, 5), &context_->extent(kNumExtents + 5));
}

TEST_F(BlockFrameTest, CodeReachesPagesGatesTargetsAndArrivals) {
  EXPECT_EQ(At(PageField(77)), &context_->pages[77]);
  EXPECT_EQ(At(GateField(99)), &context_->gates[99]);
  EXPECT_EQ(At(TargetField(0x7f1234567890)), &context_->indirect[0x7890 / 2]);
  for (uint32_t i = 0; i < GuestContext::kArrivals; ++i) ASSERT_EQ(At(ArrivalField(i)), &context_->arrivals(i)) << i;
}

TEST_F(BlockFrameTest, WhatCodeStoresLooksStored) {
  for (const void* stored :
       {static_cast<const void*>(&context_->r10), static_cast<const void*>(&context_->remaining),
        static_cast<const void*>(&context_->flags), static_cast<const void*>(&context_->target),
        static_cast<const void*>(&context_->spill[1]), static_cast<const void*>(&context_->held),
        static_cast<const void*>(&context_->lent[1]), static_cast<const void*>(&context_->value),
        static_cast<const void*>(&context_->site), static_cast<const void*>(&context_->branch_site),
        static_cast<const void*>(&context_->deltas[0]),
        static_cast<const void*>(&context_->deltas[GuestContext::kMaxDeltas - 1])}) {
    const auto displacement =
        static_cast<const std::byte*>(stored) - reinterpret_cast<const std::byte*>(&context_->r10);
    EXPECT_TRUE(LooksStored(Frame(static_cast<int32_t>(displacement)))) << displacement;
  }
  for (uint32_t i = 0; i < GuestContext::kArrivals; ++i) ASSERT_TRUE(LooksStored(ArrivalField(i))) << i;
  EXPECT_FALSE(LooksStored(Frame(REMORA_FRAME(stack_bounds))));
  EXPECT_FALSE(LooksStored(Frame(REMORA_FRAME(fs_host))));
}

}  // namespace
}  // namespace remora::cpu::translator
