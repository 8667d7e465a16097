#ifndef REMORA_FS_INODE_TABLE_H_
#define REMORA_FS_INODE_TABLE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/hash/hash.h"
#include "base/check.h"
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
// A shard is chosen by upper bits of a hash of the whole key, so numbers in strides, as file systems give them out,
// spread like any others. In a shard objects lie in a table with open addressing, from the slot that lower bits choose
// onwards; what is removed leaves no hole, since those behind it move up.
//
// Invariants:
//  1. From the slot that an entry's hash chooses up to the entry every slot is used.
//  2. A key stands in one slot at most.
//  3. At most 5/8 of a shard's slots are used, and at least 1/16 of them if there are more than kMinSlots.
// Linux twin: the inode hash. Difference: a lock for each shard, and nothing (no file-system hook, no constructor) runs
// under it; it grows and shrinks with its content. Cost: one hash, one uncontended lock and about one slot, whatever
// the number of objects; twice that where an object is made.
// Thread safety: all methods from any thread.
template <typename Key, typename T>
class InodeTable {
 public:
  explicit InodeTable(uint32_t num_shards = 64) : mask_(RoundUp(num_shards) - 1), shards_(new Shard[mask_ + 1]) {}

  // The live object for `key`, or null.
  Ref<T> Find(const Key& key) const {
    const uint64_t hash = absl::HashOf(key);
    Shard& shard = ShardOf(hash);
    MutexLock lock(&shard.mu);
    Slot* slot = shard.Find(hash, key);
    if (slot == nullptr || !slot->object->TryAddRef()) return nullptr;
    return Ref<T>::Adopt(slot->object);
  }

  // The live object for `key`; where there is none, what `make` returns (a Ref<T>; null is passed on, not kept).
  // `make` runs without a lock; of two that race, one object is dropped.
  template <typename Make>
  Ref<T> GetOrCreate(const Key& key, Make make) {
    if (Ref<T> found = Find(key)) return found;
    Ref<T> fresh = make();
    if (!fresh) return nullptr;
    Ref<T> winner;  // `fresh`, if it lost, goes behind the lock
    const uint64_t hash = absl::HashOf(key);
    Shard& shard = ShardOf(hash);
    MutexLock lock(&shard.mu);
    Slot* slot = shard.Find(hash, key);
    if (slot != nullptr && slot->object->TryAddRef()) {
      winner = Ref<T>::Adopt(slot->object);
    } else {
      if (slot != nullptr)
        slot->object = fresh.get();
      else
        shard.Insert(hash, key, fresh.get());
      winner = fresh;
    }
    return winner;
  }

  // From T::OnLastRelease, before it is deleted.
  void Remove(const Key& key, const T* object) {
    const uint64_t hash = absl::HashOf(key);
    Shard& shard = ShardOf(hash);
    MutexLock lock(&shard.mu);
    Slot* slot = shard.Find(hash, key);
    if (slot != nullptr && slot->object == object) shard.Erase(slot);
  }

  uint64_t size() const {
    uint64_t n = 0;
    for (uint32_t i = 0; i <= mask_; ++i) {
      MutexLock lock(&shards_[i].mu);
      n += shards_[i].size;
    }
    return n;
  }
  // The most slots that any lookup of what is there looks at. Goes through the whole table: for --stats and tests.
  uint64_t longest_chain() const {
    uint64_t longest = 0;
    for (uint32_t i = 0; i <= mask_; ++i) {
      MutexLock lock(&shards_[i].mu);
      longest = std::max(longest, shards_[i].LongestChain());
    }
    return longest;
  }

  void CheckInvariants() const {
    for (uint32_t i = 0; i <= mask_; ++i) {
      MutexLock lock(&shards_[i].mu);
      shards_[i].CheckInvariants();
      for (uint64_t j = 0; j < shards_[i].num_slots; ++j)
        if (const Slot& slot = shards_[i].slots[j]; slot.object != nullptr)
          CHECK(&ShardOf(absl::HashOf(slot.key)) == &shards_[i]);
    }
  }

