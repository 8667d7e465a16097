#ifndef REMORA_FS_INODE_TABLE_H_
#define REMORA_FS_INODE_TABLE_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "base/mutex.h"
#include "base/ref_counted.h"

namespace remora::fs {

// Which live object stands for a number: for file systems whose inodes come from elsewhere (a host file, a lower layer)
// and must be one object as long as anybody uses them. The table owns nothing.
//
// Life cycle: GetOrCreate hands out a counted object. When its last reference goes, the object's OnLastRelease calls
// Remove, then deletes itself: a lookup that meets it in between fails in TryAddRef and puts a new object in its place,
// which Remove then leaves alone.
//
// Linux twin: the inode hash. Difference: a lock for each shard, and nothing (no file-system hook, no constructor) runs
// under it. Thread safety: all methods from any thread.
template <typename Key, typename T>
class InodeTable {
 public:
  explicit InodeTable(uint32_t num_shards = 64) : mask_(RoundUp(num_shards) - 1), shards_(new Shard[mask_ + 1]) {}

  // The live object for `key`, or null.
  Ref<T> Find(const Key& key) const {
    Shard& shard = ShardOf(key);
    MutexLock lock(&shard.mu);
    auto it = shard.objects.find(key);
    if (it == shard.objects.end() || !it->second->TryAddRef()) return nullptr;
    return Ref<T>::Adopt(it->second);
  }

  // The live object for `key`; where there is none, what `make` returns (a Ref<T>; null is passed on, not kept).
  // `make` runs without a lock; of two that race, one object is dropped.
  template <typename Make>
  Ref<T> GetOrCreate(const Key& key, Make make) {
    if (Ref<T> found = Find(key)) return found;
    Ref<T> fresh = make();
    if (!fresh) return nullptr;
    Ref<T> winner;  // `fresh`, if it lost, goes behind the lock
    Shard& shard = ShardOf(key);
    MutexLock lock(&shard.mu);
    T*& slot = shard.objects[key];
    if (slot != nullptr && slot->TryAddRef()) {
      winner = Ref<T>::Adopt(slot);
    } else {
      slot = fresh.get();
      winner = fresh;
    }
    return winner;
  }

  // From T::OnLastRelease, before it is deleted.
  void Remove(const Key& key, const T* object) {
    Shard& shard = ShardOf(key);
    MutexLock lock(&shard.mu);
    auto it = shard.objects.find(key);
    if (it != shard.objects.end() && it->second == object) shard.objects.erase(it);
  }

  uint64_t size() const {
    uint64_t n = 0;
    for (uint32_t i = 0; i <= mask_; ++i) {
      MutexLock lock(&shards_[i].mu);
      n += shards_[i].objects.size();
    }
    return n;
  }

 private:
  struct alignas(64) Shard {
    Mutex mu{LockRank::kInodeShard};
    absl::flat_hash_map<Key, T*> objects ABSL_GUARDED_BY(mu);
  };
  static uint32_t RoundUp(uint32_t n) {
    uint32_t power = 1;
    while (power < n) power *= 2;
    return power;
  }
  Shard& ShardOf(const Key& key) const { return shards_[(absl::HashOf(key) >> 40) & mask_]; }

  const uint32_t mask_;
  const std::unique_ptr<Shard[]> shards_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_INODE_TABLE_H_
