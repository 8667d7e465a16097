#ifndef REMORA_FS_LOOKUP_HASH_H_
#define REMORA_FS_LOOKUP_HASH_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

#include "base/check.h"
#include "sync/reclaimer.h"

namespace remora::fs {

// A hash set of pointers that is read without a lock: what dentries, mounts and mounted prefixes are found by.
//
// An Entry has a member `hash` that never changes while it is in the set. The set owns nothing: whoever erases an
// entry retires it through the Reclaimer.
//
// A slot is a pointer with 16 bits of the hash above it: a probe touches the memory of the entry that it looks for and,
// one time in 65,536, of another. The slots lie behind the table's header.
//
// Invariants:
//  1. An entry stays in its slot from Insert to Erase, or until the whole table is replaced: a reader that probes meets
//     every entry that was in the set all along.
//  2. At most 5/8 of the slots are used or tombstones, so that a probe ends, and soon.
//  3. size() counts the entries, num_filled_ those and the tombstones.
// Linux twin: dentry_hashtable. Difference: it grows and shrinks with its content. Cost: Find three dependent loads and
// no write; Insert the same amortised, with a rebuild each time that the content doubled or most of it is tombstones.
// Thread safety: Find from any thread inside a read section of the reclaimer; Insert, Erase and ForEach under a lock of
// the owner's.
template <typename Entry>
class LookupHash {
 public:
  explicit LookupHash(sync::Reclaimer* reclaimer, uint32_t initial_slots = 16)
      : table_(NewTable(initial_slots)), reclaimer_(reclaimer) {}
  ~LookupHash() { FreeTable(table_.load(std::memory_order_relaxed)); }
  LookupHash(const LookupHash&) = delete;
  LookupHash& operator=(const LookupHash&) = delete;

  // The entry with this hash for which `equals` holds, or null.
  template <typename Equals>
  Entry* Find(uint64_t hash, Equals equals) const {
    const Table* table = table_.load(std::memory_order_acquire);
    const uint64_t tag = Tag(hash);
    for (uint32_t i = Mix(hash);; ++i) {
      const uint64_t slot = table->slot(i).load(std::memory_order_acquire);
      if (slot == kEmpty) return nullptr;
      if ((slot & kTagMask) != tag || slot == kTombstone) continue;
      Entry* entry = Unpack(slot);
      if (entry->hash == hash && equals(*entry)) return entry;
    }
  }

  // `entry` must not be in the set, nor an equal one.
  void Insert(Entry* entry) {
    Table* table = table_.load(std::memory_order_relaxed);
    if ((num_filled_ + 1) * 8 > (uint64_t{table->mask} + 1) * 5) table = Rebuild();
    uint32_t i = Mix(entry->hash);
    while (true) {
      const uint64_t old = table->slot(i).load(std::memory_order_relaxed);
      if (old == kEmpty || old == kTombstone) {
        if (old == kEmpty) ++num_filled_;
        table->slot(i).store(Pack(entry), std::memory_order_release);
        break;
      }
      ++i;
    }
    ++size_;
  }

  void Erase(Entry* entry) {
    Table* table = table_.load(std::memory_order_relaxed);
    const uint64_t packed = Pack(entry);
    uint32_t i = Mix(entry->hash);
    while (true) {
      const uint64_t there = table->slot(i).load(std::memory_order_relaxed);
      CHECK_MSG(there != kEmpty, "erased from a LookupHash that does not hold it");
      if (there == packed) {
        table->slot(i).store(kTombstone, std::memory_order_release);
        break;
      }
      ++i;
    }
    --size_;
  }

  // The entry in the slot `position` of a round through the table that wraps, or null: for clocks that look for
  // something to evict.
  Entry* SlotAt(uint32_t position) const {
    const uint64_t slot = table_.load(std::memory_order_relaxed)->slot(position).load(std::memory_order_relaxed);
    return slot == kTombstone ? nullptr : Unpack(slot);
  }
  uint32_t num_slots() const { return table_.load(std::memory_order_relaxed)->mask + 1; }

  // `visit` may erase the entry that it is given.
  template <typename Visit>
  void ForEach(Visit visit) const {
    const Table* table = table_.load(std::memory_order_acquire);
    for (uint32_t i = 0; i <= table->mask; ++i) {
      const uint64_t slot = table->slot(i).load(std::memory_order_acquire);
      if (slot != kEmpty && slot != kTombstone) visit(Unpack(slot));
    }
  }