 private:
  static constexpr uint64_t kMinSlots = 8;

  struct Slot {
    Key key{};
    T* object = nullptr;
  };

  struct alignas(64) Shard {
    Mutex mu{LockRank::kInodeShard};
    uint64_t num_slots ABSL_GUARDED_BY(mu) = 0;  // a power of two, or 0
    uint64_t size ABSL_GUARDED_BY(mu) = 0;
    std::unique_ptr<Slot[]> slots ABSL_GUARDED_BY(mu);

    Slot* Find(uint64_t hash, const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      if (size == 0) return nullptr;
      for (uint64_t i = hash & (num_slots - 1);; i = (i + 1) & (num_slots - 1)) {
        if (slots[i].object == nullptr) return nullptr;
        if (slots[i].key == key) return &slots[i];
      }
    }
    void Insert(uint64_t hash, const Key& key, T* object) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      if ((size + 1) * 8 > num_slots * 5) Resize(num_slots == 0 ? kMinSlots : num_slots * 2);
      uint64_t i = hash & (num_slots - 1);
      while (slots[i].object != nullptr) i = (i + 1) & (num_slots - 1);
      slots[i] = {key, object};
      ++size;
    }
    void Erase(Slot* slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      uint64_t hole = static_cast<uint64_t>(slot - slots.get());
      // Those behind move up, unless that would put them before the slot where their probe begins.
      for (uint64_t i = (hole + 1) & (num_slots - 1); slots[i].object != nullptr; i = (i + 1) & (num_slots - 1)) {
        if (Distance(i) < ((i - hole) & (num_slots - 1))) continue;
        slots[hole] = slots[i];
        hole = i;
      }
      slots[hole] = {};
      --size;
      if (num_slots > kMinSlots && size * 16 < num_slots) Resize(num_slots / 2);
    }
    // How far behind the slot of its hash an entry lies.
    uint64_t Distance(uint64_t i) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      return (i - absl::HashOf(slots[i].key)) & (num_slots - 1);
    }
    uint64_t LongestChain() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      uint64_t longest = 0;
      for (uint64_t i = 0; i < num_slots; ++i)
        if (slots[i].object != nullptr) longest = std::max(longest, Distance(i) + 1);
      return longest;
    }
    void CheckInvariants() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      uint64_t num_used = 0;
      for (uint64_t i = 0; i < num_slots; ++i) {
        if (slots[i].object == nullptr) continue;
        ++num_used;
        CHECK(Find(absl::HashOf(slots[i].key), slots[i].key) == &slots[i]);  // 1, 2
      }
      CHECK(num_used == size);
      CHECK(num_used * 8 <= num_slots * 5);                         // 3
      CHECK(num_slots <= kMinSlots || num_used * 16 >= num_slots);  // 3
    }
    void Resize(uint64_t num_new_slots) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      const std::unique_ptr<Slot[]> old = std::exchange(slots, std::unique_ptr<Slot[]>(new Slot[num_new_slots]));
      const uint64_t num_old_slots = std::exchange(num_slots, num_new_slots);
      for (uint64_t j = 0; j < num_old_slots; ++j) {
        if (old[j].object == nullptr) continue;
        uint64_t i = absl::HashOf(old[j].key) & (num_slots - 1);
        while (slots[i].object != nullptr) i = (i + 1) & (num_slots - 1);
        slots[i] = old[j];
      }
    }
  };

  static uint32_t RoundUp(uint32_t n) {
    uint32_t power = 1;
    while (power < n) power *= 2;
    return power;
  }
  Shard& ShardOf(uint64_t hash) const { return shards_[(hash >> 40) & mask_]; }
  const uint32_t mask_;
  const std::unique_ptr<Shard[]> shards_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_INODE_TABLE_H_
