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

// calloc, so that sets which nobody uses cost no memory; it aligns to 16 bytes only, hence the slack.
Tlb::Tlb()
    : others_memory_(std::calloc(1, (kSets + 1) * sizeof(OtherWays))),
      others_(reinterpret_cast<OtherWays*>(
          (reinterpret_cast<uintptr_t>(others_memory_.get()) + alignof(OtherWays) - 1) & ~(alignof(OtherWays) - 1))) {
  CHECK(others_memory_ != nullptr);
  front_.fill(kNoRights);
}

void Tlb::Bind(TlbSource* source, uint64_t source_id) {
  if (source == source_ && source_id == source_id_) return;
  Flush();
  source_ = source;
  source_id_ = source_id;
  // Nothing is held, so nothing older needs to be replayed.
  seen_generation_ = source == nullptr ? 0 : source->generation();
}

void Tlb::SynchronizeSlow() { seen_generation_ = source_->ReplayInvalidations(seen_generation_, this); }

uint32_t Tlb::WayOf(uint32_t set, PageNumber page) const {
  if (front_[set].read_tag == GuestAddr(page).value()) return 0;
  uint32_t way = 1;
  while (way < kWays && others_[set].pages[way - 1] != page.value() + 1) ++way;
  return way;
}

bool Tlb::HasRight(uint32_t set, uint32_t way, Access access) const {
  if (way == 0) return front_[set].tag_for(access) != kNoTag;
  const OtherWays::Entry& entry = others_[set].entries[way - 1];
  return access == Access::kRead || (access == Access::kWrite ? entry.write : entry.fetch);
}

void Tlb::Promote(uint32_t set, uint32_t way) {
  if (way == 0) return;
  OtherWays& others = others_[set];
  OtherWays::Entry& other = others.entries[way - 1];
  const bool other_used = used(set, way);
  const uint64_t tag = other_used ? GuestAddr(page(set, way)).value() : kNoTag;
  const Rights old = front_[set];
  const FrameId old_frame = front_frames_[set];
  front_[set] = {tag, other_used && other.write ? tag : kNoTag, other_used && other.fetch ? tag : kNoTag, other.delta};
  front_frames_[set] = other.frame;
  const bool old_used = old.read_tag != kNoTag;
  others.pages[way - 1] = old_used ? GuestAddr(old.read_tag).page().value() + 1 : 0;
  other = {old.delta, old_frame, ++clock_, old.write_tag != kNoTag, old.fetch_tag != kNoTag};
}

void Tlb::Displace(uint32_t set) {
  if (!used(set, 0)) return;
  uint32_t victim = 1;
  for (uint32_t way = 1; way < kWays; ++way) {
    if (!used(set, way)) {
      victim = way;
      break;
    }
    // As a distance, so that a wrap of the clock does not matter.
    const OtherWays::Entry* entries = others_[set].entries;
    if (clock_ - entries[way - 1].last_used > clock_ - entries[victim - 1].last_used) victim = way;
  }
  if (used(set, victim)) {
    evictions_by_conflict_.Add();
    if (Drop(set, victim)) displaced_fetch_.Insert(set);
  }
  Promote(set, victim);
}

void Tlb::Record(uint32_t set, PageNumber page, Access access, const TlbSource::Translation& translation) {
  const uint64_t tag = GuestAddr(page).value();
  Rights& rights = front_[set];
  front_frames_[set] = translation.frame;
  rights.delta = reinterpret_cast<uint64_t>(translation.host_page) - tag;
  rights.read_tag = tag;
  // A right to write that the page has from before says nothing of the run that the source tells of now.
  const bool writable = access == Access::kWrite || translation.writable;
  if (writable) rights.write_tag = tag;
  if (access == Access::kFetch) rights.fetch_tag = tag;
  if (translation.run.empty()) {
    read_runs_.Add(page, rights.delta);
    if (writable) write_runs_.Add(page, rights.delta);
  } else {
    read_runs_.Join(translation.run, rights.delta);
    if (writable) write_runs_.Join(translation.run, rights.delta);
  }
  used_sets_.Insert(set);
}

std::byte* Tlb::Fill(GuestAddr addr, Access access) {
  const PageNumber page = addr.page();
  const uint32_t set = SetOf(page);
  const uint32_t way = WayOf(set, page);
  if (way < kWays && HasRight(set, way, access)) {
    (way == 0 ? hits_ : way_hits_).Add();
    Promote(set, way);
    return reinterpret_cast<std::byte*>(addr.value() + front_[set].delta);
  }
  return Refill(addr, access);
}

