#ifndef REMORA_FS_HOSTFS_HOST_FD_CACHE_H_
#define REMORA_FS_HOSTFS_HOST_FD_CACHE_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/hostfs/host_fd.h"

namespace remora::fs {

// Where an inode keeps its descriptor, as long as the cache lets it.
// Thread safety: all methods from any thread.
class HostFdSlot final : public RefCounted {
 public:
  // The descriptor, counted, so that eviction cannot close it under its user; null if there is none now.
  Ref<HostFd> Get() {
    MutexLock lock(&mu_);
    used_ = true;
    return fd_;
  }
  // A pinned slot keeps its descriptor: that of an unlinked file cannot be opened again.
  void Pin() { num_pins_.fetch_add(1, std::memory_order_relaxed); }
  void Unpin() { num_pins_.fetch_sub(1, std::memory_order_relaxed); }
  // For good: the inode is going.
  void Clear() { Ref<HostFd> closed = Take(); }

 private:
  friend class HostFdCache;
  Ref<HostFd> Take() {
    MutexLock lock(&mu_);
    return std::move(fd_);
  }

  Mutex mu_{LockRank::kLeaf};
  Ref<HostFd> fd_ ABSL_GUARDED_BY(mu_);
  bool used_ ABSL_GUARDED_BY(mu_) = false;  // since the clock hand last passed
  std::atomic<uint32_t> num_pins_{0};
};

// Bounds how many descriptors the inodes of a host file system keep open: a user's limit is often 1,024 or 20,000, and
// a guest may walk a million files. Second chance: a slot used since the hand last passed stays.
//
// Invariant: every slot that has a descriptor is in queue_ (slots of dead inodes too, until the hand meets them).
// Thread safety: all methods from any thread. Descriptors are closed outside the lock.
class HostFdCache {
 public:
  explicit HostFdCache(uint32_t capacity) : capacity_(capacity) {}

  // Keeps `fd` in `slot`, unless another thread was first; what the slot holds then.
  Ref<HostFd> Put(const Ref<HostFdSlot>& slot, Ref<HostFd> fd);
  // Closes about half of the idle descriptors: what to do at EMFILE. False if none was closed.
  bool Shrink();
  uint32_t size() const;

 private:
  void EvictDownTo(uint32_t target);

  const uint32_t capacity_;
  mutable Mutex mu_{LockRank::kLeaf};
  std::deque<Ref<HostFdSlot>> queue_ ABSL_GUARDED_BY(mu_);  // the hand is at the front
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_FD_CACHE_H_
