#include "base/entropy.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <vector>

#include "base/seeded_entropy.h"

namespace remora {
namespace {

TEST(HostEntropyTest, FillsAllBytes) {
  HostEntropy entropy;
  // Each byte changes in some of the draws: all 16 equal by chance has a probability of 2^-120 for each byte.
  std::array<std::byte, 40> first{};
  entropy.Fill(first);
  std::array<bool, 40> changed{};
  for (int draw = 0; draw < 16; ++draw) {
    std::array<std::byte, 40> next{};
    entropy.Fill(next);
    for (size_t i = 0; i < next.size(); ++i) changed[i] = changed[i] || next[i] != first[i];
  }
  for (const bool c : changed) EXPECT_TRUE(c);
}

TEST(HostEntropyTest, FillsNothingWhereNothingIsAsked) {
  HostEntropy entropy;
  entropy.Fill({});
}

TEST(SeededEntropyTest, EqualSeedsGiveEqualStreams) {
  SeededEntropy a(7), b(7), c(8);
  std::array<std::byte, 13> x{}, y{}, z{};
  for (int i = 0; i < 5; ++i) {
    a.Fill(x);
    b.Fill(y);
    c.Fill(z);
    EXPECT_EQ(x, y);
    EXPECT_NE(x, z);
  }
  EXPECT_EQ(a.NextU64(), b.NextU64());
}

TEST(SeededEntropyTest, BelowStaysBelowAndReachesAll) {
  SeededEntropy entropy(1);
  std::vector<int> seen(7);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = entropy.Below(seen.size());
    ASSERT_LT(value, seen.size());
    ++seen[value];
  }
  for (const int n : seen) EXPECT_GT(n, 0);
  EXPECT_EQ(entropy.Below(1), 0u);
}

TEST(SeededEntropyTest, BelowTakesTheGreatestBound) {
  SeededEntropy entropy(1);
  EXPECT_LT(entropy.Below(~uint64_t{0}), ~uint64_t{0});
}

}  // namespace
}  // namespace remora