std::byte* Tlb::Refill(GuestAddr addr, Access access) {
  const PageNumber page = addr.page();
  const uint32_t set = SetOf(page);
  const uint32_t way = WayOf(set, page);
  misses_.Add();
  const uint64_t generation = source_->generation();
  const TlbSource::Translation translation = source_->Translate(page, access);
  if (source_->generation() != generation) {
    // A copy of a page may have replaced one whose displaced fetch translation is still trusted, or that is in a run.
    if (displaced_fetch_.Test(set)) NoteFetchRightsGone();
    if (way == kWays) NoteLoss({page, page + 1}, /*writes_only=*/false);
  }
  if (translation.host_page == nullptr) {
    DCHECK(translation.fault != FaultKind::kNone);
    last_fault_ = {translation.fault, access, addr};
    return nullptr;
  }
  if (way < kWays) {
    Promote(set, way);
    const bool moved = frame(set, 0) != translation.frame ||
                       front_[set].delta + GuestAddr(page).value() != reinterpret_cast<uint64_t>(translation.host_page);
    if (moved) {
      NoteLoss({page, page + 1}, /*writes_only=*/false);
      if (Drop(set, 0)) NoteFetchRightsGone();
    }
  } else {
    Displace(set);
  }
  Record(set, page, access, translation);
  return reinterpret_cast<std::byte*>(addr.value() + front_[set].delta);
}

FrameId Tlb::FetchFrame(PageNumber page) const {
  const uint32_t set = SetOf(page);
  const uint32_t way = WayOf(set, page);
  if (way == kWays || !HasRight(set, way, Access::kFetch)) return FrameId();
  return frame(set, way);
}

bool Tlb::Drop(uint32_t set, uint32_t way) {
  const bool could_fetch = HasRight(set, way, Access::kFetch);
  if (way == 0) {
    front_[set] = kNoRights;
  } else {
    others_[set].pages[way - 1] = 0;
  }
  return could_fetch;
}

void Tlb::NoteFetchRightsGone() {
  ++fetch_generation_;
  displaced_fetch_.Clear();
}

template <typename F>
void Tlb::ForEachUsed(F visit) const {
  used_sets_.ForEach([&](uint32_t set) {
    for (uint32_t way = 0; way < kWays; ++way)
      if (used(set, way)) visit(set, way);
  });
}

template <typename F>
void Tlb::ForEachEntry(PageRange range, F visit) {
  if (range.num_pages() <= kSets) {
    for (PageNumber page = range.first; page < range.end; ++page) {
      const uint32_t set = SetOf(page);
      if (!used_sets_.Test(set)) continue;
      const uint32_t way = WayOf(set, page);
      if (way < kWays) visit(set, way);
    }
    return;
  }
  ForEachUsed([&](uint32_t set, uint32_t way) {
    if (range.Contains(page(set, way))) visit(set, way);
  });
}

void Tlb::Invalidate(PageRange range) {
  NoteLoss(range, /*writes_only=*/false);
  bool fetch_rights_gone = false;
  if (range.num_pages() <= kSets) {
    for (PageNumber page = range.first; page < range.end && !fetch_rights_gone; ++page)
      fetch_rights_gone = displaced_fetch_.Test(SetOf(page));
  } else {
    fetch_rights_gone = displaced_fetch_.Any();
  }
  ForEachEntry(range, [&](uint32_t set, uint32_t way) {
    evictions_by_range_.Add();
    if (Drop(set, way)) fetch_rights_gone = true;
  });
  if (fetch_rights_gone) NoteFetchRightsGone();
}

void Tlb::InvalidateWriteRights(PageRange range) {
  NoteLoss(range, /*writes_only=*/true);
  ForEachEntry(range, [&](uint32_t set, uint32_t way) {
    if (way == 0) {
      front_[set].write_tag = kNoTag;
    } else {
      others_[set].entries[way - 1].write = false;
    }
  });
}

void Tlb::Flush() {
  NoteLoss({PageNumber(0), PageNumber(~uint64_t{0})}, /*writes_only=*/false);
  ForEachUsed([&](uint32_t set, uint32_t way) {
    evictions_by_flush_.Add();
    Drop(set, way);
  });
  used_sets_.Clear();
  NoteFetchRightsGone();
}

Tlb::Counters Tlb::counters() const {
  return {.hits = hits_.value(),
          .way_hits = way_hits_.value(),
          .misses = misses_.value(),
          .evictions_by_conflict = evictions_by_conflict_.value(),
          .evictions_by_range = evictions_by_range_.value(),
          .evictions_by_flush = evictions_by_flush_.value()};
}

uint64_t Tlb::CountEntriesForTesting() const {
  uint64_t count = 0;
  ForEachUsed([&](uint32_t, uint32_t) { ++count; });
  return count;
}

void Tlb::CheckInvariants() const {
  read_runs_.CheckInvariants();
  write_runs_.CheckInvariants();
  for (uint32_t set = 0; set < kSets; ++set) {
    if (!used_sets_.Test(set)) {
      for (uint32_t way = 0; way < kWays; ++way) CHECK(!used(set, way) && front_[set].write_tag == kNoTag);
      continue;
    }
    for (uint32_t way = 0; way < kWays; ++way) {
      if (!used(set, way)) continue;
      if (way == 0)
        for (const uint64_t right : {front_[set].write_tag, front_[set].fetch_tag})
          CHECK(right == kNoTag || right == front_[set].read_tag);  // 5
      const PageNumber held = page(set, way);
      CHECK(SetOf(held) == set);
      CHECK(WayOf(set, held) == way);  // 2
    }
  }
}

}  // namespace remora::mm
