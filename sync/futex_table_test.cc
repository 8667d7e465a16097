#include "sync/futex_table.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <random>
#include <semaphore>
#include <thread>
#include <vector>

#include "base/errno_or.h"
#include "base/mutex.h"

// Counted, to show what allocates.
namespace {
thread_local uint64_t allocations_of_this_thread = 0;
}  // namespace

#if !__has_feature(thread_sanitizer)  // which brings its own and cannot be told
void* operator new(std::size_t size) {
  ++allocations_of_this_thread;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace remora::sync {
namespace {

constexpr FutexKey kA{1, 0x1000};
constexpr FutexKey kB{1, 0x1004};

class CountingWaiter final : public FutexWaiter {
 public:
  void Woken() override { ++wakes; }
  int wakes = 0;
};

ErrnoOr<bool> Expected() { return true; }

// One bucket makes every word collide; many make most fall apart.
class FutexTableTest : public testing::TestWithParam<uint32_t> {
 protected:
  void Enqueue(CountingWaiter& waiter, FutexKey key, uint32_t bitset = ~0u) {
    ASSERT_TRUE(table_.Wait(key, bitset, &waiter, Expected).ok());
  }
  FutexTable table_{GetParam()};
};

TEST_P(FutexTableTest, WaitFailsWhereTheWordChanged) {
  CountingWaiter waiter;
  EXPECT_EQ(table_.Wait(kA, ~0u, &waiter, []() -> ErrnoOr<bool> { return false; }).error_number(), EAGAIN);
  EXPECT_EQ(table_.Wait(kA, ~0u, &waiter, []() -> ErrnoOr<bool> { return Errno(EFAULT); }).error_number(), EFAULT);
  EXPECT_EQ(table_.Wake(kA, 1), 0u);
  EXPECT_FALSE(table_.Cancel(&waiter));
}

TEST_P(FutexTableTest, WakesTheOldestOfTheKeyFirst) {
  CountingWaiter first, second, other;
  Enqueue(other, kB);
  Enqueue(first, kA);
  Enqueue(second, kA);
  EXPECT_EQ(table_.Wake(kA, 1), 1u);
  EXPECT_EQ(first.wakes, 1);
  EXPECT_EQ(second.wakes, 0);
  EXPECT_EQ(table_.Wake(kA, 100), 1u);
  EXPECT_EQ(table_.Wake(kA, 100), 0u);
  EXPECT_EQ(other.wakes, 0);
  EXPECT_TRUE(table_.Cancel(&other));
}

TEST_P(FutexTableTest, WakesOnlyBitsetsThatMeet) {
  CountingWaiter low, high;
  Enqueue(low, kA, 1);
  Enqueue(high, kA, 2);
  EXPECT_EQ(table_.Wake(kA, 100, 2), 1u);
  EXPECT_EQ(high.wakes, 1);
  EXPECT_TRUE(table_.Cancel(&low));
}

TEST_P(FutexTableTest, CancelTellsWhetherAWakeCameFirst) {
  CountingWaiter waiter;
  Enqueue(waiter, kA);
  EXPECT_TRUE(table_.Cancel(&waiter));
  EXPECT_FALSE(table_.Cancel(&waiter));
  EXPECT_EQ(table_.Wake(kA, 1), 0u);
  Enqueue(waiter, kA);
  EXPECT_EQ(table_.Wake(kA, 1), 1u);
  EXPECT_FALSE(table_.Cancel(&waiter));
}

TEST_P(FutexTableTest, RequeueWakesSomeAndMovesTheRest) {
  CountingWaiter waiters[5], resident;
  Enqueue(resident, kB);
  for (CountingWaiter& waiter : waiters) Enqueue(waiter, kA);
  const auto result = table_.Requeue(kA, kB, 1, 3, Expected);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->woken, 1u);
  EXPECT_EQ(result->requeued, 3u);
  EXPECT_EQ(waiters[0].wakes, 1);
  // The moved stand behind who waited there before, in their order.
  EXPECT_EQ(table_.Wake(kB, 2), 2u);
  EXPECT_EQ(resident.wakes, 1);
  EXPECT_EQ(waiters[1].wakes, 1);
  EXPECT_EQ(table_.Wake(kB, 100), 2u);
  EXPECT_EQ(table_.Wake(kA, 100), 1u);
  EXPECT_EQ(waiters[4].wakes, 1);
}

TEST_P(FutexTableTest, ARequeuedWaiterCanBeCancelled) {
  CountingWaiter waiter;
  Enqueue(waiter, kA);
  ASSERT_TRUE(table_.Requeue(kA, kB, 0, 1, Expected).ok());
  EXPECT_TRUE(table_.Cancel(&waiter));
  EXPECT_EQ(table_.Wake(kB, 1), 0u);
}

TEST_P(FutexTableTest, RequeueOntoItselfMovesNothing) {
  CountingWaiter first, second;
  Enqueue(first, kA);
  Enqueue(second, kA);
  const auto result = table_.Requeue(kA, kA, 0, 10, Expected);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->requeued, 2u);
  EXPECT_EQ(table_.Wake(kA, 1), 1u);
  EXPECT_EQ(first.wakes, 1);
  EXPECT_TRUE(table_.Cancel(&second));
}

TEST_P(FutexTableTest, RequeueChecksTheWord) {
  EXPECT_EQ(table_.Requeue(kA, kB, 1, 1, []() -> ErrnoOr<bool> { return false; }).error_number(), EAGAIN);
  EXPECT_EQ(table_.Requeue(kA, kB, 1, 1, []() -> ErrnoOr<bool> { return Errno(EFAULT); }).error_number(), EFAULT);
}

TEST_P(FutexTableTest, WakeOpWakesTheSecondWordOnlyIfAsked) {
  CountingWaiter a, b;
  Enqueue(a, kA);
  Enqueue(b, kB);
  auto woken = table_.WakeOp(kA, kB, 10, 10, []() -> ErrnoOr<bool> { return false; });
  ASSERT_TRUE(woken.ok());
  EXPECT_EQ(*woken, 1u);
  woken = table_.WakeOp(kA, kB, 10, 10, []() -> ErrnoOr<bool> { return true; });
  ASSERT_TRUE(woken.ok());
  EXPECT_EQ(*woken, 1u);
  EXPECT_EQ(a.wakes + b.wakes, 2);
  EXPECT_EQ(table_.WakeOp(kA, kB, 1, 1, []() -> ErrnoOr<bool> { return Errno(ENOSYS); }).error_number(), ENOSYS);
}

TEST_P(FutexTableTest, KeysOfDifferentObjectsAreDifferentWords) {
  CountingWaiter waiter;
  Enqueue(waiter, {1, 0x1000});
  EXPECT_EQ(table_.Wake({2, 0x1000}, 1), 0u);
  EXPECT_EQ(table_.Wake({1, 0x1000}, 1), 1u);
}

class SemaphoreWaiter final : public FutexWaiter {
 public:
  void Woken() override { semaphore.release(); }
  std::counting_semaphore<> semaphore{0};
};

TEST_P(FutexTableTest, AWakeWithoutWaitersTakesNoLockAndNoMemory) {
  CountingWaiter waiter;
  Enqueue(waiter, kA);
  EXPECT_EQ(table_.Wake(kA, 1), 1u);
  const uint64_t allocations = allocations_of_this_thread, locks = LocksTakenByThisThread();
  for (uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(table_.Wake({1, 4 * i}, 1), 0u);
  EXPECT_EQ(allocations_of_this_thread, allocations);
  EXPECT_EQ(LocksTakenByThisThread(), locks);
  EXPECT_EQ(table_.counters().wakes_without_waiters, 1000u);
}

TEST_P(FutexTableTest, NothingAllocates) {
  CountingWaiter first, second;
  const uint64_t allocations = allocations_of_this_thread;
  Enqueue(first, kA);
  Enqueue(second, kA);
  EXPECT_TRUE(table_.Requeue(kA, kB, 1, 1, Expected).ok());
  EXPECT_TRUE(table_.WakeOp(kA, kB, 1, 1, Expected).ok());
  EXPECT_EQ(allocations_of_this_thread, allocations);
  EXPECT_EQ(second.wakes, 1);
}

TEST_P(FutexTableTest, CountsTheWaitersOfOtherWordsThatItStepsOver) {
  CountingWaiter a, b;
  Enqueue(a, kA);
  Enqueue(b, kB);
  EXPECT_EQ(table_.Wake(kB, 1), 1u);
  EXPECT_EQ(table_.Wake(kA, 1), 1u);
  const bool one_bucket = GetParam() == 1;
  if (one_bucket) EXPECT_EQ(table_.counters().collisions, 1u);
  EXPECT_EQ(table_.counters().wakes_without_waiters, 0u);
}

// A mutex as glibc's low-level lock makes one of a futex word, contended by three threads.
TEST_P(FutexTableTest, StressLocks) {
  std::atomic<uint32_t> word{0};
  int64_t guarded = 0;  // TSan sees whether the lock excludes
  const auto lock = [&] {
    uint32_t seen = 0;
    if (word.compare_exchange_strong(seen, 1, std::memory_order_acquire)) return;
    while (word.exchange(2, std::memory_order_acquire) != 0) {
      SemaphoreWaiter waiter;
      if (table_.Wait(kA, ~0u, &waiter, [&]() -> ErrnoOr<bool> { return word.load(std::memory_order_relaxed) == 2; })
              .ok())
        waiter.semaphore.acquire();
      table_.Cancel(&waiter);
    }
  };
  const auto unlock = [&] {
    if (word.exchange(0, std::memory_order_release) == 2) table_.Wake(kA, 1);
  };
  constexpr int kThreads = 3, kRounds = 2000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        lock();
        ++guarded;
        unlock();
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(guarded, kThreads * kRounds);
}

// Waiters that time out at random while others wake and requeue them: each wait ends exactly once, by a wake or by its
// Cancel.
TEST_P(FutexTableTest, StressCancelAgainstRequeue) {
  constexpr FutexKey kKeys[] = {{1, 0}, {1, 4}, {1, 8}, {2, 0}};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wakes_counted{0};
  std::vector<std::thread> threads;
  for (uint32_t seed = 0; seed < 2; ++seed)
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      while (!stop.load(std::memory_order_relaxed)) {
        const FutexKey from = kKeys[random() % 4], to = kKeys[random() % 4];
        const auto result = table_.Requeue(from, to, random() % 2, 1 + random() % 2, Expected);
        uint64_t woken = result->woken;
        if (random() % 4 == 0) woken += table_.Wake(kKeys[random() % 4], 1);
        wakes_counted.fetch_add(woken, std::memory_order_relaxed);
      }
    });
  std::atomic<uint64_t> wakes_heard{0}, cancelled{0};
  constexpr int kRounds = 2000;
  std::vector<std::thread> waiters;
  for (uint32_t seed = 0; seed < 2; ++seed)
    waiters.emplace_back([&, seed] {
      std::mt19937 random(100 + seed);
      for (int i = 0; i < kRounds; ++i) {
        auto waiter = std::make_unique<CountingWaiter>();
        ASSERT_TRUE(table_.Wait(kKeys[random() % 4], ~0u, waiter.get(), Expected).ok());
        for (uint32_t spin = random() % 64; spin > 0; --spin) std::atomic_signal_fence(std::memory_order_seq_cst);
        const bool was_queued = table_.Cancel(waiter.get());
        // Its plain counter is ours once Cancel has returned.
        ASSERT_EQ(waiter->wakes, was_queued ? 0 : 1);
        (was_queued ? cancelled : wakes_heard).fetch_add(1, std::memory_order_relaxed);
      }
    });
  for (std::thread& waiter : waiters) waiter.join();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wakes_heard.load(), wakes_counted.load());
  EXPECT_EQ(wakes_heard.load() + cancelled.load(), 2u * kRounds);
}

INSTANTIATE_TEST_SUITE_P(Buckets, FutexTableTest, testing::Values(1u, 2u, 256u));

}  // namespace
}  // namespace remora::sync
