#include "benchmarks/rivals/futex_shards_rival.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>

#include "base/errno_or.h"
#include "sync/futex_table.h"

namespace remora::benchmarks {
namespace {

struct Ours final : sync::FutexWaiter {
  void Woken() override { ++wakes; }
  int wakes = 0;
};
struct Theirs final : FutexWaiterRival {
  void Woken() override { ++wakes; }
  int wakes = 0;
};

TEST(FutexShardsRivalTest, AnswersAsTheTableDoes) {
  constexpr uint32_t kWaiters = 16;
  Ours ours[kWaiters];
  Theirs theirs[kWaiters];
  sync::FutexTable table(8);
  FutexTableRival rival(8);
  std::mt19937 random(1);
  const auto key = [&] { return sync::FutexKey{1 + random() % 2, random() % 4 * 4}; };
  for (int step = 0; step < 20'000; ++step) {
    const sync::FutexKey word = key(), other = key();
    const uint32_t w = random() % kWaiters;
    switch (random() % 5) {
      case 0:
      case 1: {
        ASSERT_EQ(table.Cancel(&ours[w]), rival.Cancel(&theirs[w]));
        const uint32_t bitset = 1 + random() % 7;
        const bool expected = random() % 4 != 0;
        ASSERT_EQ(table.Wait(word, bitset, &ours[w], [&]() -> ErrnoOr<bool> { return expected; }).ok(),
                  rival.Wait(word, bitset, &theirs[w], [&] { return expected; }));
        break;
      }
      case 2:
        ASSERT_EQ(table.Cancel(&ours[w]), rival.Cancel(&theirs[w]));
        break;
      case 3: {
        const uint32_t max = random() % 3, bitset = 1 + random() % 7;
        ASSERT_EQ(table.Wake(word, max, bitset), rival.Wake(word, max, bitset));
        break;
      }
      default: {
        const uint32_t wakes = random() % 2, moves = random() % 4;
        const auto result = table.Requeue(word, other, wakes, moves, []() -> ErrnoOr<bool> { return true; });
        ASSERT_EQ(result->woken + result->requeued, rival.Requeue(word, other, wakes, moves));
      }
    }
    for (uint32_t i = 0; i < kWaiters; ++i) ASSERT_EQ(ours[i].wakes, theirs[i].wakes) << step;
  }
  for (Ours& waiter : ours) table.Cancel(&waiter);
}

}  // namespace
}  // namespace remora::benchmarks
