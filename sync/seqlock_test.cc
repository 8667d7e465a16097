#include "sync/seqlock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <thread>

namespace remora::sync {
namespace {

struct Odd {
  uint64_t a = 0;
  uint64_t b = 0;
  uint16_t c = 0;  // a size that is no multiple of a word
};

TEST(SeqLockTest, AnswersWhatWasStored) {
  SeqLock<Odd> lock(Odd{1, 2, 3});
  EXPECT_EQ(lock.Load().b, 2u);
  lock.Store({4, 5, 6});
  const Odd value = lock.Load();
  EXPECT_EQ(value.a, 4u);
  EXPECT_EQ(value.c, 6u);
}

TEST(SeqLockTest, SequenceGrowsWithEachStore) {
  SeqLock<uint32_t> lock;
  const uint64_t before = lock.sequence();
  lock.Store(7);
  EXPECT_GT(lock.sequence(), before);
}

TEST(SeqLockStressTest, NoCopyIsTorn) {
  SeqLock<Odd> lock;
  std::atomic<bool> stop{false};
  uint64_t torn = 0, backwards = 0;
  std::thread reader([&] {
    uint64_t last = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      const Odd value = lock.Load();
      if (value.b != value.a * 3 || value.c != static_cast<uint16_t>(value.a)) ++torn;
      if (value.a < last) ++backwards;
      last = value.a;
    }
  });
  for (uint64_t i = 1; i <= 20000; ++i) lock.Store({i, i * 3, static_cast<uint16_t>(i)});
  stop = true;
  reader.join();
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(backwards, 0u);
}

}  // namespace
}  // namespace remora::sync
