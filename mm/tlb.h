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
    FrameId frame;
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

 protected:
  ~TlbSource() = default;
};

// One worker's software TLB for one address space: 4-way set-associative, separate read, write and fetch rights.
//
// Invariants:
//  1. An entry's right is there only if the page table granted it at a generation <= seen_generation(), and no
//  invalidation that
//     covers it lies between.
//  2. Way 0 of a set holds the entry last hit, so the inline probe compares one tag.
//  3. A write right implies that FramePool::PrepareWrite has been called since the frame last got code.
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

  // Grows whenever a fetch right goes away: what caches pc -> block compares it.
  uint64_t fetch_generation() const { return fetch_generation_; }

  struct Counters {
    uint64_t way_hits = 0;  // hits of Fill in ways 1..3
    uint64_t misses = 0;
    uint64_t evictions_by_conflict = 0, evictions_by_range = 0, evictions_by_flush = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  static constexpr uint64_t kNoTag = ~uint64_t{0};  // no page-aligned address equals it
  struct Entry {
    uint64_t read_tag = kNoTag, write_tag = kNoTag, fetch_tag = kNoTag;
    uint64_t delta = 0;  // host page - guest page
    FrameId frame;
    uint32_t last_used = 0;
    PageNumber page;
    bool used = false;
  };
  struct Set {
    std::array<Entry, kWays> ways;
  };
  static uint32_t SetOf(PageNumber page) {
    return static_cast<uint32_t>(page.value() ^ (page.value() >> 10)) & (kSets - 1);
  }
  void SynchronizeSlow();

  std::array<Set, kSets> sets_;
  TlbSource* source_ = nullptr;
  uint64_t source_id_ = 0;
  uint64_t seen_generation_ = 0;
  uint64_t fetch_generation_ = 1;
  Fault last_fault_;
  Counters counters_;
};

}  // namespace remora::mm

#endif  // REMORA_MM_TLB_H_
