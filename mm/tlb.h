#ifndef REMORA_MM_TLB_H_
#define REMORA_MM_TLB_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "absl/functional/function_ref.h"
#include "base/counter.h"
#include "mm/code_mapping.h"
#include "mm/host_runs.h"
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
    // Pages around the wanted one, and that one, that lie as far from the host's memory and have the same rights, as
    // far as the source has just met them; empty: only the wanted one.
    PageRange run{};
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
  // The mapping that the page is code of. Who has it has, until fetch rights to any of its pages are lost, at each of
  // its pages the frame that everybody has there who has it, present or not; if that becomes another one, the code of
  // the earlier one is dropped first. Not valid: it is not to be counted on.
  virtual CodeMapping CodeMappingOf(PageNumber) { return {}; }
  // Whether the page belongs to a mapping of a file that the next run may find, too.
  virtual bool IsOfHostFile(PageNumber) { return false; }
  // Runs `store`, which takes no lock, unless something was taken away since `generation`; meanwhile nothing is. False:
  // something was.
  virtual bool StoreIfUnchanged(uint64_t generation, absl::FunctionRef<void()> store) {
    if (this->generation() != generation) return false;
    store();
    return true;
  }
  // Blocks the calling thread while Translate answers FaultKind::kNotReady: for the few kernel accesses that cannot be
  // tried again.
  virtual void AwaitPage(PageNumber, Access) {}

 protected:
  ~TlbSource() = default;
};

// One worker's software TLB for one address space: set-associative, with separate read, write and fetch rights.
//
// Way 0 of all sets stands by itself in one dense array, two sets to a cache line: the inline probe looks only there.
// The other ways are searched by Fill, the miss path, and come to way 0 when they are hit.
//
//      page 0x7f0012345 --SetOf--> set 0x4c8
//                                    |
//   front_   | .. | read write fetch delta | .. |       compared by Probe: one tag, one add
//   others_  | .. | way 1 | way 2 | ... | way 7 | .. |  searched by Fill, least recently used goes first
//
// Invariants:
//  1. A right in an entry was granted by the source, and no invalidation at or before seen_generation() took it away
//     since. (One filled later than seen_generation() may be dropped once more by a replay: harmless.)
//  2. Way 0 of a set is empty or holds the entry that was used last. No page has two entries.
//  3. A write right implies that FramePool::PrepareWrite has been called since the frame last got code.
//  4. Between two values of fetch_generation() no page's fetch translation that was ever answered has gone or changed,
//     even if its entry was displaced meanwhile: a bit for each set remembers that a fetch right was displaced there,
//     and an invalidation that meets the bit counts.
//  5. An entry with any right has the read right: on x86 whatever is accessible is readable.
//  6. What RunAround answers obeys 1 and 3 for each of its pages, for the right it is asked for.
// Linux twin: the CPU's TLB and arch/x86/mm/tlb.c (flush_tlb_func replays by generation, and flushes all where it
// missed too much; so does this). Differences: an invalidation costs what it touches, so there is no ceiling beyond
// which a range flushes everything; write rights can go alone; code keeps a generation of its own.
// Cost: Probe a few instructions; Fill one set (a miss: what the source takes); Invalidate min(pages, entries) sets;
// Flush the entries that are in use. About 0.6 MiB when full, touched as it fills.
// Thread safety: used by its worker only, but for counters(). Other threads bump the source's generation and interrupt
// the worker.
class Tlb {
 public:
  static constexpr uint32_t kWays = 8;
  static constexpr uint32_t kSetBits = 11;
  static constexpr uint32_t kSets = 1 << kSetBits;

  Tlb();
  Tlb(const Tlb&) = delete;
  Tlb& operator=(const Tlb&) = delete;

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
  // the next Synchronize or Fill. Null too where the `kBytes` (1 to 4096) from there on leave the page: one comparison
  // tells both, since two neighbouring pages never share a set.
  template <Access kAccess, uint64_t kBytes = 1>
  std::byte* Probe(GuestAddr addr) const {
    const Rights& rights = front_[SetOf(addr.page())];
    if (rights.tag_for(kAccess) != ((addr.value() + (kBytes - 1)) & ~kPageMask)) [[unlikely]]
      return nullptr;
    auto* const host = reinterpret_cast<std::byte*>(addr.value() + rights.delta);
    __builtin_assume(host != nullptr);
    return host;
  }

