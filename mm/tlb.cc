#include "mm/tlb.h"

#include <bit>
#include <utility>

#include "base/check.h"

namespace remora::mm {

bool Tlb::SetBits::Any() const {
  for (const uint64_t word : words_)
    if (word != 0) return true;
  return false;
}

template <typename F>
void Tlb::SetBits::ForEach(F visit) const {
  for (uint32_t i = 0; i < words_.size(); ++i)
    for (uint64_t word = words_[i]; word != 0; word &= word - 1)
      visit(i * 64 + static_cast<uint32_t>(std::countr_zero(word)));
}

Tlb::Tlb() = default;

void Tlb::Bind(TlbSource* source, uint64_t source_id) {
  if (source == source_ && source_id == source_id_) return;
  Flush();
  source_ = source;
  source_id_ = source_id;
  // Nothing is held, so nothing older needs to be replayed.
  seen_generation_ = source == nullptr ? 0 : source->generation();
}

void Tlb::SynchronizeSlow() { seen_generation_ = source_->ReplayInvalidations(seen_generation_, this); }

uint32_t Tlb::WayOf(const Set& set, PageNumber page) const {
  uint32_t way = 0;
  while (way < kWays && !(set.ways[way].used && set.ways[way].page == page)) ++way;
  return way;
}

void Tlb::Promote(Set& set, uint32_t way) {
  if (way == 0) return;
  set.ways[0].last_used = ++clock_;
  std::swap(set.ways[0], set.ways[way]);
}

// Makes way 0 free: its entry takes the place of the one that was used longest ago.
Tlb::Entry& Tlb::Displace(uint32_t set_index) {
  Set& set = sets_[set_index];
  if (!set.ways[0].used) return set.ways[0];
  uint32_t victim = 1;
  for (uint32_t way = 1; way < kWays; ++way) {
    if (!set.ways[way].used) {
      victim = way;
      break;
    }
    // As a distance, so that a wrap of the clock does not matter.
    if (clock_ - set.ways[way].last_used > clock_ - set.ways[victim].last_used) victim = way;
  }
  if (set.ways[victim].used) {
    ++counters_.evictions_by_conflict;
    if (Drop(set.ways[victim])) displaced_fetch_.Insert(set_index);
  }
  Promote(set, victim);
  return set.ways[0];
}

void Tlb::Record(Entry& entry, PageNumber page, Access access, const TlbSource::Translation& translation) {
  const uint64_t tag = GuestAddr(page).value();
  entry.page = page;
  entry.frame = translation.frame;
  entry.delta = reinterpret_cast<uint64_t>(translation.host_page) - tag;
  entry.used = true;
  // On x86 whatever is accessible is readable.
  entry.read_tag = tag;
  if (access == Access::kWrite || translation.writable) entry.write_tag = tag;
  if (access == Access::kFetch) entry.fetch_tag = tag;
}

std::byte* Tlb::Fill(GuestAddr addr, Access access) {
  const PageNumber page = addr.page();
  const uint32_t set_index = SetOf(page);
  Set& set = sets_[set_index];
  uint32_t way = WayOf(set, page);
  if (way < kWays && set.ways[way].tag_for(access) != kNoTag) {
    if (way != 0) ++counters_.way_hits;
    Promote(set, way);
    return reinterpret_cast<std::byte*>(addr.value() + set.ways[0].delta);
  }

  ++counters_.misses;
  const uint64_t generation = source_->generation();
  const TlbSource::Translation translation = source_->Translate(page, access);
  // A copy of a page may have replaced one whose displaced fetch translation is still trusted.
  if (displaced_fetch_.Test(set_index) && source_->generation() != generation) NoteFetchRightsGone();
  if (translation.host_page == nullptr) {
    DCHECK(translation.fault != FaultKind::kNone);
    last_fault_ = {translation.fault, access, addr};
    return nullptr;
  }
  if (way < kWays) {
    Promote(set, way);
    Entry& entry = set.ways[0];
    const bool moved = entry.frame != translation.frame ||
                       entry.delta + GuestAddr(page).value() != reinterpret_cast<uint64_t>(translation.host_page);
    if (moved && Drop(entry)) NoteFetchRightsGone();
    Record(entry, page, access, translation);
  } else {
    Record(Displace(set_index), page, access, translation);
    used_sets_.Insert(set_index);
  }
  return reinterpret_cast<std::byte*>(addr.value() + set.ways[0].delta);
}

FrameId Tlb::FetchFrame(PageNumber page) const {
  const Set& set = sets_[SetOf(page)];
  const uint32_t way = WayOf(set, page);
  if (way == kWays || set.ways[way].fetch_tag == kNoTag) return FrameId();
  return set.ways[way].frame;
}

bool Tlb::Drop(Entry& entry) {
  const bool could_fetch = entry.fetch_tag != kNoTag;
  entry = Entry();
  return could_fetch;
}

void Tlb::NoteFetchRightsGone() {
  ++fetch_generation_;
  displaced_fetch_.Clear();
}

template <typename F>
void Tlb::ForEachEntry(PageRange range, F visit) {
  if (range.num_pages() <= kSets) {
    for (PageNumber page = range.first; page < range.end; ++page) {
      const uint32_t set_index = SetOf(page);
      const uint32_t way = WayOf(sets_[set_index], page);
      if (way < kWays) visit(sets_[set_index].ways[way]);
    }
    return;
  }
  used_sets_.ForEach([&](uint32_t set_index) {
    for (Entry& entry : sets_[set_index].ways)
      if (entry.used && range.Contains(entry.page)) visit(entry);
  });
}

void Tlb::Invalidate(PageRange range) {
  bool fetch_rights_gone = false;
  if (range.num_pages() <= kSets) {
    for (PageNumber page = range.first; page < range.end && !fetch_rights_gone; ++page)
      fetch_rights_gone = displaced_fetch_.Test(SetOf(page));
  } else {
    fetch_rights_gone = displaced_fetch_.Any();
  }
  ForEachEntry(range, [&](Entry& entry) {
    ++counters_.evictions_by_range;
    if (Drop(entry)) fetch_rights_gone = true;
  });
  if (fetch_rights_gone) NoteFetchRightsGone();
}

void Tlb::InvalidateWriteRights(PageRange range) {
  ForEachEntry(range, [](Entry& entry) { entry.write_tag = kNoTag; });
}

void Tlb::Flush() {
  used_sets_.ForEach([&](uint32_t set_index) {
    for (Entry& entry : sets_[set_index].ways) {
      if (!entry.used) continue;
      ++counters_.evictions_by_flush;
      Drop(entry);
    }
  });
  used_sets_.Clear();
  NoteFetchRightsGone();
}

uint64_t Tlb::CountEntriesForTesting() const {
  uint64_t count = 0;
  for (const Set& set : sets_)
    for (const Entry& entry : set.ways) count += entry.used;
  return count;
}

void Tlb::CheckInvariants() const {
  for (uint32_t i = 0; i < kSets; ++i) {
    for (uint32_t way = 0; way < kWays; ++way) {
      const Entry& entry = sets_[i].ways[way];
      const uint64_t tag = GuestAddr(entry.page).value();
      for (const uint64_t right : {entry.read_tag, entry.write_tag, entry.fetch_tag})
        CHECK(right == kNoTag || (entry.used && right == tag));
      if (!entry.used) continue;
      CHECK(SetOf(entry.page) == i && used_sets_.Test(i));
      CHECK(WayOf(sets_[i], entry.page) == way);  // 2
    }
  }
}

}  // namespace remora::mm
