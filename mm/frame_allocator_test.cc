#include "mm/frame_allocator.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "mm/frame_allocator_model.h"

namespace remora::mm {
namespace {

constexpr uint32_t kBlock = FrameAllocator::kBlockFrames;
constexpr uint32_t kNone = FrameAllocator::kNoBlock;
constexpr FrameAllocator::Room kSome = {.before = 1, .behind = 2};

TEST(FrameAllocatorTest, SingleFramesComeInAscendingOrder) {
  FrameAllocator allocator(2 * kBlock);
  for (uint32_t i = 1; i < 2 * kBlock; ++i) {
    const auto taken = allocator.TakeAny();
    ASSERT_TRUE(taken.has_value());
    EXPECT_EQ(taken->frame, i);
    EXPECT_TRUE(taken->zeroed);
  }
  EXPECT_FALSE(allocator.TakeAny().has_value());
  allocator.Free(700);
  const auto again = allocator.TakeAny();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->frame, 700u);
  EXPECT_FALSE(again->zeroed);
  allocator.CheckInvariants();
}

TEST(FrameAllocatorTest, AReservedBlockServesItsOwnerAtAnyPlace) {
  FrameAllocator allocator(4 * kBlock);
  const uint32_t block = *allocator.Reserve(kNone, {});
  for (const uint32_t offset : {511u, 3u, 4u, 0u})
    EXPECT_EQ(allocator.TakeAt(block * kBlock + offset, block)->frame, block * kBlock + offset);
  EXPECT_FALSE(allocator.TakeAt(block * kBlock + 3, block).has_value());
  EXPECT_FALSE(allocator.TakeAt(block * kBlock + 5, kNone).has_value());
  for (int i = 0; i < 100; ++i) EXPECT_NE(allocator.TakeAny()->frame / kBlock, block);
  allocator.CheckInvariants();
}

TEST(FrameAllocatorTest, ReservedBlocksLendTheirFramesWhenNothingElseIsLeft) {
  FrameAllocator allocator(3 * kBlock);
  const uint32_t block = *allocator.Reserve(kNone, {});
  EXPECT_TRUE(allocator.TakeAt(block * kBlock, block).has_value());
  for (uint32_t i = 1; i < 2 * kBlock; ++i) EXPECT_NE(allocator.TakeAny()->frame / kBlock, block);
  EXPECT_FALSE(allocator.Reserve(kNone, {}).has_value());
  for (uint32_t i = 1; i < kBlock; ++i) EXPECT_EQ(allocator.TakeAny()->frame / kBlock, block);
  EXPECT_FALSE(allocator.TakeAny().has_value());
  EXPECT_FALSE(allocator.TakeAt(block * kBlock + 1, block).has_value());
  allocator.CheckInvariants();
}

TEST(FrameAllocatorTest, WhatAnOwnerLeftBehindCanBeTakenByAnybody) {
  FrameAllocator allocator(3 * kBlock);
  const uint32_t block = *allocator.Reserve(kNone, {});
  const uint32_t frame = block * kBlock + 7;
  EXPECT_TRUE(allocator.TakeAt(frame, block).has_value());
  allocator.Unreserve(block);
  EXPECT_TRUE(allocator.TakeAt(frame + 1, kNone).has_value());
  EXPECT_NE(allocator.Reserve(block, {}).value(), block);  // it is not empty
  allocator.Free(frame);
  allocator.Free(frame + 1);
  EXPECT_EQ(allocator.Reserve(block, {}).value(), block);
  allocator.CheckInvariants();
}

TEST(FrameAllocatorTest, GrowingUsersGetBlocksSideBySide) {
  FrameAllocator allocator(400 * kBlock);
  // Three begin at the same time, users of one block come in between, and then two go on upward and one downward.
  uint32_t first[3];
  for (uint32_t& block : first) {
    block = *allocator.Reserve(kNone, kSome);
    EXPECT_TRUE(allocator.Reserve(kNone, {}).has_value());
    EXPECT_TRUE(allocator.TakeAny().has_value());
  }
  for (const uint32_t wanted : {first[0] + 1, first[1] + 1, first[0] + 2, first[1] + 2, first[2] - 1})
    EXPECT_EQ(allocator.Reserve(wanted, kSome), wanted);
  allocator.CheckInvariants();
}

TEST(FrameAllocatorTest, WhoGrowsAloneGoesOnFromGroupToGroup) {
  FrameAllocator allocator(400 * kBlock);
  uint32_t last = *allocator.Reserve(kNone, kSome);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(allocator.Reserve(last + 1, kSome), last + 1);
    ++last;
  }
  allocator.CheckInvariants();
}

