#include "mm/host_runs.h"

#include <algorithm>

#include "base/check.h"

namespace remora::mm {

void HostRuns::CutRun(Set* set, Run* run, PageRange range) {
  const PageRange before{run->pages.first, std::max(run->pages.first, std::min(range.first, run->pages.end))};
  const PageRange behind{std::min(run->pages.end, std::max(range.end, run->pages.first)), run->pages.end};
  const bool longer_is_before = before.num_pages() >= behind.num_pages();
  run->pages = longer_is_before ? before : behind;
  const PageRange shorter = longer_is_before ? behind : before;
  if (shorter.empty()) return;
  for (Run& place : set->runs) {
    if (!place.pages.empty()) continue;
    place = {shorter, run->delta};
    return;
  }
}

void HostRuns::CheckInvariants() const {
  for (const Set& set : sets_) {
    for (const Run& run : set.runs) {
      if (run.pages.empty()) continue;
      CHECK(&SetOf(run.delta) == &set && (used_sets_ >> IndexOf(run.delta) & 1) != 0);  // 3
      for (const Run& other : set.runs) {
        if (&other == &run || other.pages.empty() || other.delta != run.delta) continue;
        CHECK(other.pages.end < run.pages.first || run.pages.end < other.pages.first);  // 2
      }
    }
  }
}

}  // namespace remora::mm