  // For generated code that does what Probe does: way 0 of set (page + (page >> kSetBits)) % kSets is kFrontBytes *
  // set behind front(). A tag is the address of the page, if it has that right; host = address + delta.
  static constexpr uint32_t kFrontBytes = 32, kReadTagOffset = 0, kWriteTagOffset = 8, kDeltaOffset = 24;
  const void* front() const { return front_.data(); }

  // The miss path: looks at the other ways, then asks the source. Null: last_fault() tells why.
  std::byte* Fill(GuestAddr addr, Access access);
  // The same, but the source is asked in any case: the run around the page may have grown since, by pages that this TLB
  // has never met.
  std::byte* Refill(GuestAddr addr, Access access);
  const Fault& last_fault() const { return last_fault_; }
  void ForgetFault() { last_fault_ = Fault(); }

  // Probe, then Fill.
  template <Access kAccess>
  std::byte* Lookup(GuestAddr addr) {
    if (std::byte* host = Probe<kAccess>(addr)) [[likely]] {
      hits_.Add();
      return host;
    }
    return Fill(addr, kAccess);
  }

  // The frame behind a fetch translation just looked up: what decoded code is keyed by.
  FrameId FetchFrame(PageNumber page) const;

  // Takes translations or only write rights away from a range of pages; work is proportional to min(pages, entries).
  void Invalidate(PageRange range);
  void InvalidateWriteRights(PageRange range);
  void Flush();

  // How far the pages around `page` lie side by side in the host's memory with the same right (reading or writing), as
  // far as is known: at least `page` itself, whose right and `delta` (host - guest) the caller has just found by Probe
  // or Fill. Pages count even where their entries were displaced meanwhile. Valid until losses() grows.
  template <Access kAccess>
  PageRange RunAround(PageNumber page, uint64_t delta) {
    static_assert(kAccess != Access::kFetch);
    constexpr int kMaxSteps = 128;  // each way, for one call
    HostRuns& runs = kAccess == Access::kRead ? read_runs_ : write_runs_;
    const PageRange known = runs.Find(page, delta);
    PageRange run = known.empty() ? PageRange{page, page + 1} : known;
    for (int i = 0; i < kMaxSteps && Continues<kAccess>(run.end, delta); ++i) {
      const PageRange next = runs.Find(run.end, delta);
      run.end = next.empty() ? run.end + 1 : next.end;
    }
    for (int i = 0; i < kMaxSteps && Continues<kAccess>(run.first - 1, delta); ++i) {
      const PageRange next = runs.Find(run.first - 1, delta);
      run.first = next.empty() ? run.first - 1 : next.first;
    }
    return run == known ? run : runs.Join(run, delta);
  }

  // What was taken away lately, for caches of what Probe answered (cpu/translator's extents): they compare losses(),
  // the number of such events so far, and look at those that they have not seen.
  uint64_t losses() const { return losses_; }
  // Calls visit(range, writes_only) for each after `since`; false, and nothing called, if they are no longer known.
  template <typename F>
  bool ForEachLossSince(uint64_t since, F visit) const {
    if (losses_ - since > kRememberedLosses) return false;
    for (uint64_t i = since; i != losses_; ++i) {
      const Loss& loss = recent_losses_[i % kRememberedLosses];
      visit(loss.range, loss.writes_only);
    }
    return true;
  }

  // Grows whenever a fetch right is taken away or a page's frame changes, not when an entry is merely displaced: what
  // caches pc -> block compares it.
  uint64_t fetch_generation() const { return fetch_generation_; }

  struct Counters {
    uint64_t hits = 0;      // of Lookup and Fill in way 0; an engine counts its own probes (cpu/engine.h)
    uint64_t way_hits = 0;  // of Fill in the other ways
    uint64_t misses = 0;
    uint64_t evictions_by_conflict = 0, evictions_by_range = 0, evictions_by_flush = 0;
  };
  // From any thread.
  Counters counters() const;
  // Entries that hold a translation.
  uint64_t CountEntriesForTesting() const;
  void CheckInvariants() const;

 private:
  static constexpr uint64_t kNoTag = ~uint64_t{0};  // no page-aligned address equals it
  // Each tag is the page's address where there is that right, else kNoTag.
  struct alignas(32) Rights {
    uint64_t read_tag, write_tag, fetch_tag;
    uint64_t delta;  // host page - guest page

