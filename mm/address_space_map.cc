#include <algorithm>
#include <utility>

#include "mm/address_space.h"

// mmap, munmap, mprotect, mremap, brk and madvise: what changes the VMAs.

namespace remora::mm {
namespace {

// What moves to grow by half or more is likely an array that doubles each time. It would become a row of runs, one for
// each time, and translated code that goes to and fro in it would not find any for long. What is large is a long run as
// it is.
bool GrowsMuch(uint64_t old_pages, uint64_t new_pages) {
  constexpr uint64_t kMaxOld = 1024;
  return old_pages <= kMaxOld && new_pages > old_pages && 2 * new_pages >= 3 * old_pages;
}

constexpr uint64_t kLow32BitAddress = 0x40000000, kHigh32BitAddress = 0x80000000;  // MAP_32BIT

// The rights that an access finds: x86 has no page that is writable or executable but not readable.
uint8_t EffectiveRights(Protection p) {
  return static_cast<uint8_t>((p.readable() ? 1 : 0) | (p.writable() ? 2 : 0) | (p.executable() ? 4 : 0));
}

PageNumber PageOf(uint64_t address) { return PageNumber(address >> kPageShift); }

// `length_bytes` in whole pages; the caller has checked that it is not longer than the address space.
uint64_t PagesOf(uint64_t length_bytes) { return PageRoundUp(length_bytes) >> kPageShift; }

Vma PieceOf(const Vma& vma, PageRange range) {
  Vma piece = vma;
  piece.range = range;
  if (piece.object) piece.first_page_index = vma.PageIndexOf(range.first);
  return piece;
}

}  // namespace

// --- helpers ---

bool AddressSpace::HasEntriesLocked(PageRange range) const {
  bool found = false;
  table_.ForEach(range, [&](PageNumber, PageTableEntry) {
    found = true;
    return false;
  });
  return found;
}

bool AddressSpace::HasRoomLocked(PageRange range) const {
  if (!holes_.IsFree(range)) return false;
  const Vma* next = vmas_.FindAtOrAfter(range.end);
  return next == nullptr || !next->grows_down || next->range.first - range.end >= kStackGuardPages;
}

ErrnoOr<PageRange> AddressSpace::FindHoleLocked(uint64_t num_pages, bool below_2g) const {
  const auto count_search = [this] { context_->hole_searches.fetch_add(1, std::memory_order_relaxed); };
  count_search();
  if (below_2g) {
    const auto low = holes_.FindLowest(num_pages, {PageOf(kLow32BitAddress), PageOf(kHigh32BitAddress)});
    if (!low) return Errno(ENOMEM);
    return *low;
  }
  const PageNumber lowest = PageOf(kLowestAddress);
  const PageNumber top = layout_.mmap_top.is_null() ? PageOf(kUserAddressEnd) : layout_.mmap_top.page();
  PageRange within{lowest, std::max(top, lowest)};
  while (const auto hole = holes_.FindTopmost(num_pages, within)) {
    const Vma* next = vmas_.FindAtOrAfter(hole->end);
    if (next == nullptr || !next->grows_down || next->range.first - hole->end >= kStackGuardPages) return *hole;
    // Too near below a stack.
    if (next->range.first.value() < lowest.value() + kStackGuardPages) break;
    within.end = next->range.first - kStackGuardPages;
    count_search();
  }
  count_search();
  const auto any = holes_.FindLowest(num_pages, {lowest, PageOf(kUserAddressEnd)});
  if (!any) return Errno(ENOMEM);
  return *any;
}

void AddressSpace::InsertLocked(Vma vma) {
  holes_.Reserve(vma.range);
  if (vma.object) vma.object->OnMapped(this, vma.range, vma.first_page_index);
  vmas_.Insert(std::move(vma));
  RecordChangedCodeLocked();
}

void AddressSpace::UnmapLocked(PageRange range, Removed* removed) {
  vmas_.Remove(range, [&](const Vma& piece) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    holes_.Release(piece.range);
    if (!piece.object) return;
    piece.object->OnUnmapped(this, piece.range, piece.first_page_index);
    removed->objects.push_back(piece.object);
  });
  // Where no entry was, no TLB has one.
  if (table_.Remove(range, &removed->frames) != 0) RecordLocked(range, /*writes_only=*/false);
  RecordChangedCodeLocked();
}

bool AddressSpace::MaySplitLocked(PageRange range) const {
  if (vmas_.size() < kMaxMappings) return true;
  const Vma* vma = vmas_.Find(range.first);
  return vma == nullptr || vma->range.first == range.first || vma->range.end <= range.end;
}

