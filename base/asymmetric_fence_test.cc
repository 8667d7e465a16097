#include "base/asymmetric_fence.h"

#include <atomic>
#include <cstdint>
#include <thread>

#include "gtest/gtest.h"

namespace remora {
namespace {

class AsymmetricFenceTest : public ::testing::TestWithParam<AsymmetricFence::Kind> {};

// Each round both store their round's number and look for the other's: with no fence between, an x86 CPU lets both miss
// it in some rounds of each thousand.
TEST_P(AsymmetricFenceTest, OneOfTwoThatStoreAndLoadSeesTheOther) {
  constexpr uint32_t kRounds = 20'000;
  const AsymmetricFence fence(GetParam());
  struct alignas(128) Side {
    std::atomic<uint32_t> stored{0};
    std::atomic<uint32_t> done{0};  // rounds
    bool saw = false;
  };
  Side light, heavy;
  const auto wait_for = [](const std::atomic<uint32_t>& done, uint32_t rounds) {
    while (done.load(std::memory_order_acquire) < rounds) std::this_thread::yield();
  };
  std::thread other([&] {
    for (uint32_t round = 1; round <= kRounds; ++round) {
      light.stored.store(round, std::memory_order_relaxed);
      fence.Light();
      light.saw = heavy.stored.load(std::memory_order_relaxed) >= round;
      light.done.store(round, std::memory_order_release);
      wait_for(heavy.done, round);
    }
  });
  uint32_t missed = 0;
  for (uint32_t round = 1; round <= kRounds; ++round) {
    heavy.stored.store(round, std::memory_order_relaxed);
    fence.Heavy();
    heavy.saw = light.stored.load(std::memory_order_relaxed) >= round;
    wait_for(light.done, round);
    if (!heavy.saw && !light.saw) ++missed;
    heavy.done.store(round, std::memory_order_release);
  }
  other.join();
  EXPECT_EQ(missed, 0u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, AsymmetricFenceTest,
                         ::testing::Values(AsymmetricFence::Kind::kByHost, AsymmetricFence::Kind::kSymmetric));

TEST(AsymmetricFence, IsSymmetricWhereOneAsksForIt) {
  EXPECT_FALSE(AsymmetricFence(AsymmetricFence::Kind::kSymmetric).by_host());
}

}  // namespace
}  // namespace remora
