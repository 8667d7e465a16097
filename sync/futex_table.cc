#include "sync/futex_table.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace remora::sync {

struct alignas(64) FutexBucket {
  Mutex mu{LockRank::kFutexBucket};
  FutexWaiter* head ABSL_GUARDED_BY(mu) = nullptr;
  FutexWaiter* tail ABSL_GUARDED_BY(mu) = nullptr;
  // Waiters queued here or about to read their word (invariant 3).
  std::atomic<uint32_t> num_waiters{0};

  void Append(FutexWaiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    waiter->prev_ = tail;
    waiter->next_ = nullptr;
    (tail != nullptr ? tail->next_ : head) = waiter;
    tail = waiter;
  }
  void Unlink(FutexWaiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    (waiter->prev_ != nullptr ? waiter->prev_->next_ : head) = waiter->next_;
    (waiter->next_ != nullptr ? waiter->next_->prev_ : tail) = waiter->prev_;
    waiter->next_ = waiter->prev_ = nullptr;
  }
  // Ends the wait of a queued waiter. The owner may destroy it as soon as mu is free.
  void WakeOne(FutexWaiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    Unlink(waiter);
    waiter->queued_ = false;
    num_waiters.fetch_sub(1, std::memory_order_relaxed);
    waiter->Woken();
  }
  uint32_t WakeMatching(FutexKey key, uint32_t max_wakes, uint32_t bitset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    uint32_t woken = 0;
    FutexWaiter* next;
    for (FutexWaiter* waiter = head; waiter != nullptr && woken < max_wakes; waiter = next) {
      next = waiter->next_;
      if (waiter->key_ != key || (waiter->bitset_ & bitset) == 0) continue;
      WakeOne(waiter);
      ++woken;
    }
    return woken;
  }
};

FutexWaiter::~FutexWaiter() { CHECK_MSG(!queued_, "a futex waiter was destroyed while queued"); }

FutexTable::FutexTable(uint32_t num_buckets)
    : mask_(std::bit_ceil(std::clamp(num_buckets, 1u, 1u << 20)) - 1),
      buckets_(std::make_unique<FutexBucket[]>(size_t{mask_} + 1)) {}

FutexTable::~FutexTable() {
  for (uint32_t i = 0; i <= mask_; ++i)
    CHECK_MSG(buckets_[i].num_waiters.load(std::memory_order_acquire) == 0, "a futex table outlived by a waiter");
}

FutexBucket& FutexTable::BucketOf(FutexKey key) {
  // Words lie at multiples of 4. The same for every run, so that a schedule can be replayed.
  uint64_t h = (key.offset >> 2) * 0x9e3779b97f4a7c15 ^ key.object_id * 0xc2b2ae3d27d4eb4f;
  h ^= h >> 32;
  return buckets_[h & mask_];
}

ErrnoOr<void> FutexTable::Wait(FutexKey key, uint32_t bitset, FutexWaiter* waiter,
                               absl::FunctionRef<ErrnoOr<bool>()> still_expected) {
  FutexBucket& bucket = BucketOf(key);
  MutexLock lock(&bucket.mu);
  CHECK(!waiter->queued_);
  bucket.num_waiters.fetch_add(1, std::memory_order_acq_rel);
  const ErrnoOr<bool> expected = still_expected();
  if (!expected.ok() || !*expected) {
    bucket.num_waiters.fetch_sub(1, std::memory_order_relaxed);
    return expected.ok() ? Errno(EAGAIN) : expected.error();
  }
  waiter->key_ = key;
  waiter->bitset_ = bitset;
  waiter->queued_ = true;
  waiter->bucket_.store(&bucket, std::memory_order_release);
  bucket.Append(waiter);
  return Ok();
}

bool FutexTable::Cancel(FutexWaiter* waiter) {
  for (;;) {
    FutexBucket* bucket = waiter->bucket_.load(std::memory_order_acquire);
    if (bucket == nullptr) return false;
    MutexLock lock(&bucket->mu);
    // A requeue may have moved it before the lock was had.
    if (waiter->bucket_.load(std::memory_order_relaxed) != bucket) continue;
    if (!waiter->queued_) return false;
    bucket->Unlink(waiter);
    waiter->queued_ = false;
    bucket->num_waiters.fetch_sub(1, std::memory_order_relaxed);
    return true;
  }
}

uint32_t FutexTable::Wake(FutexKey key, uint32_t max_wakes, uint32_t bitset) {
  FutexBucket& bucket = BucketOf(key);
  // A read-modify-write: it orders the guest's store to the word before the look at the count (invariant 3).
  if (bucket.num_waiters.fetch_add(0, std::memory_order_acq_rel) == 0) return 0;
  MutexLock lock(&bucket.mu);
  return bucket.WakeMatching(key, max_wakes, bitset);
}

ErrnoOr<FutexTable::RequeueResult> FutexTable::Requeue(FutexKey from, FutexKey to, uint32_t max_wakes,
                                                       uint32_t max_requeues,
                                                       absl::FunctionRef<ErrnoOr<bool>()> still_expected) {
  FutexBucket& source = BucketOf(from);
  FutexBucket& target = BucketOf(to);
  MutexPairLock lock(&source.mu, &target.mu);
  const ErrnoOr<bool> expected = still_expected();
  if (!expected.ok()) return expected.error();
  if (!*expected) return Errno(EAGAIN);
  RequeueResult result;
  result.woken = source.WakeMatching(from, max_wakes, ~0u);
  if (from == to) {
    // Nothing moves, but Linux counts them.
    for (FutexWaiter* waiter = source.head; waiter != nullptr && result.requeued < max_requeues; waiter = waiter->next_)
      if (waiter->key_ == from) ++result.requeued;
    return result;
  }
  // Appended at the tail: behind those that wait on `to` already. In one bucket the walk must not meet them again, and
  // does not: their key is `to` by then.
  FutexWaiter* next;
  for (FutexWaiter* waiter = source.head; waiter != nullptr && result.requeued < max_requeues; waiter = next) {
    next = waiter->next_;
    if (waiter->key_ != from) continue;
    source.Unlink(waiter);
    waiter->key_ = to;
    target.Append(waiter);
    if (&source != &target) {
      target.num_waiters.fetch_add(1, std::memory_order_acq_rel);
      source.num_waiters.fetch_sub(1, std::memory_order_relaxed);
      waiter->bucket_.store(&target, std::memory_order_release);
    }
    ++result.requeued;
  }
  return result;
}

ErrnoOr<uint32_t> FutexTable::WakeOp(FutexKey first, FutexKey second, uint32_t max_first, uint32_t max_second,
                                     absl::FunctionRef<ErrnoOr<bool>()> operate) {
  FutexBucket& first_bucket = BucketOf(first);
  FutexBucket& second_bucket = BucketOf(second);
  MutexPairLock lock(&first_bucket.mu, &second_bucket.mu);
  const ErrnoOr<bool> wake_second = operate();
  if (!wake_second.ok()) return wake_second.error();
  uint32_t woken = first_bucket.WakeMatching(first, max_first, ~0u);
  if (*wake_second) woken += second_bucket.WakeMatching(second, max_second, ~0u);
  return woken;
}

}  // namespace remora::sync