    uint64_t tag_for(Access access) const {
      return access == Access::kRead ? read_tag : access == Access::kWrite ? write_tag : fetch_tag;
    }
  };
  static_assert(sizeof(Rights) == kFrontBytes && offsetof(Rights, read_tag) == kReadTagOffset &&
                offsetof(Rights, write_tag) == kWriteTagOffset && offsetof(Rights, delta) == kDeltaOffset);
  static constexpr Rights kNoRights = {kNoTag, kNoTag, kNoTag, 0};
  // Ways 1 and more of a set. All zero where nothing ever was, so that memory is touched only as it is needed; a search
  // reads one cache line.
  struct alignas(64) OtherWays {
    uint64_t pages[kWays - 1];  // page number + 1; 0: empty
    struct Entry {
      uint64_t delta;
      FrameId frame;
      uint32_t last_used;  // of clock_, when it left way 0
      bool write, fetch;   // rights beside reading
    } entries[kWays - 1];
  };
  struct Loss {
    PageRange range;
    bool writes_only = false;
  };
  static constexpr uint64_t kRememberedLosses = 16;
  void NoteLoss(PageRange range, bool writes_only) {
    recent_losses_[losses_++ % kRememberedLosses] = {range, writes_only};
    if (!writes_only) read_runs_.Cut(range);
    write_runs_.Cut(range);
  }
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
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
    return static_cast<uint32_t>(page.value() + (page.value() >> kSetBits)) & (kSets - 1);
  }
  void SynchronizeSlow();
  bool used(uint32_t set, uint32_t way) const {
    return way == 0 ? front_[set].read_tag != kNoTag : others_[set].pages[way - 1] != 0;
  }
  // Of an entry that is used.
  PageNumber page(uint32_t set, uint32_t way) const {
    return way == 0 ? GuestAddr(front_[set].read_tag).page() : PageNumber(others_[set].pages[way - 1] - 1);
  }
  FrameId frame(uint32_t set, uint32_t way) const {
    return way == 0 ? front_frames_[set] : others_[set].entries[way - 1].frame;
  }
  bool HasRight(uint32_t set, uint32_t way, Access access) const;
  // An entry for `page` has the right and this delta.
  template <Access kAccess>
  bool Continues(PageNumber page, uint64_t delta) const {
    const uint32_t set = SetOf(page);
    if (front_[set].tag_for(kAccess) == GuestAddr(page).value()) return front_[set].delta == delta;
    const OtherWays& others = others_[set];
    for (uint32_t i = 0; i < kWays - 1; ++i)
      if (others.pages[i] == page.value() + 1)
        return others.entries[i].delta == delta && (kAccess == Access::kRead || others.entries[i].write);
    return false;
  }
  // The way of `set` that holds `page`, or kWays.
  uint32_t WayOf(uint32_t set, PageNumber page) const;
  // Exchanges ways 0 and `way`.
  void Promote(uint32_t set, uint32_t way);
  // Makes way 0 empty: its entry takes the place of the one that was used longest ago.
  void Displace(uint32_t set);
  // Puts a translation into way 0, which is empty or holds this page already.
  void Record(uint32_t set, PageNumber page, Access access, const TlbSource::Translation& translation);
  // Forgets an entry; true if it had a fetch right.
  bool Drop(uint32_t set, uint32_t way);
  void NoteFetchRightsGone();
  // Calls visit(set, way) for the entries of pages in `range`.
  template <typename F>
  void ForEachEntry(PageRange range, F visit);
  // Calls visit(set, way) for every entry.
  template <typename F>
  void ForEachUsed(F visit) const;

  alignas(64) std::array<Rights, kSets> front_;
  const std::unique_ptr<void, Free> others_memory_;
  OtherWays* const others_;  // in it, at a cache line's start
  std::array<FrameId, kSets> front_frames_;
  SetBits used_sets_;        // may have entries: what Flush and long ranges look at
  SetBits displaced_fetch_;  // invariant 4
  TlbSource* source_ = nullptr;
  uint64_t source_id_ = 0;
  uint64_t seen_generation_ = 0;
  uint64_t fetch_generation_ = 1;
  uint64_t losses_ = 0;
  std::array<Loss, kRememberedLosses> recent_losses_;
  HostRuns read_runs_, write_runs_;
  uint32_t clock_ = 0;
  Fault last_fault_;
  Counter hits_, way_hits_, misses_, evictions_by_conflict_, evictions_by_range_, evictions_by_flush_;
};

}  // namespace remora::mm

#endif  // REMORA_MM_TLB_H_
