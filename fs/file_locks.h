#ifndef REMORA_FS_FILE_LOCKS_H_
#define REMORA_FS_FILE_LOCKS_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "sync/wait_queue.h"

namespace remora::fs {

// The advisory locks on one file: fcntl(2)'s record locks and flock(2)'s, which do not see each other. Linux's
// file_lock_context; hangs off the Inode, made when the first lock is asked for.
//
// Owners are opaque: a descriptor table for a POSIX record lock, an open file for an OFD or flock lock.
// Invariants:
//  1. Record locks of one owner do not overlap, and those of one kind do not touch either.
//  2. Record locks of two owners overlap only if both are shared. Likewise flock locks.
// Nothing waits here: a conflict is EAGAIN, and wait_queue() is notified whenever a lock goes.
// Difference from Linux: no EDEADLK.
// Thread safety: all methods from any thread. Cost: linear in the locks of this file.
class FileLocks {
 public:
  // Bytes [start, end); end is kToEnd for "however long the file gets".
  static constexpr uint64_t kToEnd = uint64_t{1} << 63;
  struct Range {
    uint64_t start = 0, end = kToEnd;
    bool Overlaps(const Range& other) const { return start < other.end && other.start < end; }
    friend bool operator==(const Range&, const Range&) = default;
  };
  struct Record {
    const void* owner = nullptr;
    int32_t pid = 0;  // what F_GETLK tells; -1 for OFD locks
    Range range;
    bool exclusive = false;
  };

  // Sets the owner's lock on a range, in place of what it had there. EAGAIN where another owner's conflicts.
  ErrnoOr<void> SetRecord(const Record& record);
  void ClearRecord(const void* owner, Range range);
  // The first lock of another owner that stands in the way of `wanted`.
  std::optional<Record> FindConflict(const Record& wanted) const;

  // EAGAIN; a change of kind gives the old lock up first, as flock(2) warns.
  ErrnoOr<void> SetFlock(const void* owner, bool exclusive);
  void ClearFlock(const void* owner);

  // All that an owner has, when a descriptor or an open file is closed.
  void ReleaseOwner(const void* owner);

  sync::WaitQueue& wait_queue() { return queue_; }
  std::vector<Record> RecordsForTesting() const;

 private:
  struct Flock {
    const void* owner;
    bool exclusive;
  };
  const Record* FindConflictLocked(const Record& wanted) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes the owner's locks off a range, splitting those that reach beyond it. True if there was one.
  bool CutLocked(const void* owner, Range range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_{LockRank::kLeaf};
  std::vector<Record> records_ ABSL_GUARDED_BY(mu_);
  std::vector<Flock> flocks_ ABSL_GUARDED_BY(mu_);
  sync::WaitQueue queue_;
};

// An inode's FileLocks, made when somebody asks for the first lock: most files never have one.
// Thread safety: all methods from any thread.
class LazyFileLocks {
 public:
  ~LazyFileLocks() { delete locks_.load(std::memory_order_relaxed); }
  FileLocks* GetIfAny() const { return locks_.load(std::memory_order_acquire); }
  FileLocks& Get() {
    FileLocks* locks = GetIfAny();
    if (locks != nullptr) return *locks;
    auto* made = new FileLocks;
    if (locks_.compare_exchange_strong(locks, made, std::memory_order_acq_rel)) return *made;
    delete made;
    return *locks;
  }

 private:
  std::atomic<FileLocks*> locks_{nullptr};
};

}  // namespace remora::fs

#endif  // REMORA_FS_FILE_LOCKS_H_