void AddressSpace::Populate(PageRange range, Access access) {
  // A guest that asks for terabytes shall not hold its worker for hours: the rest comes as it is touched.
  range.end = std::min(range.end, range.first + kMaxPopulatedPages);
  for (PageNumber page = range.first; page < range.end; ++page) {
    const FaultKind fault = Translate(page, access).fault;
    if (fault != FaultKind::kNone && fault != FaultKind::kMustWait) return;
  }
}

// --- mmap ---

ErrnoOr<PageRange> AddressSpace::PlaceLocked(const MapRequest& request, uint64_t num_pages) {
  const uint64_t length_bytes = num_pages << kPageShift;
  if (request.placement != MapRequest::Placement::kHint) {
    const auto range = PageRange::ForUser(request.address, length_bytes);
    if (!request.address.page_aligned()) return Errno(EINVAL);
    if (!range) return Errno(ENOMEM);
    if (request.address.value() < kLowestAddress) return Errno(EPERM);
    if (request.placement == MapRequest::Placement::kFixedNoReplace && !holes_.IsFree(*range)) return Errno(EEXIST);
    return *range;
  }
  const GuestAddr hint(PageRoundDown(request.address.value()));
  if (hint.value() >= kLowestAddress) {
    const auto range = PageRange::ForUser(hint, length_bytes);
    if (range && HasRoomLocked(*range) && (!request.below_2g || range->end <= PageOf(kHigh32BitAddress))) return *range;
  }
  if (hint.is_null() && request.object && !request.shared && request.offset_bytes == 0 && !request.below_2g) {
    const PageRange usual = UsualPlace(request.object->place_key(), num_pages);
    if (!usual.empty() && HasRoomLocked(usual)) return usual;
  }
  return FindHoleLocked(num_pages, request.below_2g);
}

// Code that was translated belongs to an address: so the same library shall be at the same one in each process.
PageRange AddressSpace::UsualPlace(uint64_t place_key, uint64_t num_pages) const {
  constexpr uint64_t kPlaceBits = 17, kPlacePages = 512;  // places 2 MiB apart in 256 GiB
  constexpr uint64_t kAllPages = kPlacePages << kPlaceBits;
  if (layout_.mmap_top.page().value() < 2 * kAllPages || num_pages > kAllPages) return {};
  // A multiplication by the golden ratio puts numbers that follow each other far apart.
  const uint64_t place = place_key * 0x9e3779b97f4a7c15 >> (64 - kPlaceBits);
  const PageNumber end = PageNumber((layout_.mmap_top.page().value() & ~(kPlacePages - 1)) - place * kPlacePages);
  return {end - num_pages, end};
}

ErrnoOr<GuestAddr> AddressSpace::Map(MapRequest request) {
  if (request.length_bytes == 0) return Errno(EINVAL);
  if (request.length_bytes > kUserAddressEnd) return Errno(ENOMEM);
  if ((request.offset_bytes & kPageMask) != 0) return Errno(EINVAL);
  if (request.shared && !request.object) return Errno(EINVAL);  // shared anonymous memory is an object too
  const uint64_t num_pages = PagesOf(request.length_bytes);
  if (request.offset_bytes + (num_pages << kPageShift) < request.offset_bytes) return Errno(EOVERFLOW);
  if ((request.protection.bits() & ~request.max_protection.bits()) != 0) return Errno(EACCES);
  PageRange range;
  {
    Removed removed(context_);
    MutexLock lock(&mu_);
    if (vmas_.size() >= kMaxMappings) return Errno(ENOMEM);
    REMORA_ASSIGN_OR_RETURN(range, PlaceLocked(request, num_pages));
    if (request.placement == MapRequest::Placement::kFixed) UnmapLocked(range, &removed);
    Vma vma;
    vma.range = range;
    vma.protection = request.protection;
    vma.max_protection = request.max_protection;
    vma.shared = request.shared;
    vma.grows_down = request.grows_down;
    vma.object = std::move(request.object);
    vma.deny_write = request.deny_write && vma.object;
    vma.may_differ = !vma.shared && vma.protection.writable();
    vma.first_page_index = vma.object ? request.offset_bytes >> kPageShift : 0;
    vma.name = std::move(request.name);
    InsertLocked(std::move(vma));
  }
  if (request.populate && request.protection.readable())
    Populate(range, request.protection.writable() ? Access::kWrite : Access::kRead);
  return range.start_addr();
}