TEST(FrameAllocatorTest, ALeaderWhoseRoomIsFreeAgainIsUsedAgain) {
  FrameAllocator allocator(400 * kBlock);
  const FrameAllocator::Room room = {.before = 3, .behind = 20};
  const uint32_t first = *allocator.Reserve(kNone, room);
  EXPECT_EQ(allocator.Reserve(first - 3, room), first - 3);
  EXPECT_EQ(allocator.Reserve(first + 20, room), first + 20);
  allocator.Unreserve(first);
  EXPECT_NE(allocator.Reserve(kNone, room), first);
  allocator.Unreserve(first - 3);
  allocator.Unreserve(first + 20);
  EXPECT_EQ(allocator.Reserve(kNone, room), first);
}

TEST(FrameAllocatorTest, WhenNoGroupIsLeftAnyFreeBlockServes) {
  FrameAllocator allocator(64 * kBlock);
  for (int i = 0; i < 63; ++i)
    EXPECT_TRUE(allocator.Reserve(kNone, i % 3 != 0 ? kSome : FrameAllocator::Room()).has_value());
  EXPECT_FALSE(allocator.Reserve(kNone, kSome).has_value());
  allocator.CheckInvariants();
}

TEST(FrameAllocatorTest, TheBlockThatWasFreedLastIsReservedFirst) {
  FrameAllocator allocator(10 * kBlock);
  const uint32_t first = *allocator.Reserve(kNone, {}), second = *allocator.Reserve(kNone, {});
  allocator.Unreserve(second);
  allocator.Unreserve(first);
  EXPECT_EQ(allocator.Reserve(kNone, {}), first);
  EXPECT_EQ(allocator.Reserve(kNone, {}), second);
}

TEST(FrameAllocatorTest, FramesOfAnIncompleteBlockAreNeverReserved) {
  FrameAllocator allocator(2 * kBlock + 3);
  EXPECT_EQ(allocator.Reserve(2, {}), 1u);
  EXPECT_FALSE(allocator.Reserve(kNone, {}).has_value());
  for (uint32_t i = 1; i < kBlock + 3; ++i) EXPECT_NE(allocator.TakeAny()->frame / kBlock, 1u);
  EXPECT_EQ(allocator.TakeAny()->frame, kBlock);  // lent
  EXPECT_FALSE(allocator.TakeAt(2 * kBlock + 3, 2).has_value());
  allocator.CheckInvariants();
}

TEST(FrameAllocatorTest, TheHostGetsTheMemoryThatWasLeftLongestAgo) {
  FrameAllocator allocator(4 * kBlock);
  const uint32_t a = *allocator.Reserve(kNone, {}), b = *allocator.Reserve(kNone, {});
  for (const uint32_t block : {a, b})
    for (uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(allocator.TakeAt(block * kBlock + i, block).has_value());
  allocator.Free(a * kBlock);
  allocator.Free(b * kBlock);
  allocator.Free(b * kBlock + 1);
  EXPECT_EQ(allocator.num_warm(), 3u);
  std::vector<uint32_t> given;
  allocator.TakeWarm(1, &given);
  EXPECT_EQ(given, std::vector<uint32_t>{a * kBlock});
  EXPECT_FALSE(allocator.TakeAt(a * kBlock, a).has_value());  // the host is at it
  allocator.FreeClean(given);
  EXPECT_TRUE(allocator.TakeAt(a * kBlock, a)->zeroed);
  EXPECT_FALSE(allocator.TakeAt(b * kBlock, b)->zeroed);
  allocator.CheckInvariants();
}

TEST(FrameAllocatorTest, AgreesWithAModelUnderRandomOperations) {
  for (const uint32_t num_frames : {5u, kBlock, 4 * kBlock + 77, 9 * kBlock, 70 * kBlock}) {
    std::mt19937 random(num_frames);
    CheckedFrameAllocator both(num_frames);
    for (int i = 0; i < 20000; ++i) {
      // It fills for a while, then empties.
      const bool filling = (i / 3000) % 2 == 0;
      const uint32_t block = random() % (num_frames / kBlock + 2);
      switch (random() % 12) {
        case 0:
          both.Reserve(random() % 2 == 0 ? kNone : block,
                       {static_cast<uint32_t>(random() % 3), static_cast<uint32_t>(random() % 9)});
          break;
        case 1:
          both.Unreserve(random());
          break;
        case 2:
          both.GiveBack(random() % 64, [&] { both.TakeAny(); });
          break;
        case 3:
        case 4:
          filling ? both.TakeAny() : both.Free(random());
          break;
        case 5:
          both.TakeAt(block * kBlock + random() % kBlock, random() % 2 == 0 ? kNone : block);
          break;
        case 6:
          both.Free(random());
          break;
        default: {
          const uint32_t own = both.ReservedBlock(random());
          if (filling && own != kNone)
            both.TakeAt(own * kBlock + random() % kBlock, own);
          else
            both.Free(random());
        }
      }
      if (i % 16 == 0) both.Check();
    }
  }
}

}  // namespace
}  // namespace remora::mm
