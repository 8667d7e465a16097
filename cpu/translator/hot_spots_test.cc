#include "cpu/translator/hot_spots.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace remora::cpu::translator {
namespace {

constexpr uint64_t kPc = 0x401000;

TEST(HotSpotsTest, IsHotEachTimeItWasFoundOften) {
  HotSpots spots;
  for (uint32_t i = 1; i <= 10 * HotSpots::kTimes; ++i) EXPECT_EQ(spots.Note(kPc), i % HotSpots::kTimes == 0);
}

TEST(HotSpotsTest, IsDismissed) {
  HotSpots spots;
  for (uint32_t i = 1; i < HotSpots::kTimes; ++i) EXPECT_FALSE(spots.Note(kPc));
  EXPECT_TRUE(spots.Note(kPc));
  spots.Dismiss(kPc);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(spots.Note(kPc));
}

TEST(HotSpotsTest, OthersDoNotMakeItLessHot) {
  HotSpots spots;
  uint32_t found = 0;
  for (uint32_t i = 0; i < HotSpots::kTimes; ++i)
    for (uint64_t pc = kPc; pc < kPc + 64; ++pc) found += spots.Note(pc) ? 1 : 0;
  EXPECT_EQ(found, 64u);
}

TEST(HotSpotsTest, OfTwoWithOnePlaceTheMoreFrequentOneIsFound) {
  HotSpots spots;
  // The same place: pc ^ pc >> 10 is alike in its low bits.
  constexpr uint64_t kOther = kPc ^ (1 << 10) ^ 1;
  bool often = false;
  for (int i = 0; i < 10; ++i) {
    for (int k = 0; k < 3; ++k) often |= spots.Note(kPc);
    spots.Note(kOther);
  }
  EXPECT_TRUE(often);
}

}  // namespace
}  // namespace remora::cpu::translator
