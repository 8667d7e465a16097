#include "cpu/translator/path_shape.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace remora::cpu::translator {
namespace {

using Pcs = std::vector<uint64_t>;

// Runs what `pcs` tells, up to the last but one, as the engine does; `ends`: where no path goes on.
void Follow(const Pcs& pcs, PathShape* shape, uint64_t ends = 0) {
  shape->Clear();
  for (size_t i = 0; i + 1 < pcs.size() && (!shape->is_known() || shape->may_go_round()); ++i)
    shape->Add(pcs[i], pcs[i + 1], pcs[i + 1] == ends);
}

Pcs From(std::span<const uint64_t> pcs) { return {pcs.begin(), pcs.end()}; }

Pcs Row(uint64_t first, size_t count) {
  Pcs row;
  for (size_t i = 0; i < count; ++i) row.push_back(first + i);
  return row;
}

Pcs operator+(Pcs a, const Pcs& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(PathShapeTest, WhatIsRunTwiceGoesRound) {
  PathShape shape;
  Follow({1, 2, 3, 1, 2, 3, 1, 9, 9}, &shape);
  EXPECT_EQ(From(shape.Round()), (Pcs{1, 2, 3}));
  EXPECT_FALSE(shape.may_go_round());
}

TEST(PathShapeTest, ARoundMayComeByItsBeginningInTheMiddle) {
  PathShape shape;
  const Pcs round = {1, 2, 3, 1, 4, 5};
  Follow(round + round + Pcs{1}, &shape);
  EXPECT_EQ(From(shape.Round()), round);
}

TEST(PathShapeTest, ARoundGoesThroughWhatOthersBeginWith) {
  PathShape shape;
  Follow({1, 2, 3, 1, 2, 3, 1}, &shape, /*ends=*/3);
  EXPECT_EQ(From(shape.Round()), (Pcs{1, 2, 3}));
  EXPECT_EQ(From(shape.Path()), (Pcs{1, 2}));
}

TEST(PathShapeTest, WithoutARoundItEndsWhereItComesBack) {
  PathShape shape;
  Follow({1, 2, 3, 1, 2, 4, 1, 2, 5}, &shape);
  EXPECT_TRUE(shape.Round().empty());
  EXPECT_EQ(From(shape.Path()), (Pcs{1, 2, 3}));
  EXPECT_EQ(shape.SeenTwice(), 2u);
}

TEST(PathShapeTest, ItEndsWhereAnotherBegins) {
  PathShape shape;
  Follow({1, 2, 3, 4, 5, 6}, &shape, /*ends=*/4);
  EXPECT_TRUE(shape.has_ended());
  EXPECT_EQ(From(shape.Path()), (Pcs{1, 2, 3}));
  EXPECT_EQ(shape.SeenTwice(), 0u);
}

TEST(PathShapeTest, ItEndsWhereALoopGoesRoundForTheThirdTime) {
  PathShape shape;
  Follow({1, 7, 8, 7, 8, 7, 8, 7, 8}, &shape);
  EXPECT_EQ(From(shape.Path()), (Pcs{1, 7, 8, 7, 8, 7, 8}));
}

TEST(PathShapeTest, WhatHasBeenSeenOnceIsShorterThanWhatHasBeenSeenTwice) {
  PathShape shape;
  // It comes back, and then goes the same way for longer than what is seen once may be.
  const Pcs same = Row(1, PathShape::kMaxOnce + 100);
  Follow(same + Row(5000, 50) + same + Row(6000, 2000), &shape);
  EXPECT_TRUE(shape.Round().empty());
  EXPECT_EQ(shape.SeenTwice(), same.size());
  EXPECT_EQ(From(shape.Path()), same);
  Follow(Row(1, 2000), &shape);
  EXPECT_EQ(shape.SeenTwice(), 0u);
  EXPECT_EQ(From(shape.Path()), Row(1, PathShape::kMaxOnce));
}

TEST(PathShapeTest, IsLookedForNoLongerThanARoundMayBe) {
  PathShape shape;
  Follow(Row(1, 5000), &shape);
  EXPECT_FALSE(shape.may_go_round());
  EXPECT_TRUE(shape.is_known());
  for (const size_t length : {PathShape::kMaxTwice - 1, PathShape::kMaxTwice, PathShape::kMaxTwice + 1}) {
    const Pcs round = Row(1, length);
    Follow(round + round + round, &shape);
    EXPECT_EQ(shape.Round().size(), length <= PathShape::kMaxTwice ? length : 0) << length;
    EXPECT_LE(shape.Path().size(), PathShape::kMaxTwice);
  }
}

// Runs on until the round is steady.
void FollowUntilSteady(const Pcs& pcs, PathShape* shape) {
  shape->Clear();
  for (size_t i = 0; i + 1 < pcs.size() && shape->may_become_steady(); ++i) shape->Add(pcs[i], pcs[i + 1], false);
}

Pcs Times(size_t times, const Pcs& round) {
  Pcs all;
  for (size_t i = 0; i < times; ++i) all = all + round;
  return all;
}

TEST(PathShapeTest, ARoundIsSteadyWhenItHasGoneOnForAWhile) {
  PathShape shape;
  for (const size_t length :
       {size_t{2}, size_t{100}, PathShape::kSteady - 1, PathShape::kSteady, PathShape::kMaxTwice}) {
    const Pcs round = Row(1, length);
    const size_t times = (PathShape::kSteady + length - 1) / length + 1;
    FollowUntilSteady(Times(times - 1, round) + Pcs{1}, &shape);
    EXPECT_FALSE(shape.is_steady()) << length;
    FollowUntilSteady(Times(times, round) + Pcs{1}, &shape);
    EXPECT_TRUE(shape.is_steady()) << length;
    EXPECT_EQ(From(shape.Round()), round);
  }
}

TEST(PathShapeTest, ASteadyRoundMayComeBehindWhatWasDifferent) {
  PathShape shape;
  const Pcs other = Row(1, 30), round = Pcs{1} + Row(5000, 299);
  FollowUntilSteady(other + Times(3, round) + Pcs{1}, &shape);
  EXPECT_EQ(From(shape.Round()), round);
  // While that which has been the same twice only may be chance.
  const Pcs another = Pcs{1} + Row(7000, 20);
  FollowUntilSteady(other + Times(2, round) + another + Times(2, round) + other + Pcs{1}, &shape);
  EXPECT_FALSE(shape.is_steady());
  EXPECT_TRUE(shape.Round().empty());
}

TEST(PathShapeTest, ASteadyRoundMayHaveSeveralLaps) {
  PathShape shape;
  for (const size_t length : {size_t{50}, size_t{130}, size_t{300}, size_t{400}, size_t{505}, PathShape::kMaxTwice}) {
    const Pcs round = Row(1, length / 3) + Pcs{1} + Row(5000, length - length / 3 - 1);
    FollowUntilSteady(Times(20, round), &shape);
    EXPECT_TRUE(shape.is_steady()) << length;
    EXPECT_TRUE(std::ranges::is_permutation(shape.Round(), round));  // it begins with any of its laps
  }
  const Pcs round = Row(1, 130) + Pcs{1} + Row(5000, 269);
  FollowUntilSteady(Pcs{1} + Row(9000, 50) + Times(20, round), &shape);
  EXPECT_EQ(shape.Round().size(), round.size());
  EXPECT_TRUE(shape.is_steady());
  // What two laps have been is nothing that one of them has.
  const Pcs a = Row(1, 300), b = Pcs{1} + Row(5000, 99);
  FollowUntilSteady(a + b + a + b + b + b + Pcs{1}, &shape);
  EXPECT_FALSE(shape.is_steady());
}

TEST(PathShapeTest, ASteadyRoundIsLookedForNoLongerThanOneMayBe) {
  PathShape shape;
  FollowUntilSteady(Times(3, Row(1, PathShape::kMaxTwice + 1)), &shape);
  EXPECT_FALSE(shape.may_become_steady());
  EXPECT_FALSE(shape.is_steady());
  FollowUntilSteady(Row(1, 5000), &shape);
  EXPECT_FALSE(shape.may_become_steady());
}

TEST(PathShapeTest, NothingIsLeftOfTheLastOne) {
  PathShape shape;
  Follow({1, 2, 1, 2, 1}, &shape);
  shape.Clear();
  EXPECT_TRUE(shape.Round().empty());
  EXPECT_TRUE(shape.Path().empty());
  EXPECT_FALSE(shape.is_known());
  EXPECT_FALSE(shape.has_ended());
}

// Against what the same is by its definition.
TEST(PathShapeTest, RandomWalks) {
  std::mt19937 random(1);
  size_t rounds = 0;
  for (int walk = 0; walk < 20'000; ++walk) {
    Pcs pcs = {1};
    const uint32_t places = 2 + random() % 5, ends = random() % 8;
    for (int i = 0; i < 40; ++i) pcs.push_back(1 + random() % places);
    PathShape shape;
    size_t followed = 0;
    for (; followed < 39 && shape.may_go_round(); ++followed)
      shape.Add(pcs[followed], pcs[followed + 1], pcs[followed + 1] == ends);
    // The first time that it is back where it began, and has done the same twice.
    size_t round = 0;
    for (size_t half = 1; round == 0 && 2 * half <= followed; ++half) {
      bool equal = pcs[2 * half] == 1;
      for (size_t i = 0; i < half; ++i) equal = equal && pcs[i] == pcs[half + i];
      if (equal) round = half;
    }
    EXPECT_EQ(shape.Round().size(), round);
    rounds += round != 0 ? 1 : 0;
    size_t back = 0, end = 0;
    for (size_t i = 1; i <= followed; ++i) {
      if (back == 0 && pcs[i] == 1) back = i;
      if (end == 0 && (pcs[i] == ends || pcs[i] == 1)) end = i;
    }
    size_t twice = 0;
    if (back != 0)
      while (twice < end && back + twice < followed && pcs[twice] == pcs[back + twice]) ++twice;
    EXPECT_EQ(shape.SeenTwice(), twice);
    EXPECT_GE(shape.Path().size(), twice);
  }
  EXPECT_GT(rounds, 1000u);
}

}  // namespace
}  // namespace remora::cpu::translator
