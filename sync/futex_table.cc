#include "sync/futex_table.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace remora::sync {

// Two lines, of which a wake without waiters touches the second alone.
struct alignas(128) FutexBucket {
  // A look that a wake takes, in the bits above the number of waiters: counting it is the read-modify-write that orders
  // the look. More waiters than tasks (2^22) there cannot be.
  static constexpr uint64_t kOneLook = uint64_t{1} << 24;
  static constexpr uint64_t kWaiters = kOneLook - 1;

  Mutex mu{LockRank::kFutexBucket};
  // Waiters queued here or about to read their word (invariant 3), and looks.
  alignas(64) std::atomic<uint64_t> waiters_and_looks{0};
  FutexWaiter* head ABSL_GUARDED_BY(mu) = nullptr;
  FutexWaiter* tail ABSL_GUARDED_BY(mu) = nullptr;
  // Written under mu, read without.
  std::atomic<uint64_t> num_useful_looks{0};
  std::atomic<uint64_t> num_collisions{0};

  void AddWaiter() { waiters_and_looks.fetch_add(1, std::memory_order_acq_rel); }
  void DropWaiter() { waiters_and_looks.fetch_sub(1, std::memory_order_relaxed); }
  uint64_t num_waiters() const { return waiters_and_looks.load(std::memory_order_acquire) & kWaiters; }
  static void Count(std::atomic<uint64_t>& counter, uint64_t n) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

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
    DropWaiter();
    waiter->Woken();
  }
  uint32_t WakeMatching(FutexKey key, uint32_t max_wakes, uint32_t bitset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    uint32_t woken = 0, stepped_over = 0;
    FutexWaiter* next;
    for (FutexWaiter* waiter = head; waiter != nullptr && woken < max_wakes; waiter = next) {
      next = waiter->next_;
      if (waiter->key_ != key) {
        ++stepped_over;
        continue;
      }
      if ((waiter->bitset_ & bitset) == 0) continue;
      WakeOne(waiter);
      ++woken;
    }
    if (stepped_over != 0) Count(num_collisions, stepped_over);
    return woken;
  }
};

FutexWaiter::~FutexWaiter() { CHECK_MSG(!queued_, "a futex waiter was destroyed while queued"); }

FutexTable::FutexTable(uint32_t num_buckets)
    : mask_(std::bit_ceil(std::clamp(num_buckets, 1u, 1u << 20)) - 1),
      buckets_(std::make_unique<FutexBucket[]>(size_t{mask_} + 1)) {}

FutexTable::~FutexTable() {
  for (uint32_t i = 0; i <= mask_; ++i) CHECK_MSG(buckets_[i].num_waiters() == 0, "a futex table outlived by a waiter");
}

FutexBucket& FutexTable::BucketOf(FutexKey key) const {
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
  bucket.AddWaiter();
  const ErrnoOr<bool> expected = still_expected();
  if (!expected.ok() || !*expected) {
    bucket.DropWaiter();
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
    bucket->DropWaiter();
    return true;
  }
}

uint32_t FutexTable::Wake(FutexKey key, uint32_t max_wakes, uint32_t bitset) {
  FutexBucket& bucket = BucketOf(key);
  // A read-modify-write: it orders the guest's store to the word before the look at the count (invariant 3).
  const uint64_t before = bucket.waiters_and_looks.fetch_add(FutexBucket::kOneLook, std::memory_order_acq_rel);
  if ((before & FutexBucket::kWaiters) == 0) return 0;
  MutexLock lock(&bucket.mu);
  FutexBucket::Count(bucket.num_useful_looks, 1);
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
    if (waiter->key_ != from) {
      FutexBucket::Count(source.num_collisions, 1);
      continue;
    }
    source.Unlink(waiter);
    waiter->key_ = to;
    target.Append(waiter);
    if (&source != &target) {
      target.AddWaiter();
      source.DropWaiter();
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

FutexTable::Counters FutexTable::counters() const {
  Counters sum;
  for (uint32_t i = 0; i <= mask_; ++i) {
    const FutexBucket& bucket = buckets_[i];
    // Useful ones first: a look is counted before it turns out to be useful.
    const uint64_t useful = bucket.num_useful_looks.load(std::memory_order_acquire);
    sum.wakes_without_waiters +=
        bucket.waiters_and_looks.load(std::memory_order_acquire) / FutexBucket::kOneLook - useful;
    sum.collisions += bucket.num_collisions.load(std::memory_order_relaxed);
  }
  return sum;
}

void FutexTable::CheckInvariants() const {
  for (uint32_t i = 0; i <= mask_; ++i) {
    FutexBucket& bucket = buckets_[i];
    MutexLock lock(&bucket.mu);
    uint64_t queued = 0;
    const FutexWaiter* before = nullptr;
    for (const FutexWaiter* waiter = bucket.head; waiter != nullptr; waiter = waiter->next_) {
      CHECK(waiter->queued_ && waiter->prev_ == before);
      CHECK(waiter->bucket_.load(std::memory_order_relaxed) == &bucket && &BucketOf(waiter->key_) == &bucket);
      before = waiter;
      ++queued;
    }
    CHECK(bucket.tail == before);
    CHECK(bucket.num_waiters() == queued);
  }
}

}  // namespace remora::sync
