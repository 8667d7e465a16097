#ifndef REMORA_FS_LOOKUP_HASH_H_
#define REMORA_FS_LOOKUP_HASH_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "sync/reclaimer.h"

namespace remora::fs {

// A hash set of pointers that is read without a lock: what dentries, mounts and mounted prefixes are found by.
//
// An Entry has a member `hash` that never changes while it is in the set. The set owns nothing: whoever erases an
// entry retires it through the Reclaimer.
//
// Invariants:
//  1. An entry stays in its slot from Insert to Erase, or until the whole table is replaced: a reader that probes meets
//     every entry that was in the set all along.
//  2. At most 3/4 of the slots are used or tombstones, so that a probe ends.
// Thread safety: Find from any thread inside a read section of the reclaimer; Insert, Erase and ForEach under a lock of
// the owner's.
template <typename Entry>
class LookupHash {
 public:
  explicit LookupHash(sync::Reclaimer* reclaimer, uint32_t initial_slots = 16)
      : reclaimer_(reclaimer), table_(new Table(initial_slots)) {}
  ~LookupHash() { delete table_.load(std::memory_order_relaxed); }
  LookupHash(const LookupHash&) = delete;
  LookupHash& operator=(const LookupHash&) = delete;

  // The entry with this hash for which `equals` holds, or null.
  template <typename Equals>
  Entry* Find(uint64_t hash, Equals equals) const {
    const Table* table = table_.load(std::memory_order_acquire);
    for (uint32_t i = Mix(hash);; ++i) {
      Entry* entry = table->slots[i & table->mask].load(std::memory_order_acquire);
      if (entry == nullptr) return nullptr;
      if (entry != Tombstone() && entry->hash == hash && equals(*entry)) return entry;
    }
  }

  // `entry` must not be in the set, nor an equal one.
  void Insert(Entry* entry) {
    Table* table = table_.load(std::memory_order_relaxed);
    if ((num_filled_ + 1) * 4 > (uint64_t{table->mask} + 1) * 3) table = Rebuild();
    uint32_t i = Mix(entry->hash);
    while (true) {
      std::atomic<Entry*>& slot = table->slots[i & table->mask];
      Entry* old = slot.load(std::memory_order_relaxed);
      if (old == nullptr || old == Tombstone()) {
        if (old == nullptr) ++num_filled_;
        slot.store(entry, std::memory_order_release);
        break;
      }
      ++i;
    }
    ++size_;
  }

  void Erase(Entry* entry) {
    Table* table = table_.load(std::memory_order_relaxed);
    uint32_t i = Mix(entry->hash);
    while (true) {
      std::atomic<Entry*>& slot = table->slots[i & table->mask];
      Entry* there = slot.load(std::memory_order_relaxed);
      CHECK_MSG(there != nullptr, "erased from a LookupHash that does not hold it");
      if (there == entry) {
        slot.store(Tombstone(), std::memory_order_release);
        break;
      }
      ++i;
    }
    --size_;
  }

  // The entry in the slot `position` of a round through the table that wraps, or null: for clocks that look for
  // something to evict.
  Entry* SlotAt(uint32_t position) const {
    const Table* table = table_.load(std::memory_order_relaxed);
    Entry* entry = table->slots[position & table->mask].load(std::memory_order_relaxed);
    return entry == Tombstone() ? nullptr : entry;
  }
  uint32_t num_slots() const { return table_.load(std::memory_order_relaxed)->mask + 1; }

  // `visit` may erase the entry that it is given.
  template <typename Visit>
  void ForEach(Visit visit) const {
    const Table* table = table_.load(std::memory_order_acquire);
    for (uint32_t i = 0; i <= table->mask; ++i) {
      Entry* entry = table->slots[i].load(std::memory_order_acquire);
      if (entry != nullptr && entry != Tombstone()) visit(entry);
    }
  }

  uint64_t size() const { return size_; }

 private:
  struct Table {
    explicit Table(uint32_t num_slots) : mask(num_slots - 1), slots(new std::atomic<Entry*>[num_slots]()) {
      CHECK((num_slots & mask) == 0 && num_slots >= 4);
    }
    const uint32_t mask;
    const std::unique_ptr<std::atomic<Entry*>[]> slots;
  };

  static Entry* Tombstone() { return reinterpret_cast<Entry*>(uintptr_t{1}); }
  static uint32_t Mix(uint64_t hash) { return static_cast<uint32_t>(hash ^ (hash >> 32)); }

  // A table without tombstones, twice as large if it is needed; readers of the old one end undisturbed.
  Table* Rebuild() {
    Table* old = table_.load(std::memory_order_relaxed);
    uint32_t num_slots = old->mask + 1;
    if (size_ * 2 >= num_slots) num_slots *= 2;
    auto fresh = std::make_unique<Table>(num_slots);
    for (uint32_t i = 0; i <= old->mask; ++i) {
      Entry* entry = old->slots[i].load(std::memory_order_relaxed);
      if (entry == nullptr || entry == Tombstone()) continue;
      uint32_t j = Mix(entry->hash);
      while (fresh->slots[j & fresh->mask].load(std::memory_order_relaxed) != nullptr) ++j;
      fresh->slots[j & fresh->mask].store(entry, std::memory_order_relaxed);
    }
    num_filled_ = size_;
    Table* table = fresh.release();
    table_.store(table, std::memory_order_release);
    reclaimer_->RetireDelete(old);
    return table;
  }

  sync::Reclaimer* const reclaimer_;
  std::atomic<Table*> table_;
  uint64_t size_ = 0;        // entries
  uint64_t num_filled_ = 0;  // entries and tombstones
};

}  // namespace remora::fs

#endif  // REMORA_FS_LOOKUP_HASH_H_