  uint64_t size() const { return size_; }
  // The most slots that a Find of what is there looks at. Under the owner's lock.
  uint64_t longest_probe() const {
    const Table* table = table_.load(std::memory_order_relaxed);
    uint32_t longest = 0;
    for (uint32_t i = 0; i <= table->mask; ++i) {
      const uint64_t slot = table->slot(i).load(std::memory_order_relaxed);
      if (slot != kEmpty && slot != kTombstone)
        longest = std::max(longest, ((i - Mix(Unpack(slot)->hash)) & table->mask) + 1);
    }
    return longest;
  }

  // Under the owner's lock.
  void CheckInvariants() const {
    const Table* table = table_.load(std::memory_order_relaxed);
    uint64_t num_entries = 0, num_filled = 0;
    for (uint32_t i = 0; i <= table->mask; ++i) {
      const uint64_t slot = table->slot(i).load(std::memory_order_relaxed);
      if (slot == kEmpty) continue;
      ++num_filled;
      if (slot == kTombstone) continue;
      ++num_entries;
      // 1: no empty slot between where a probe begins and the entry.
      for (uint32_t j = Mix(Unpack(slot)->hash) & table->mask; j != i; j = (j + 1) & table->mask)
        CHECK(table->slot(j).load(std::memory_order_relaxed) != kEmpty);
      CHECK(slot == Pack(Unpack(slot)));
    }
    CHECK(num_filled * 8 <= (uint64_t{table->mask} + 1) * 5);  // 2
    CHECK(num_entries == size_ && num_filled == num_filled_);  // 3
  }

 private:
  static constexpr uint64_t kEmpty = 0, kTombstone = 1;
  static constexpr uint32_t kMinSlots = 16;
  static constexpr uint64_t kTagMask = uint64_t{0xffff} << 48;

  struct alignas(8) Table {
    const uint32_t mask;
    std::atomic<uint64_t>& slot(uint32_t i) { return reinterpret_cast<std::atomic<uint64_t>*>(this + 1)[i & mask]; }
    const std::atomic<uint64_t>& slot(uint32_t i) const { return const_cast<Table*>(this)->slot(i); }
  };

  static uint32_t Mix(uint64_t hash) { return static_cast<uint32_t>(hash ^ (hash >> 32)); }
  // Owners shard by the upper bits, and the slot is chosen by the lower ones.
  static uint64_t Tag(uint64_t hash) { return (hash << 6) & kTagMask; }
  static uint64_t Pack(Entry* entry) {
    const auto pointer = reinterpret_cast<uint64_t>(entry);
    DCHECK((pointer & kTagMask) == 0);  // user addresses have 47 or 48 bits
    return pointer | Tag(entry->hash);
  }
  static Entry* Unpack(uint64_t slot) { return reinterpret_cast<Entry*>(slot & ~kTagMask); }

  static Table* NewTable(uint32_t num_slots) {
    CHECK((num_slots & (num_slots - 1)) == 0 && num_slots >= 4);
    static_assert(sizeof(Table) == sizeof(uint64_t));
    void* memory = ::operator new((uint64_t{num_slots} + 1) * sizeof(uint64_t), std::align_val_t(64));
    auto* table = new (memory) Table{num_slots - 1};
    for (uint32_t i = 0; i < num_slots; ++i) new (&table->slot(i)) std::atomic<uint64_t>(kEmpty);
    return table;
  }
  static void FreeTable(void* table) { ::operator delete(table, std::align_val_t(64)); }

  // A table without tombstones, twice as large or smaller if that fits; readers of the old one end undisturbed.
  Table* Rebuild() {
    Table* old = table_.load(std::memory_order_relaxed);
    uint32_t num_slots = old->mask + 1;
    if (size_ * 2 >= num_slots) num_slots *= 2;
    while (num_slots > kMinSlots && size_ * 8 < num_slots) num_slots /= 2;
    Table* table = NewTable(num_slots);
    for (uint32_t i = 0; i <= old->mask; ++i) {
      const uint64_t slot = old->slot(i).load(std::memory_order_relaxed);
      if (slot == kEmpty || slot == kTombstone) continue;
      uint32_t j = Mix(Unpack(slot)->hash);
      while (table->slot(j).load(std::memory_order_relaxed) != kEmpty) ++j;
      table->slot(j).store(slot, std::memory_order_relaxed);
    }
    num_filled_ = size_;
    table_.store(table, std::memory_order_release);
    reclaimer_->Retire(old, &FreeTable);
    return table;
  }

  std::atomic<Table*> table_;  // first: what every Find reads
  sync::Reclaimer* const reclaimer_;
  uint64_t size_ = 0;        // entries
  uint64_t num_filled_ = 0;  // entries and tombstones
};

}  // namespace remora::fs

#endif  // REMORA_FS_LOOKUP_HASH_H_
