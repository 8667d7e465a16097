#include "base/mutex.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "base/lock_rank.h"

namespace remora {
namespace {

TEST(MutexTest, Excludes) {
  Mutex mu(LockRank::kLeaf);
  int guarded = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        MutexLock lock(&mu);
        ++guarded;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(guarded, 3000);
}

TEST(MutexTest, RanksThatAscendAreFine) {
  Mutex outer(LockRank::kKernel), inner(LockRank::kLeaf);
  MutexLock a(&outer);
  MutexLock b(&inner);
}

TEST(MutexTest, LocksMayBeReleasedInAnyOrder) {
  Mutex outer(LockRank::kKernel), inner(LockRank::kLeaf);
  outer.Lock();
  inner.Lock();
  outer.Unlock();
  inner.Unlock();
  AssertNoLocksHeld();
}

TEST(MutexTest, TryLockNeedsNoRank) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Mutex outer(LockRank::kKernel), inner(LockRank::kLeaf);
  MutexLock lock(&inner);
  ASSERT_TRUE(outer.TryLock());
  outer.Unlock();
}

TEST(MutexTest, TryLockFailsWhereHeld) {
  Mutex mu(LockRank::kLeaf);
  MutexLock lock(&mu);
  std::thread([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { EXPECT_FALSE(mu.TryLock()); }).join();
}

TEST(MutexTest, APairOfOneRankIsLockedInAddressOrder) {
  Mutex mutexes[2] = {Mutex(LockRank::kFutexBucket), Mutex(LockRank::kFutexBucket)};
  int guarded = 0;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) {
      MutexPairLock lock(&mutexes[1], &mutexes[0]);
      ++guarded;
    }
  });
  for (int i = 0; i < 1000; ++i) {
    MutexPairLock lock(&mutexes[0], &mutexes[1]);
    ++guarded;
  }
  other.join();
  EXPECT_EQ(guarded, 2000);
}

TEST(MutexTest, APairMayBeOneMutex) {
  Mutex mu(LockRank::kFutexBucket);
  MutexPairLock lock(&mu, &mu);
}

TEST(SharedMutexTest, ReadersShareAndWritersExclude) {
  SharedMutex mu(LockRank::kLeaf);
  int guarded = 0;
  std::thread writer([&] {
    for (int i = 0; i < 1000; ++i) {
      WriterLock lock(&mu);
      ++guarded;
    }
  });
  int last = 0;
  for (int i = 0; i < 1000; ++i) {
    ReaderLock lock(&mu);
    EXPECT_GE(guarded, last);
    last = guarded;
  }
  writer.join();
}

#ifdef NDEBUG
TEST(MutexTest, ReleaseBuildsDoNotCount) { EXPECT_EQ(LocksTakenByThisThread(), 0u); }
#else
TEST(MutexTest, DebugBuildsCountLocks) {
  Mutex mu(LockRank::kLeaf);
  const uint64_t before = LocksTakenByThisThread();
  {
    MutexLock lock(&mu);
  }
  EXPECT_EQ(LocksTakenByThisThread(), before + 1);
}

TEST(MutexDeathTest, ALowerRankInsideAHigherOneIsABug) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Mutex outer(LockRank::kKernel), inner(LockRank::kLeaf);
  inner.Lock();
  EXPECT_DEATH(outer.Lock(), "against the order of base/lock_rank.h");
  inner.Unlock();
}

TEST(MutexDeathTest, TwoLocksOfOneRankAreABug) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Mutex a(LockRank::kInode), b(LockRank::kInode);
  a.Lock();
  EXPECT_DEATH(b.Lock(), "against the order of base/lock_rank.h");
  a.Unlock();
}

TEST(MutexDeathTest, AssertNoLocksHeldSeesLocks) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  SharedMutex mu(LockRank::kInode);
  mu.LockShared();
  EXPECT_DEATH(AssertNoLocksHeld(), "held.count == 0");
  mu.UnlockShared();
  AssertNoLocksHeld();
}
#endif

}  // namespace
}  // namespace remora
