#include "cpu/translator/path_reviews.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace remora::cpu::translator {
namespace {

constexpr uint64_t kBegin = 0x401000, kOther = 0x402010;
constexpr uint64_t kLong = uint64_t{1} << 40;  // instructions: there is enough to spend

TEST(PathReviewsTest, AreDueMoreAndMoreSeldom) {
  PathReviews reviews;
  std::vector<int> due;
  for (int times = 1; times <= 1000; ++times)
    if (reviews.IsDue(kBegin, kLong)) due.push_back(times);
  EXPECT_EQ(due, (std::vector<int>{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}));
  EXPECT_TRUE(reviews.IsDue(kOther, kLong));
}

TEST(PathReviewsTest, TakeASmallPartOfAllInstructions) {
  PathReviews reviews;
  uint64_t steps = 0;
  for (uint64_t instructions = 0; instructions < 1'000'000'000; instructions += 1'000'000) {
    // Others each time, each of which is due.
    if (!reviews.IsDue(kBegin + instructions, instructions)) continue;
    reviews.Spend(PathReviews::kMostSteps);
    steps += PathReviews::kMostSteps;
    EXPECT_LE(steps, 2 * PathReviews::kMostSteps + instructions / 100'000);
  }
  EXPECT_GE(steps, 1'000'000'000 / 100'000);
}

TEST(PathReviewsTest, WhatThereIsNothingToSpendForIsDueLater) {
  PathReviews reviews;
  reviews.Spend(2 * PathReviews::kMostSteps);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(reviews.IsDue(kBegin, 0));
  EXPECT_TRUE(reviews.IsDue(kBegin, kLong));
}

TEST(PathReviewsTest, TellWhatIsLeftAtTheSamePlaceTwiceInSuccession) {
  PathReviews reviews;
  EXPECT_TRUE(reviews.IsDue(kBegin, kLong));
  EXPECT_FALSE(reviews.NoteLeft(kBegin, 7));
  EXPECT_TRUE(reviews.NoteLeft(kBegin, 7));
  EXPECT_FALSE(reviews.NoteLeft(kBegin, 8));
  EXPECT_FALSE(reviews.NoteLeft(kBegin, 7));
  EXPECT_TRUE(reviews.NoteLeft(kBegin, 7));
}

TEST(PathReviewsTest, WhatHasBeenGoneThroughSinceIsNotLeftAgain) {
  PathReviews reviews;
  EXPECT_TRUE(reviews.IsDue(kBegin, kLong));
  EXPECT_FALSE(reviews.NoteLeft(kBegin, 7));
  reviews.ForgetLeft(kBegin);
  EXPECT_FALSE(reviews.NoteLeft(kBegin, 7));
  EXPECT_TRUE(reviews.NoteLeft(kBegin, 7));
}

TEST(PathReviewsTest, OfTwoWithOnePlaceTheLaterOneIsKnown) {
  PathReviews reviews;
  constexpr uint64_t kSamePlace = kBegin ^ (1 << 10) ^ 1;
  EXPECT_TRUE(reviews.IsDue(kBegin, kLong));
  EXPECT_FALSE(reviews.NoteLeft(kBegin, 7));
  EXPECT_TRUE(reviews.IsDue(kSamePlace, kLong));
  EXPECT_FALSE(reviews.NoteLeft(kSamePlace, 7));
  EXPECT_FALSE(reviews.NoteLeft(kBegin, 7));
}

}  // namespace
}  // namespace remora::cpu::translator
