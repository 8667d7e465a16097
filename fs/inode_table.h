#ifndef REMORA_FS_INODE_TABLE_H_
#define REMORA_FS_INODE_TABLE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "absl/hash/hash.h"
#include "base/check.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/lookup_hash.h"
#include "sync/reclaimer.h"

namespace remora::fs {

// Which live object stands for a number: for file systems whose inodes come from elsewhere (a host file, a lower layer)
// and must be one object as long as anybody uses them. The table owns no object.
//
// Life cycle: GetOrCreate hands out a counted object. When its last reference goes, the object's OnLastRelease calls
// Remove and retires itself through the reclaimer: a lookup that meets it in between fails in TryAddRef and puts a new
// object in its place, which Remove then leaves alone.
//
// A shard is chosen by upper bits of a hash of the whole key, so numbers in strides, as file systems give them out,
// spread like any others. Each shard is a LookupHash of entries {key, object}, which is read without a lock; the lock
// orders those that change it.
//
// Invariants:
//  1. A key stands in one entry at most; an entry never changes.
//  2. An object whose count is above zero and that GetOrCreate returned has an entry: both places that could make a
//     second one look under the shard's lock first.
// Linux twin: the inode hash. Differences: found without a lock; a lock for each shard, and nothing (no file-system
// hook, no constructor) runs under it; it grows and shrinks with its content. Cost: Find one hash, about one slot, its
// entry and the object's count, whatever the number of objects. Making one takes the lock once, dropping it too.
// Thread safety: all methods from any thread; Find and GetOrCreate inside a read section of the reclaimer.
template <typename Key, typename T>
class InodeTable {
 public:
  // At most 64 shards.
  explicit InodeTable(sync::Reclaimer* reclaimer, uint32_t num_shards = kMaxShards)
      : reclaimer_(reclaimer), mask_(RoundUp(num_shards) - 1), shards_(std::allocator<Shard>().allocate(mask_ + 1)) {
    CHECK(mask_ < kMaxShards);
    for (uint32_t i = 0; i <= mask_; ++i) std::construct_at(&shards_[i], reclaimer);
  }
  ~InodeTable() {
    for (uint32_t i = 0; i <= mask_; ++i) {
      shards_[i].entries.ForEach([](Entry* entry) { delete entry; });
      std::destroy_at(&shards_[i]);
    }
    std::allocator<Shard>().deallocate(shards_, mask_ + 1);
  }
  InodeTable(const InodeTable&) = delete;
  InodeTable& operator=(const InodeTable&) = delete;

  // The live object for `key`, or null.
  Ref<T> Find(const Key& key) const {
    const uint64_t hash = absl::HashOf(key);
    return LiveObjectOf(FindEntry(ShardOf(hash), hash, key));
  }

  // The live object for `key`; where there is none, what `make` returns (a Ref<T>; null is passed on, not kept).
  // `make` runs without a lock; of two that race, one object is dropped.
  template <typename Make>
  Ref<T> GetOrCreate(const Key& key, Make make) {
    if (Ref<T> found = Find(key)) return found;
    Ref<T> fresh = make();
    if (!fresh) return nullptr;
    const uint64_t hash = absl::HashOf(key);
    auto entry = std::make_unique<Entry>(Entry{hash, key, fresh.get()});
    Shard& shard = ShardOf(hash);
    Ref<T> winner;  // `fresh`, if it lost, goes behind the lock
    MutexLock lock(&shard.mu);
    Entry* there = FindEntry(shard, hash, key);
    winner = LiveObjectOf(there);
    if (winner) return winner;
    if (there != nullptr) EraseEntry(shard, there);
    shard.entries.Insert(entry.release());
    return fresh;
  }

  // From T::OnLastRelease, before it is retired.
  void Remove(const Key& key, const T* object) {
    const uint64_t hash = absl::HashOf(key);
    Shard& shard = ShardOf(hash);
    MutexLock lock(&shard.mu);
    Entry* there = FindEntry(shard, hash, key);
    if (there != nullptr && there->object == object) EraseEntry(shard, there);
  }

  uint64_t size() const {
    uint64_t n = 0;
    for (uint32_t i = 0; i <= mask_; ++i) {
      MutexLock lock(&shards_[i].mu);
      n += shards_[i].entries.size();
    }
    return n;
  }
  // The most slots that any lookup of what is there looks at. Goes through the whole table: for --stats and tests.
  uint64_t longest_chain() const {
    uint64_t longest = 0;
    for (uint32_t i = 0; i <= mask_; ++i) {
      MutexLock lock(&shards_[i].mu);
      longest = std::max(longest, shards_[i].entries.longest_probe());
    }
    return longest;
  }

  // While nobody else changes it. In a read section.
  void CheckInvariants() const {
    for (uint32_t i = 0; i <= mask_; ++i) {
      Shard& shard = shards_[i];
      MutexLock lock(&shard.mu);
      shard.entries.CheckInvariants();
      shard.entries.ForEach([&](Entry* entry) {
        CHECK(entry->hash == absl::HashOf(entry->key) && &ShardOf(entry->hash) == &shard);
        CHECK(FindEntry(shard, entry->hash, entry->key) == entry);  // 1
      });
    }
  }

 private:
  static constexpr uint32_t kMaxShards = 64;
  struct Entry {
    const uint64_t hash;
    const Key key;
    T* const object;
  };
  // What readers look at lies on another line than the lock that those who change it write to.
  struct Shard {
    explicit Shard(sync::Reclaimer* reclaimer) : entries(reclaimer, 8) {}
    alignas(64) LookupHash<Entry> entries;  // changed under mu
    alignas(64) mutable Mutex mu{LockRank::kInodeShard};
  };

  static Ref<T> LiveObjectOf(const Entry* entry) {
    return entry != nullptr && entry->object->TryAddRef() ? Ref<T>::Adopt(entry->object) : nullptr;
  }
  static Entry* FindEntry(const Shard& shard, uint64_t hash, const Key& key) {
    return shard.entries.Find(hash, [&](const Entry& entry) { return entry.key == key; });
  }
  void EraseEntry(Shard& shard, Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu) {
    shard.entries.Erase(entry);
    reclaimer_->RetireDelete(entry);
  }
  static uint32_t RoundUp(uint32_t n) {
    uint32_t power = 1;
    while (power < n) power *= 2;
    return power;
  }
  Shard& ShardOf(uint64_t hash) const { return shards_[(hash >> 58) & mask_]; }

  sync::Reclaimer* const reclaimer_;
  const uint32_t mask_;
  Shard* const shards_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_INODE_TABLE_H_
