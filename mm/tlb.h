#ifndef REMORA_MM_TLB_H_
#define REMORA_MM_TLB_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mm/types.h"

namespace remora::mm {

// What serves a TLB's misses: an AddressSpace.
class TlbSource {
 public:
  struct Translation {
    std::byte* host_page = nullptr;  // null: see fault
    FrameId frame{};
    bool writable = false;  // a write fill may be recorded too
    FaultKind fault = FaultKind::kNone;
  };
  // Makes the page present for `access` (allocating, copying, reading the file) or says why not. May take kAddressSpace
  // and what follows.
  virtual Translation Translate(PageNumber page, Access access) = 0;
  // Bumped by every change that takes a translation or a right away. See Tlb::Synchronize.
  virtual uint64_t generation() const = 0;
  // Calls tlb->Invalidate... for each change after `since`, or tlb->Flush() where that is no longer known; the
  // generation reached.
  virtual uint64_t ReplayInvalidations(uint64_t since, class Tlb* tlb) = 0;
  // Must succeed before code of `page` is decoded: marks its frame kHasCode and, if the frame was ever writable, takes
  // write rights to it away everywhere. FaultKind::kMustWait: other workers have to acknowledge that first.
  virtual Translation PrepareCode(PageNumber page) = 0;
  // Blocks the calling thread while Translate answers FaultKind::kNotReady: for the few kernel accesses that cannot be
  // tried again.
  virtual void AwaitPage(PageNumber, Access) {}

 protected:
  ~TlbSource() = default;
};

// One worker's software TLB for one address space: 4-way set-associative, separate read, write and fetch rights.
//
// Invariants:
//  1. A right in an entry was granted by the source, and no invalidation at or before seen_generation() took it away
//     since. (One filled later than seen_generation() may be dropped once more by a replay: harmless.)
//  2. Way 0 of a set holds the entry last used, so the inline probe compares one tag. No page has two entries.
//  3. A write right implies that FramePool::PrepareWrite has been called since the frame last got code.
//  4. Between two values of fetch_generation() no page's fetch translation that was ever answered has gone or changed,
//     even if its entry was displaced meanwhile: a bit for each set remembers that a fetch right was displaced there,
//     and an invalidation that meets the bit counts.
// Thread safety: used by its worker only. Other threads touch it never: they bump the source's generation and interrupt
// the worker.
class Tlb {
 public:
  static constexpr uint32_t kWays = 4;
  static constexpr uint32_t kSets = 1024;

  Tlb();

  // Binds the TLB to `source`. Entries are kept if it is the source (and incarnation) that was bound last, else
  // flushed.
  void Bind(TlbSource* source, uint64_t source_id);
  TlbSource* source() const { return source_; }

  // Applies all invalidations that the source knows. Call before guest code runs and before each kernel access.
  void Synchronize() {
    if (source_->generation() != seen_generation_) [[unlikely]]
      SynchronizeSlow();
  }
  uint64_t seen_generation() const { return seen_generation_; }

  // The host address of `addr` if its page is in way 0 with the right, else null. Valid for the rest of the page, until
  // the next Synchronize or Fill.
  template <Access kAccess>
  std::byte* Probe(GuestAddr addr) const {
    const Entry& entry = sets_[SetOf(addr.page())].ways[0];
    const uint64_t tag = addr.value() & ~kPageMask;
    const uint64_t entry_tag = kAccess == Access::kRead    ? entry.read_tag
                               : kAccess == Access::kWrite ? entry.write_tag
                                                           : entry.fetch_tag;
    if (entry_tag != tag) [[unlikely]]
      return nullptr;
    return reinterpret_cast<std::byte*>(addr.value() + entry.delta);
  }

  // The miss path: looks at the other ways, then asks the source. Null: last_fault() tells why.
  std::byte* Fill(GuestAddr addr, Access access);
  const Fault& last_fault() const { return last_fault_; }
  void ForgetFault() { last_fault_ = Fault(); }

