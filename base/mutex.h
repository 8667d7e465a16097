#ifndef REMORA_BASE_MUTEX_H_
#define REMORA_BASE_MUTEX_H_

#include <cstdint>
#include <mutex>
#include <shared_mutex>

#include "absl/base/thread_annotations.h"
#include "base/lock_rank.h"

namespace remora {

namespace internal {
#ifdef NDEBUG
inline void RankAcquired(LockRank) {}
inline void RankReleased(LockRank) {}
#else
// Keep the ranks that this thread holds, and CHECK that each new one is greater.
void RankAcquired(LockRank rank);
void RankReleased(LockRank rank);
#endif
}  // namespace internal

// CHECKs (in debug builds) that this thread holds no ranked mutex: called where Remora parks, closes or calls a hook.
void AssertNoLocksHeld();
// How often this thread has taken a Mutex or SharedMutex; counts in debug builds only, else 0. For tests of lock-free
// paths.
uint64_t LocksTakenByThisThread();

// A mutex that clang's -Wthread-safety and ThreadSanitizer both understand, with a place in the lock order.
// Not absl::Mutex: Debian's archive of it is built without NDEBUG (every lock updates one process-wide lock-order
// graph) and without TSan's annotations (every guarded access is reported as a race).
class ABSL_LOCKABLE Mutex {
 public:
  explicit Mutex(LockRank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    internal::RankAcquired(rank_);
    mu_.lock();
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    mu_.unlock();
    internal::RankReleased(rank_);
  }
  // Needs no rank: it cannot deadlock.
  [[nodiscard]] bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true);
  // For std::condition_variable_any.
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { Lock(); }
  void unlock() ABSL_UNLOCK_FUNCTION() { Unlock(); }

 private:
  friend class MutexPairLock;
  std::mutex mu_;
  const LockRank rank_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_->Lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mu_;
};

// Two mutexes of one rank, in address order (once if they are the same).
class ABSL_SCOPED_LOCKABLE MutexPairLock {
 public:
  MutexPairLock(Mutex* a, Mutex* b) ABSL_EXCLUSIVE_LOCK_FUNCTION(a, b);
  ~MutexPairLock() ABSL_UNLOCK_FUNCTION();
  MutexPairLock(const MutexPairLock&) = delete;
  MutexPairLock& operator=(const MutexPairLock&) = delete;

 private:
  Mutex* first_;
  Mutex* second_;  // null when both are the same
};

// A reader-writer mutex with a place in the lock order.
class ABSL_LOCKABLE SharedMutex {
 public:
  explicit SharedMutex(LockRank rank) : rank_(rank) {}
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    internal::RankAcquired(rank_);
    mu_.lock();
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    mu_.unlock();
    internal::RankReleased(rank_);
  }
  void LockShared() ABSL_SHARED_LOCK_FUNCTION() {
    internal::RankAcquired(rank_);
    mu_.lock_shared();
  }
  void UnlockShared() ABSL_UNLOCK_FUNCTION() {
    mu_.unlock_shared();
    internal::RankReleased(rank_);
  }

 private:
  std::shared_mutex mu_;
  const LockRank rank_;
};

class ABSL_SCOPED_LOCKABLE WriterLock {
 public:
  explicit WriterLock(SharedMutex* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_->Lock(); }
  ~WriterLock() ABSL_UNLOCK_FUNCTION() { mu_->Unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  SharedMutex* const mu_;
};

class ABSL_SCOPED_LOCKABLE ReaderLock {
 public:
  explicit ReaderLock(SharedMutex* mu) ABSL_SHARED_LOCK_FUNCTION(mu) : mu_(mu) { mu_->LockShared(); }
  ~ReaderLock() ABSL_UNLOCK_FUNCTION() { mu_->UnlockShared(); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

 private:
  SharedMutex* const mu_;
};

}  // namespace remora

#endif  // REMORA_BASE_MUTEX_H_
