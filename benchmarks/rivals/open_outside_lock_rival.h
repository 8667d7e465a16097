#ifndef REMORA_BENCHMARKS_RIVALS_OPEN_OUTSIDE_LOCK_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_OPEN_OUTSIDE_LOCK_RIVAL_H_

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"

namespace remora::benchmarks {

// The plain way to open: one lock over the table of inodes, held while the backend is asked for an inode that is not in
// it (stat) and while it cleans up behind the last close.
//
// Backend: `uint64_t Stat(uint64_t number)` answers the size; `void CleanUp(uint64_t number)`.
template <typename Backend>
class OpenOutsideLockRival {
 public:
  explicit OpenOutsideLockRival(Backend* backend) : backend_(backend) {}

  // The size of the file, which is open from now on.
  uint64_t Open(uint64_t number) {
    MutexLock lock(&mu_);
    auto [it, fresh] = inodes_.try_emplace(number);
    if (fresh) it->second.size = backend_->Stat(number);
    ++it->second.num_opens;
    return it->second.size;
  }
  void Close(uint64_t number) {
    MutexLock lock(&mu_);
    const auto it = inodes_.find(number);
    if (--it->second.num_opens != 0) return;
    inodes_.erase(it);
    backend_->CleanUp(number);
  }
  uint64_t num_inodes() const {
    MutexLock lock(&mu_);
    return inodes_.size();
  }

 private:
  struct Inode {
    uint64_t size = 0;
    uint64_t num_opens = 0;
  };
  Backend* const backend_;
  mutable Mutex mu_{LockRank::kInodeShard};
  absl::flat_hash_map<uint64_t, Inode> inodes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_OPEN_OUTSIDE_LOCK_RIVAL_H_