  // Probe, then Fill.
  template <Access kAccess>
  std::byte* Lookup(GuestAddr addr) {
    if (std::byte* host = Probe<kAccess>(addr)) [[likely]]
      return host;
    return Fill(addr, kAccess);
  }

  // The frame behind a fetch translation just looked up: what decoded code is keyed by.
  FrameId FetchFrame(PageNumber page) const;

  // Takes translations or only write rights away from a range of pages; work is proportional to min(pages, entries).
  void Invalidate(PageRange range);
  void InvalidateWriteRights(PageRange range);
  void Flush();

  // Grows whenever a fetch right is taken away or a page's frame changes, not when an entry is merely displaced: what
  // caches pc -> block compares it.
  uint64_t fetch_generation() const { return fetch_generation_; }

  struct Counters {
    uint64_t way_hits = 0;  // hits of Fill in ways 1..3
    uint64_t misses = 0;
    uint64_t evictions_by_conflict = 0, evictions_by_range = 0, evictions_by_flush = 0;
  };
  const Counters& counters() const { return counters_; }
  // Entries that hold a translation.
  uint64_t CountEntriesForTesting() const;
  void CheckInvariants() const;

 private:
  static constexpr uint64_t kNoTag = ~uint64_t{0};  // no page-aligned address equals it
  // A cache line each, so that the inline probe finds its set by a shift.
  struct alignas(64) Entry {
    uint64_t read_tag = kNoTag, write_tag = kNoTag, fetch_tag = kNoTag;
    uint64_t delta = 0;  // host page - guest page
    FrameId frame;
    uint32_t last_used = 0;  // of clock_, when it left way 0
    PageNumber page;
    bool used = false;

    uint64_t tag_for(Access access) const {
      return access == Access::kRead ? read_tag : access == Access::kWrite ? write_tag : fetch_tag;
    }
  };
  struct Set {
    std::array<Entry, kWays> ways;
  };
  static_assert(sizeof(Set) == 256);
  // One bit for each set.
  class SetBits {
   public:
    bool Test(uint32_t set) const { return (words_[set / 64] >> (set % 64)) & 1; }
    void Insert(uint32_t set) { words_[set / 64] |= uint64_t{1} << (set % 64); }
    void Clear() { words_ = {}; }
    bool Any() const;
    template <typename F>
    void ForEach(F visit) const;

   private:
    std::array<uint64_t, kSets / 64> words_{};
  };

  // A sum, not an exclusive or: a contiguous run of as many pages as there are entries then spreads evenly wherever it
  // starts, and strides of kSets pages still do not share a set.
  static uint32_t SetOf(PageNumber page) {
    return static_cast<uint32_t>(page.value() + (page.value() >> 10)) & (kSets - 1);
  }
  void SynchronizeSlow();
  // The way of `set` that holds `page`, or kWays.
  uint32_t WayOf(const Set& set, PageNumber page) const;
  void Promote(Set& set, uint32_t way);
  Entry& Displace(uint32_t set_index);
  void Record(Entry& entry, PageNumber page, Access access, const TlbSource::Translation& translation);
  // Forgets an entry; true if it had a fetch right.
  static bool Drop(Entry& entry);
  void NoteFetchRightsGone();
  // Calls visit(entry) for the entries of pages in `range`.
  template <typename F>
  void ForEachEntry(PageRange range, F visit);

  std::array<Set, kSets> sets_;
  SetBits used_sets_;        // may have entries: what Flush and long ranges look at
  SetBits displaced_fetch_;  // invariant 4
  TlbSource* source_ = nullptr;
  uint64_t source_id_ = 0;
  uint64_t seen_generation_ = 0;
  uint64_t fetch_generation_ = 1;
  uint32_t clock_ = 0;
  Fault last_fault_;
  Counters counters_;
};

}  // namespace remora::mm

#endif  // REMORA_MM_TLB_H_
