#include "cpu/translator/stored_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace remora::cpu::translator {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class StoredPathsTest : public testing::Test {
 protected:
  // Path and step of each.
  std::vector<std::pair<uint32_t, uint32_t>> At(uint64_t pc) const {
    std::vector<StoredPaths::Place> places;
    paths_.FindAt(pc, &places);
    std::vector<std::pair<uint32_t, uint32_t>> found;
    for (const StoredPaths::Place& place : places) {
      EXPECT_EQ(place.path.steps[place.step], pc);
      found.emplace_back(place.number, place.step);
    }
    return found;
  }

  StoredPaths paths_;
};

TEST_F(StoredPathsTest, IsFoundWhereItBeginsAndBehindJumps) {
  const std::vector<uint64_t> steps = {0x1000, 0x1003, 0x1012, 0x1022, 0x0f00, 0x0f01, 0x1000, 0x1003};
  paths_.Add({.goes_round = true, .steps = steps});
  const auto first = At(0x1000);
  ASSERT_EQ(first.size(), 2u);
  const uint32_t number = first[0].first;
  EXPECT_THAT(first, ElementsAre(std::pair(number, 0u), std::pair(number, 6u)));
  EXPECT_THAT(At(0x1003), IsEmpty());
  EXPECT_THAT(At(0x1012), IsEmpty()) << "15 bytes may be one instruction";
  EXPECT_THAT(At(0x1022), ElementsAre(std::pair(number, 3u)));
  EXPECT_THAT(At(0x0f00), ElementsAre(std::pair(number, 4u)));
  std::vector<StoredPaths::Place> places;
  paths_.FindAt(0x0f00, &places);
  EXPECT_TRUE(places[0].path.goes_round);
}

TEST_F(StoredPathsTest, WhatHasAnEndIsNotFoundCloseBeforeIt) {
  // Of eight steps, and of twelve, each behind a jump.
  std::vector<uint64_t> eight, twelve;
  for (uint64_t i = 0; i < 8; ++i) eight.push_back(0x1000 + i * 32);
  for (uint64_t i = 0; i < 12; ++i) twelve.push_back(0x2000 + i * 32);
  paths_.Add({.steps = eight});
  paths_.Add({.steps = twelve});
  EXPECT_EQ(At(0x1000).size(), 1u);
  EXPECT_THAT(At(0x1020), IsEmpty());
  EXPECT_EQ(At(0x2000 + 3 * 32).size(), 1u);
  EXPECT_THAT(At(0x2000 + 4 * 32), IsEmpty());
  EXPECT_TRUE(paths_.IsAnyAt(0x1000) && paths_.IsAnyAt(0x2000 + 3 * 32));
  EXPECT_FALSE(paths_.IsAnyAt(0x1020) || paths_.IsAnyAt(0x2000 + 4 * 32));
  paths_.Add({.goes_round = true, .steps = twelve});
  EXPECT_EQ(At(0x2000 + 11 * 32).size(), 1u);
}

TEST_F(StoredPathsTest, OfManyAtOnePlaceTheOthersTurnComes) {
  constexpr size_t kPaths = 3 * StoredPaths::kMaxPlaces;
  std::deque<std::vector<uint64_t>> all;
  for (uint64_t i = 0; i < kPaths; ++i) paths_.Add({.steps = all.emplace_back(std::vector<uint64_t>{0x1000, i})});
  std::set<uint32_t> seen;
  while (paths_.num_paths() > 0) {
    const auto found = At(0x1000);
    ASSERT_EQ(found.size(), std::min(paths_.num_paths(), StoredPaths::kMaxPlaces));
    for (const auto& [number, step] : found) {
      seen.insert(number);
      paths_.Forget(number);
    }
  }
  EXPECT_EQ(seen.size(), kPaths);
}

TEST_F(StoredPathsTest, TheSameOneIsAddedOnce) {
  const std::vector<uint64_t> steps = {1, 100, 200}, same = steps, longer = {1, 100, 200, 300};
  paths_.Add({.steps = steps});
  paths_.Add({.steps = same});
  EXPECT_EQ(paths_.num_paths(), 1u);
  paths_.Add({.goes_round = true, .steps = steps});
  paths_.Add({.goes_round = true, .steps = longer});
  EXPECT_EQ(paths_.num_paths(), 3u);
  EXPECT_EQ(At(1).size(), 3u);
  EXPECT_EQ(At(100).size(), 2u);
}

TEST_F(StoredPathsTest, WhatIsNotFollowedSeveralTimesIsForgotten) {
  const std::vector<uint64_t> steps = {1, 100};
  paths_.Add({.goes_round = true, .steps = steps});
  const uint32_t number = At(1)[0].first;
  for (int i = 1; i < StoredPaths::kMaxMisses; ++i) paths_.NoteMiss(number);
  EXPECT_EQ(At(100).size(), 1u);
  paths_.NoteMiss(number);
  EXPECT_THAT(At(1), IsEmpty());
  EXPECT_EQ(paths_.num_paths(), 0u);
  paths_.NoteMiss(number);
  paths_.Forget(number);
  paths_.Add({.goes_round = true, .steps = steps});
  EXPECT_THAT(At(1), UnorderedElementsAre(std::pair(number + 1, 0u)));
}

TEST_F(StoredPathsTest, AgreesWithAModel) {
  std::mt19937_64 random(5);
  std::deque<std::vector<uint64_t>> all;
  std::map<uint32_t, const std::vector<uint64_t>*> model;
  for (int i = 0; i < 3'000; ++i) {
    if (random() % 2 != 0) {
      std::vector<uint64_t>& steps = all.emplace_back();
      for (uint64_t left = 1 + random() % 6; left > 0; --left) steps.push_back(random() % 128 * 8);
      const size_t before = paths_.num_paths();
      paths_.Add({.goes_round = true, .steps = steps});
      const bool known = std::ranges::any_of(model, [&](const auto& path) { return *path.second == steps; });
      ASSERT_EQ(paths_.num_paths(), before + (known ? 0 : 1));
      if (!known) {
        uint32_t number = 0;
        for (const auto& [other, step] : At(steps[0])) number = std::max(number, other);
        ASSERT_TRUE(model.emplace(number, &steps).second);
      }
    } else if (!model.empty()) {
      const auto path = std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % model.size()));
      paths_.Forget(path->first);
      model.erase(path);
    }
    const uint64_t pc = random() % 128 * 8;
    std::set<std::pair<uint32_t, uint32_t>> expected;
    for (const auto& [number, steps] : model)
      for (uint32_t step = 0; step < steps->size(); ++step)
        if ((*steps)[step] == pc && (step == 0 || pc < (*steps)[step - 1] || pc > (*steps)[step - 1] + 8))
          expected.emplace(number, step);
    const auto found = At(pc);
    ASSERT_EQ((std::set<std::pair<uint32_t, uint32_t>>(found.begin(), found.end())), expected);
    ASSERT_EQ(paths_.num_paths(), model.size());
  }
}

}  // namespace
}  // namespace remora::cpu::translator
