#ifndef REMORA_MM_HOST_RUNS_H_
#define REMORA_MM_HOST_RUNS_H_

#include <array>
#include <bit>
#include <cstdint>

#include "base/guest_addr.h"

namespace remora::mm {

// Runs of guest pages that lie side by side in the host's memory, as they were met: for one right of one TLB. Where the
// TLB answers for a page, this answers how far the same distance between guest and host goes on.
//
// Pages that belong together have the same delta (host - guest), so the delta is the key. Each of 32 sets holds four
// runs; holes of a mapping (guard pages) make several runs of one delta.
//
// Invariants:
//  1. A page is in a run of its delta only if it was added with that delta and has not been cut since.
//  2. No two runs of one delta overlap or touch.
//  3. All runs of one delta are in one set, whose bit in used_sets_ is set.
// Linux twin: none; hardware has it as coalesced TLB entries (CoLT). Difference: a run can be as long as memory goes.
// Cost: Add, Join and Find look at one set; Cut at those that were ever used.
// Thread safety: none.
class HostRuns {
 public:
  struct Run {
    PageRange pages;
    uint64_t delta = 0;
  };

  // `page` lies `delta` bytes behind itself: a multiple of 4096, modulo 2^64. Forgotten where the set is full and no
  // run is beside it: see Join.
  void Add(PageNumber page, uint64_t delta) {
    Set& set = SetOf(delta);
    Run* before = nullptr;
    Run* behind = nullptr;
    Run* empty = nullptr;
    for (Run& run : set.runs) {
      if (run.pages.empty()) {
        empty = &run;
        continue;
      }
      if (run.delta != delta) continue;
      if (run.pages.first <= page && page < run.pages.end) return;
      if (run.pages.end == page) before = &run;
      if (run.pages.first == page + 1) behind = &run;
    }
    if (before != nullptr) {
      before->pages.end = behind != nullptr ? behind->pages.end : page + 1;
      if (behind != nullptr) behind->pages = {};
    } else if (behind != nullptr) {
      behind->pages.first = page;
    } else if (empty != nullptr) {
      *empty = {{page, page + 1}, delta};
      NoteUse(delta);
    }
  }

  // Notes a whole run; answers it with what it touches or overlaps. In a full set it takes the place of the shortest
  // run, or is forgotten if it is itself shorter.
  PageRange Join(PageRange pages, uint64_t delta) {
    Set& set = SetOf(delta);
    for (Run& run : set.runs) {
      if (run.pages.empty() || run.delta != delta) continue;
      if (run.pages.end < pages.first || pages.end < run.pages.first) continue;
      if (run.pages.first < pages.first) pages.first = run.pages.first;
      if (pages.end < run.pages.end) pages.end = run.pages.end;
      run.pages = {};
    }
    Run* place = &set.runs[0];
    for (Run& run : set.runs)
      if (run.pages.num_pages() < place->pages.num_pages()) place = &run;
    if (place->pages.num_pages() <= pages.num_pages()) *place = {pages, delta};
    NoteUse(delta);
    return pages;
  }

  // The run that holds `page`; empty if there is none.
  PageRange Find(PageNumber page, uint64_t delta) const {
    for (const Run& run : SetOf(delta).runs)
      if (run.delta == delta && run.pages.first <= page && page < run.pages.end) return run.pages;
    return {};
  }

  // The pages of `range` are in no run any more.
  void Cut(PageRange range) {
    if (range.empty()) return;
    for (uint32_t used = used_sets_; used != 0; used &= used - 1) {
      Set& set = sets_[static_cast<uint32_t>(std::countr_zero(used))];
      for (Run& run : set.runs)
        if (run.pages.first < range.end && range.first < run.pages.end) CutRun(&set, &run, range);
    }
  }

  void CheckInvariants() const;

 private:
  static constexpr uint32_t kSetBits = 5, kWays = 4;
  struct Set {
    std::array<Run, kWays> runs;
  };
  static uint32_t IndexOf(uint64_t delta) {
    return static_cast<uint32_t>((delta >> kPageShift) * 0x9e3779b97f4a7c15 >> (64 - kSetBits));
  }
  void NoteUse(uint64_t delta) { used_sets_ |= uint32_t{1} << IndexOf(delta); }
  Set& SetOf(uint64_t delta) { return sets_[IndexOf(delta)]; }
  const Set& SetOf(uint64_t delta) const { return sets_[IndexOf(delta)]; }
  // The two meet.
  static void CutRun(Set* set, Run* run, PageRange range);

  std::array<Set, 1 << kSetBits> sets_;
  uint32_t used_sets_ = 0;  // a bit for each set that ever had a run
};

}  // namespace remora::mm

#endif  // REMORA_MM_HOST_RUNS_H_