ErrnoOr<void> AddressSpace::Unmap(GuestAddr start, uint64_t length_bytes) {
  const auto range = PageRange::ForUser(start, length_bytes);
  if (!range || range->empty()) return Errno(EINVAL);
  Removed removed(context_);
  MutexLock lock(&mu_);
  if (!MaySplitLocked(*range)) return Errno(ENOMEM);
  UnmapLocked(*range, &removed);
  return Ok();
}

// --- mprotect ---

ErrnoOr<void> AddressSpace::Protect(GuestAddr start, uint64_t length_bytes, Protection wanted, ProtectOptions options) {
  if (!start.page_aligned()) return Errno(EINVAL);
  if (length_bytes == 0) return Ok();
  auto range = PageRange::ForUser(start, length_bytes);
  if (!range) return Errno(ENOMEM);
  MutexLock lock(&mu_);
  if (options.whole_stack) {
    const Vma* first = vmas_.FindAtOrAfter(range->first);
    if (first == nullptr || first->range.first >= range->end) return Errno(ENOMEM);
    if (!first->grows_down) return Errno(EINVAL);
    range->first = first->range.first;
  }
  // As Linux: what precedes a hole or a refusal has been changed already.
  for (PageNumber at = range->first; at < range->end;) {
    const Vma* vma = vmas_.Find(at);
    if (vma == nullptr) return Errno(ENOMEM);
    Protection protection = wanted;
    if (options.read_implies_exec && (wanted.bits() & Protection::kRead) != 0 && vma->max_protection.executable())
      protection = Protection(wanted.bits() | Protection::kExec);
    if ((protection.bits() & ~vma->max_protection.bits()) != 0) return Errno(EACCES);
    const PageRange piece{at, std::min(vma->range.end, range->end)};
    at = piece.end;
    const uint8_t lost = static_cast<uint8_t>(EffectiveRights(vma->protection) & ~EffectiveRights(protection));
    if (vma->protection == protection) continue;
    if (vmas_.size() >= kMaxMappings && piece != vma->range) return Errno(ENOMEM);
    vmas_.Change(piece, [&](Vma& changed) {
      changed.protection = protection;
      changed.may_differ |= !changed.shared && protection.writable();
    });
    RecordChangedCodeLocked();
    if (lost != 0 && HasEntriesLocked(piece)) RecordLocked(piece, /*writes_only=*/lost == 2);
  }
  return Ok();
}

// --- mremap ---

ErrnoOr<GuestAddr> AddressSpace::Remap(const RemapRequest& request) {
  if (!request.old_address.page_aligned() || request.new_length_bytes == 0) return Errno(EINVAL);
  if (request.old_length_bytes > kUserAddressEnd || request.new_length_bytes > kUserAddressEnd) return Errno(EINVAL);
  const uint64_t old_pages = PagesOf(request.old_length_bytes);
  const uint64_t new_pages = PagesOf(request.new_length_bytes);
  if ((request.fixed || request.keep_old) && !request.may_move) return Errno(EINVAL);
  if (request.keep_old && old_pages != new_pages) return Errno(EINVAL);
  const auto old_range = PageRange::ForUser(request.old_address, old_pages << kPageShift);
  if (!old_range) return Errno(EFAULT);
  if (request.fixed) {
    const auto target = PageRange::ForUser(request.new_address, new_pages << kPageShift);
    if (!target || target->Overlaps(*old_range)) return Errno(EINVAL);
    if (request.new_address.value() < kLowestAddress) return Errno(EPERM);
  }

  Removed removed(context_);
  MutexLock lock(&mu_);
  const Vma* found = vmas_.Find(old_range->first);
  if (found == nullptr) return Errno(EFAULT);
  // Length 0 asks for a second view of a shared mapping.
  if (old_pages == 0 && !(found->shared && request.may_move)) return Errno(EINVAL);
  PageRange from = *old_range;

  if (new_pages < old_pages) {
    // The tail goes, over whatever it reaches.
    const PageRange tail{from.first + new_pages, from.end};
    if (!MaySplitLocked(tail)) return Errno(ENOMEM);
    UnmapLocked(tail, &removed);
    from.end = from.first + new_pages;
    if (!request.fixed) return request.old_address;
    found = vmas_.Find(from.first);
    if (found == nullptr) return Errno(EFAULT);
  }
  if (from.end > found->range.end) return Errno(EFAULT);
  if (!request.fixed && !request.keep_old && old_pages == new_pages) return request.old_address;

  if (!request.fixed && !request.keep_old && old_pages != 0 && from.end == found->range.end) {
    const PageRange more{from.end, from.first + new_pages};
    if (more.end <= PageOf(kUserAddressEnd) && HasRoomLocked(more)) {
      Vma grown = PieceOf(*found, {found->range.end - 1, found->range.end});
      grown.range = more;
      ++grown.first_page_index;
      if (!grown.object) grown.first_page_index = 0;
      InsertLocked(std::move(grown));
      return request.old_address;
    }
  }
  if (!request.may_move) return Errno(ENOMEM);
  if (vmas_.size() >= kMaxMappings - 3) return Errno(ENOMEM);
  Vma moved = PieceOf(*found, from);
  return MoveLocked(moved, from, new_pages, request, &removed);
}

