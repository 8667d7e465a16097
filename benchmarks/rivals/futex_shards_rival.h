#ifndef REMORA_BENCHMARKS_RIVALS_FUTEX_SHARDS_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_FUTEX_SHARDS_RIVAL_H_

#include <cstdint>
#include <memory>
#include <mutex>

#include "sync/futex_table.h"

namespace remora::benchmarks {

class FutexTableRival;

class FutexWaiterRival {
 public:
  virtual void Woken() = 0;

 protected:
  ~FutexWaiterRival() = default;

 private:
  friend class FutexTableRival;
  sync::FutexKey key_;
  uint32_t bitset_ = 0;
  FutexWaiterRival* next_ = nullptr;
  FutexWaiterRival* prev_ = nullptr;
  bool queued_ = false;
};

// The same buckets and lists under one mutex for all of them: nothing can deadlock, and nothing goes on side by side.
class FutexTableRival {
 public:
  explicit FutexTableRival(uint32_t num_buckets = 256)
      : mask_(num_buckets - 1), buckets_(std::make_unique<Bucket[]>(num_buckets)) {}

  template <typename F>
  bool Wait(sync::FutexKey key, uint32_t bitset, FutexWaiterRival* waiter, F still_expected) {
    const std::lock_guard lock(mu_);
    if (!still_expected()) return false;
    waiter->key_ = key;
    waiter->bitset_ = bitset;
    waiter->queued_ = true;
    BucketOf(key).Append(waiter);
    return true;
  }
  bool Cancel(FutexWaiterRival* waiter) {
    const std::lock_guard lock(mu_);
    if (!waiter->queued_) return false;
    waiter->queued_ = false;
    BucketOf(waiter->key_).Unlink(waiter);
    return true;
  }
  uint32_t Wake(sync::FutexKey key, uint32_t max_wakes, uint32_t bitset = ~0u) {
    const std::lock_guard lock(mu_);
    return WakeLocked(key, max_wakes, bitset);
  }
  // How many were woken or moved.
  uint32_t Requeue(sync::FutexKey from, sync::FutexKey to, uint32_t max_wakes, uint32_t max_requeues) {
    const std::lock_guard lock(mu_);
    uint32_t count = WakeLocked(from, max_wakes, ~0u);
    Bucket& source = BucketOf(from);
    FutexWaiterRival* next;
    for (FutexWaiterRival* waiter = source.head; waiter != nullptr && max_requeues != 0; waiter = next) {
      next = waiter->next_;
      if (waiter->key_ != from) continue;
      --max_requeues;
      ++count;
      if (from == to) continue;
      source.Unlink(waiter);
      waiter->key_ = to;
      BucketOf(to).Append(waiter);
    }
    return count;
  }

 private:
  struct Bucket {
    FutexWaiterRival* head = nullptr;
    FutexWaiterRival* tail = nullptr;
    void Append(FutexWaiterRival* waiter) {
      waiter->prev_ = tail;
      waiter->next_ = nullptr;
      (tail != nullptr ? tail->next_ : head) = waiter;
      tail = waiter;
    }
    void Unlink(FutexWaiterRival* waiter) {
      (waiter->prev_ != nullptr ? waiter->prev_->next_ : head) = waiter->next_;
      (waiter->next_ != nullptr ? waiter->next_->prev_ : tail) = waiter->prev_;
      waiter->next_ = waiter->prev_ = nullptr;
    }
  };
  Bucket& BucketOf(sync::FutexKey key) {
    uint64_t h = (key.offset >> 2) * 0x9e3779b97f4a7c15 ^ key.object_id * 0xc2b2ae3d27d4eb4f;
    h ^= h >> 32;
    return buckets_[h & mask_];
  }
  uint32_t WakeLocked(sync::FutexKey key, uint32_t max_wakes, uint32_t bitset) {
    Bucket& bucket = BucketOf(key);
    uint32_t woken = 0;
    FutexWaiterRival* next;
    for (FutexWaiterRival* waiter = bucket.head; waiter != nullptr && woken < max_wakes; waiter = next) {
      next = waiter->next_;
      if (waiter->key_ != key || (waiter->bitset_ & bitset) == 0) continue;
      bucket.Unlink(waiter);
      waiter->queued_ = false;
      waiter->Woken();
      ++woken;
    }
    return woken;
  }

  const uint32_t mask_;
  std::mutex mu_;
  const std::unique_ptr<Bucket[]> buckets_;
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_FUTEX_SHARDS_RIVAL_H_
