#include "base/mutex.h"

#include <cstdint>
#include <functional>

#include "base/check.h"

namespace remora {

#ifdef NDEBUG

void AssertNoLocksHeld() {}
uint64_t LocksTakenByThisThread() { return 0; }

#else

namespace {

struct HeldRanks {
  static constexpr int kMax = 16;
  LockRank ranks[kMax];
  int count = 0;
  uint64_t taken = 0;
};

// Debug builds only: what this thread holds, in the order of acquisition.
thread_local HeldRanks held;

}  // namespace

namespace internal {

void RankAcquired(LockRank rank) {
  for (int i = 0; i < held.count; ++i)
    CHECK_MSG(held.ranks[i] < rank, "lock taken against the order of base/lock_rank.h");
  CHECK(held.count < HeldRanks::kMax);
  held.ranks[held.count++] = rank;
  ++held.taken;
}

void RankReleased(LockRank rank) {
  for (int i = held.count - 1; i >= 0; --i) {
    if (held.ranks[i] != rank) continue;
    for (int j = i; j + 1 < held.count; ++j) held.ranks[j] = held.ranks[j + 1];
    --held.count;
    return;
  }
  CHECK_MSG(false, "mutex released by a thread that does not hold it");
}

}  // namespace internal

void AssertNoLocksHeld() { CHECK(held.count == 0); }
uint64_t LocksTakenByThisThread() { return held.taken; }

#endif

bool Mutex::TryLock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (!mu_.try_lock()) return false;
#ifndef NDEBUG
  CHECK(held.count < HeldRanks::kMax);
  held.ranks[held.count++] = rank_;
  ++held.taken;
#endif
  return true;
}

MutexPairLock::MutexPairLock(Mutex* a, Mutex* b) ABSL_NO_THREAD_SAFETY_ANALYSIS
    : first_(std::less<>()(a, b) ? a : b),
      second_(a == b ? nullptr : (std::less<>()(a, b) ? b : a)) {
  CHECK(a->rank_ == b->rank_);
  internal::RankAcquired(first_->rank_);
  first_->mu_.lock();
  if (second_) second_->mu_.lock();
}

MutexPairLock::~MutexPairLock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (second_) second_->mu_.unlock();
  first_->mu_.unlock();
  internal::RankReleased(first_->rank_);
}

}  // namespace remora
