#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "base/errno_or.h"
#include "sync/futex_table.h"

namespace remora::sync {
namespace {

#ifdef NDEBUG
constexpr int kSteps = 150'000;  // for each of eight seeds
#else
constexpr int kSteps = 10'000;
#endif
constexpr uint64_t kNumKeys = 6;
FutexKey KeyOf(uint64_t index) { return {1 + index / 4, (index % 4) * 4}; }

class CountingWaiter final : public FutexWaiter {
 public:
  void Woken() override { ++wakes; }
  int wakes = 0;
};

// The obvious model: a list of waiter numbers for each word.
struct Model {
  struct Entry {
    size_t waiter;
    uint32_t bitset;
  };
  std::deque<Entry> queues[kNumKeys];
  std::vector<int> wakes;

  uint32_t Wake(uint64_t key, uint32_t max_wakes, uint32_t bitset) {
    uint32_t woken = 0;
    auto& queue = queues[key];
    for (auto it = queue.begin(); it != queue.end() && woken < max_wakes;) {
      if ((it->bitset & bitset) == 0) {
        ++it;
        continue;
      }
      ++wakes[it->waiter];
      it = queue.erase(it);
      ++woken;
    }
    return woken;
  }
  bool Cancel(size_t waiter) {
    for (auto& queue : queues)
      for (auto it = queue.begin(); it != queue.end(); ++it)
        if (it->waiter == waiter) {
          queue.erase(it);
          return true;
        }
    return false;
  }
};

class FutexTableModelTest : public testing::TestWithParam<uint32_t> {};

TEST_P(FutexTableModelTest, AgreesWithQueuesForEachWord) {
  constexpr size_t kWaiters = 40;
  std::mt19937 random(GetParam());
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  FutexTable table(1u << below(5));
  CountingWaiter waiters[kWaiters];
  Model model;
  model.wakes.resize(kWaiters);
  const auto always = []() -> ErrnoOr<bool> { return true; };
  for (int step = 0; step < kSteps; ++step) {
    const uint64_t key = below(kNumKeys), other = below(kNumKeys);
    const size_t w = below(kWaiters);
    switch (below(6)) {
      case 0:
      case 1:
      case 2: {
        // A waiter that was woken has to cancel before it waits again.
        ASSERT_EQ(table.Cancel(&waiters[w]), model.Cancel(w));
        const uint32_t bitset = 1 + below(7);
        ASSERT_TRUE(table.Wait(KeyOf(key), bitset, &waiters[w], always).ok());
        model.queues[key].push_back({w, bitset});
        break;
      }
      case 3: {
        const uint32_t max_wakes = below(4), bitset = 1 + below(7);
        ASSERT_EQ(table.Wake(KeyOf(key), max_wakes, bitset), model.Wake(key, max_wakes, bitset));
        break;
      }
      case 4: {
        const uint32_t max_wakes = below(3), max_requeues = below(6);
        const auto result = table.Requeue(KeyOf(key), KeyOf(other), max_wakes, max_requeues, always);
        ASSERT_TRUE(result.ok());
        ASSERT_EQ(result->woken, model.Wake(key, max_wakes, ~0u));
        auto& from = model.queues[key];
        const size_t moved = std::min<size_t>(max_requeues, from.size());
        ASSERT_EQ(result->requeued, moved);
        if (key != other)
          for (size_t i = 0; i < moved; ++i) {
            model.queues[other].push_back(from.front());
            from.pop_front();
          }
        break;
      }
      default: {
        const uint32_t first = below(3), second = below(3);
        const bool wake_second = below(2) == 0;
        const auto woken =
            table.WakeOp(KeyOf(key), KeyOf(other), first, second, [&]() -> ErrnoOr<bool> { return wake_second; });
        ASSERT_TRUE(woken.ok());
        uint32_t expected = model.Wake(key, first, ~0u);
        if (wake_second) expected += model.Wake(other, second, ~0u);
        ASSERT_EQ(*woken, expected);
      }
    }
    for (size_t i = 0; i < kWaiters; ++i) ASSERT_EQ(waiters[i].wakes, model.wakes[i]) << "step " << step;
#ifndef NDEBUG
    table.CheckInvariants();
#endif
  }
  for (CountingWaiter& waiter : waiters) table.Cancel(&waiter);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FutexTableModelTest, testing::Range(0u, 8u));

}  // namespace
}  // namespace remora::sync
