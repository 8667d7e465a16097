#ifndef REMORA_SYNC_FUTEX_TABLE_H_
#define REMORA_SYNC_FUTEX_TABLE_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/mutex.h"

namespace remora::sync {

// What a futex word is known by: the object it lies in (an address space for a private futex, a file or a shared
// anonymous mapping for a shared one) and the offset there. Opaque here.
struct FutexKey {
  uint64_t object_id = 0;
  uint64_t offset = 0;
  friend bool operator==(const FutexKey&, const FutexKey&) = default;
};

struct FutexBucket;  // futex_table.cc

// One task's wait on one word. Owned by the task's syscall state.
//
// Life: idle -> queued (Wait) -> woken (by Wake and its kin, which call Woken) or cancelled (by the owner) -> idle.
// A requeue moves it to another word's bucket while it is queued. The owner calls Cancel before it destroys a waiter or
// waits with it anew, woken or not: only then is no Woken running any more.
class FutexWaiter {
 public:
  FutexWaiter() = default;
  FutexWaiter(const FutexWaiter&) = delete;
  FutexWaiter& operator=(const FutexWaiter&) = delete;

  // The wait was ended by a wake. Called with the bucket's lock held; marks a task runnable and nothing else.
  virtual void Woken() = 0;

 protected:
  virtual ~FutexWaiter();

 private:
  friend class FutexTable;
  friend struct FutexBucket;
  // The bucket it was queued in last; null: never. Written with that bucket's lock held (both, where it moves); read
  // without a lock by Cancel, which looks again once it has the lock.
  std::atomic<FutexBucket*> bucket_{nullptr};
  // Guarded by the lock of *bucket_.
  FutexKey key_;
  uint32_t bitset_ = ~0u;
  FutexWaiter* next_ = nullptr;
  FutexWaiter* prev_ = nullptr;
  bool queued_ = false;
};

// Futex wait queues in buckets, each with its own lock, so that threads which use different words do not meet.
//
//   word --KeyOfFutex--> FutexKey --hash--> bucket: lock, waiters | looks -> waiter -> waiter -> ...
//                                                                    (of all words that fall into it, in order)
//
// Invariants:
//  1. A waiter is on the list of *bucket_ exactly while it is queued; bucket_ is the bucket of key_.
//  2. A bucket's waiters of one key stand in the order in which they wait.
//  3. The number of waiters of a bucket is raised before the word is read, so a wake that finds it 0 came before the
//     read.
//  4. Operations on two words lock both buckets, the one with the lower address first: however many pairs are worked on
//     in whichever direction, somebody can go on.
//
// The words themselves are read through callbacks, under the bucket's lock, so that "the value is still expected" and
// "queued" are one step.
// Cost: a wake without waiters in the bucket is one atomic instruction on the bucket's line, no lock, no allocation;
// all else is one lock (two words: two) and a walk over the bucket's waiters. Nothing here allocates after
// construction. Linux twin: futex_queues. Differences: the number of buckets is fixed (Linux: 256 for each CPU);
// private words do not have a table of their own for each process. Thread safety: all methods from any thread.
class FutexTable {
 public:
  explicit FutexTable(uint32_t num_buckets = 256);
  ~FutexTable();

  // Calls `still_expected` under the bucket's lock: true queues the waiter, false gives EAGAIN, an error (EFAULT) is
  // passed on. The callback must not fault pages in: it reads an already resolved word.
  ErrnoOr<void> Wait(FutexKey key, uint32_t bitset, FutexWaiter* waiter,
                     absl::FunctionRef<ErrnoOr<bool>()> still_expected);
  // Takes the waiter off its queue (time-out, signal). True if it was still queued; false if a wake came first, or if
  // it never waited. Afterwards no Woken is running.
  bool Cancel(FutexWaiter* waiter);
  // Wakes at most max_wakes waiters whose bitset meets `bitset`, oldest first; how many were woken.
  uint32_t Wake(FutexKey key, uint32_t max_wakes, uint32_t bitset = ~0u);
  // FUTEX_REQUEUE/CMP_REQUEUE: wakes max_wakes waiters of `from`, moves at most max_requeues of the rest to `to`.
  // Bitsets play no part, as in Linux. `still_expected` as in Wait.
  struct RequeueResult {
    uint32_t woken = 0;
    uint32_t requeued = 0;
  };
  ErrnoOr<RequeueResult> Requeue(FutexKey from, FutexKey to, uint32_t max_wakes, uint32_t max_requeues,
                                 absl::FunctionRef<ErrnoOr<bool>()> still_expected);
  // FUTEX_WAKE_OP: `operate` runs under both locks, answers whether `second` is woken too.
  ErrnoOr<uint32_t> WakeOp(FutexKey first, FutexKey second, uint32_t max_first, uint32_t max_second,
                           absl::FunctionRef<ErrnoOr<bool>()> operate);

  // For --stats; sums over the buckets, of relaxed counters that cost no instruction of their own on the paths without
  // a lock.
  struct Counters {
    uint64_t wakes_without_waiters = 0;  // that found an empty bucket
    uint64_t collisions = 0;             // waiters of other words that a wake or requeue had to step over
  };
  Counters counters() const;
  // Takes each bucket's lock in turn.
  void CheckInvariants() const;

 private:
  FutexBucket& BucketOf(FutexKey key) const;

  const uint32_t mask_;
  const std::unique_ptr<FutexBucket[]> buckets_;
};

}  // namespace remora::sync

#endif  // REMORA_SYNC_FUTEX_TABLE_H_