ErrnoOr<GuestAddr> AddressSpace::MoveLocked(const Vma& vma, PageRange from, uint64_t new_pages,
                                            const RemapRequest& request, Removed* removed) {
  PageRange to;
  if (request.fixed) {
    to = {request.new_address.page(), request.new_address.page() + new_pages};
    UnmapLocked(to, removed);
  } else {
    REMORA_ASSIGN_OR_RETURN(to, FindHoleLocked(new_pages, /*below_2g=*/false));
  }
  Vma moved = vma;
  moved.range = to;
  moved.name.clear();       // neither the heap nor the stack stands there
  moved.may_differ = true;  // pages that come together there are copied
  InsertLocked(std::move(moved));
  const uint64_t num_moved = std::min(from.num_pages(), new_pages);
  if (num_moved != 0 && HasEntriesLocked(from)) {
    // Before the pages are copied: who begins to run the space from now on waits until they have gone.
    RecordLocked(from, /*writes_only=*/false);
    if (GrowsMuch(from.num_pages(), new_pages) && context_->frames->has_plenty() && IsRunByThisThreadOnly())
      table_.MoveTogether(from.first, to.first, num_moved, to, &removed->frames);
    else
      table_.Move(from.first, to.first, num_moved, &removed->frames);
  }
  if (!request.keep_old && !from.empty()) UnmapLocked(from, removed);
  return to.start_addr();
}

// --- madvise, mincore, msync ---

ErrnoOr<void> AddressSpace::DiscardPages(GuestAddr start, uint64_t length_bytes) {
  if (!start.page_aligned()) return Errno(EINVAL);
  const auto range = PageRange::ForUser(start, length_bytes);
  if (!range) return length_bytes > kUserAddressEnd ? Errno(EINVAL) : Errno(ENOMEM);
  RetiredFrames retired(context_->frames, context_->reclaimer);
  MutexLock lock(&mu_);
  if (table_.Remove(*range, &retired) != 0) RecordLocked(*range, /*writes_only=*/false);
  if (!vmas_.Covers(*range)) return Errno(ENOMEM);
  return Ok();
}

ErrnoOr<void> AddressSpace::SetPageByPage(GuestAddr start, uint64_t length_bytes, bool page_by_page) {
  const auto range = PageRange::ForUser(start, length_bytes);
  if (!range) return Errno(ENOMEM);
  MutexLock lock(&mu_);
  vmas_.Change(*range, [&](Vma& vma) { vma.page_by_page = page_by_page; });
  RecordChangedCodeLocked();
  if (!vmas_.Covers(*range)) return Errno(ENOMEM);
  return Ok();
}

ErrnoOr<void> AddressSpace::CheckMapped(GuestAddr start, uint64_t length_bytes) const {
  const auto range = PageRange::ForUser(GuestAddr(start.page()), length_bytes + start.page_offset());
  if (!range) return Errno(ENOMEM);
  MutexLock lock(&mu_);
  if (!vmas_.Covers(*range)) return Errno(ENOMEM);
  return Ok();
}

// --- brk ---

void AddressSpace::InitializeBreak(GuestAddr start) {
  MutexLock lock(&mu_);
  break_start_ = break_end_ = start;
}

GuestAddr AddressSpace::SetBreak(GuestAddr wanted, Protection protection) {
  Removed removed(context_);
  MutexLock lock(&mu_);
  if (wanted < break_start_ || wanted.value() > kUserAddressEnd) return break_end_;
  const PageNumber old_end = PageOf(PageRoundUp(break_end_.value()));
  const PageNumber new_end = PageOf(PageRoundUp(wanted.value()));
  if (new_end < old_end) {
    UnmapLocked({new_end, old_end}, &removed);
  } else if (new_end > old_end) {
    const PageRange more{old_end, new_end};
    if (vmas_.size() >= kMaxMappings || !HasRoomLocked(more)) return break_end_;
    Vma heap;
    heap.range = more;
    heap.protection = protection;
    heap.name = "[heap]";
    InsertLocked(std::move(heap));
  }
  break_end_ = wanted;
  return break_end_;
}

}  // namespace remora::mm
