#include <algorithm>
#include <span>
#include <utility>

#include "mm/frame_allocator.h"
#include "mm/page_cache_impl.h"

// Making pages present: where their frames lie, and how they are read.
//
// Example: a program has touched pages 34 to 36 of a library of 300 pages, now it touches 37. As three pages are
// present before it, three are read: 37 takes the frame that is reserved for it, 4133, the others those beside it, as
// far as they are free. The host has 37 and 38 in its memory, but not 39: so these two become present.

namespace remora::mm {
namespace {

// Files of fewer pages take single frames: a block of frames for each would soon use up the pool's blocks.
constexpr uint64_t kMinReservedPages = 16;

// Pages that are read at once: as many as are present just before them, so that no more is read in vain than was asked
// for. Who reads in sequence soon reads 64 KiB with one call, who reads here and there one page.
constexpr uint64_t kMaxReadPages = 16;

}  // namespace

void FilePages::Impl::RefreshSize() {
  if (!backing) return;
  const ErrnoOr<uint64_t> now = backing->Size();
  if (!now.ok()) return;
  WriterLock lock(&mu);
  // A larger size of ours is what Write has not written back yet.
  if (*now > size.load(std::memory_order_relaxed)) size.store(*now, std::memory_order_release);
}

// --- frames ---

FrameId FilePages::Impl::ReservedPlace(uint64_t index) {
  const uint64_t part = index / FrameReservation::kNumFrames;
  const auto offset = static_cast<uint32_t>(index % FrameReservation::kNumFrames);
  {
    ReaderLock lock(&mu);
    if (const auto it = reservations.find(part); it != reservations.end()) return it->second.frame(offset);
  }
  const uint64_t num_pages = std::max(PagesFor(size.load(std::memory_order_acquire)), index + 1);
  if (num_pages < kMinReservedPages) return FrameId();
  WriterLock lock(&mu);
  if (const auto it = reservations.find(part); it != reservations.end()) return it->second.frame(offset);
  const auto before = reservations.find(part - 1);
  const uint64_t last_part = (num_pages - 1) / FrameReservation::kNumFrames;
  FrameReservation fresh = frames->Reserve(
      before == reservations.end() ? FrameId() : before->second.Beside(1),
      {.before = 0, .behind = static_cast<uint32_t>(std::min<uint64_t>(last_part - part, FrameAllocator::kMaxRoom))});
  if (fresh.empty()) return FrameId();
  return reservations.emplace(part, std::move(fresh)).first->second.frame(offset);
}

ErrnoOr<FrameId> FilePages::Impl::AllocateFrame(uint64_t index, FrameId reserved, bool zeroed) {
  FrameId behind_previous;
  {
    ReaderLock lock(&mu);
    const FrameId previous = index == 0 ? FrameId() : pages.Lookup(index - 1);
    if (previous.valid() && index % FrameReservation::kNumFrames != 0) behind_previous = FrameId(previous.value() + 1);
  }
  // If the pages are dropped and the reservation is another's by now, the frame is only less well placed.
  const FrameId places[] = {reserved, behind_previous};
  const FrameId frame = frames->TryAllocateAt(places, reserved, zeroed);
  if (frame.valid()) return frame;
  return zeroed ? frames->AllocateZeroed() : frames->AllocateUninitialized();
}

void FilePages::Impl::Release(const Row& row, uint64_t first, uint64_t end) {
  for (uint64_t index = first; index < end; ++index) frames->Release(row.frame(index));
}

// --- pages ---

uint64_t FilePages::Impl::EndOfReadAhead(uint64_t index) {
  // A file may grow on the host: what is behind its last whole page is not read before it is wanted. More than half of
  // all memory is not given to pages that nobody has asked for.
  const uint64_t num_whole_pages = size.load(std::memory_order_acquire) >> kPageShift;
  if (index >= num_whole_pages || frames->num_allocated() > frames->max_frames() / 2) return index + 1;
  uint64_t num_before = 0;
  while (num_before < std::min(index, kMaxReadPages) && pages.Lookup(index - 1 - num_before).valid()) ++num_before;
  const uint64_t most = std::min(index + std::max<uint64_t>(num_before, 1), num_whole_pages);
  uint64_t end = index + 1;
  while (end < most && !pages.Lookup(end).valid()) ++end;
  return end;
}

FilePages::Impl::Row FilePages::Impl::ReadRowAtOnce(uint64_t index, FrameId frame, FrameId reserved, uint64_t end) {
  Row row{index, index + 1, frame};
  while (row.end < end) {
    const FrameId beside[] = {row.frame(row.end)};
    if (!frames->TryAllocateAt(beside, reserved, /*zeroed=*/false).valid()) break;
    ++row.end;
  }
  frames->Populate(frame, row.end - index);
  const uint64_t read = backing->ReadPagesAtOnce(index, {frames->Data(frame), (row.end - index) * kPageSize});
  Release(row, index + read, row.end);
  row.end = index + read;
  return row;
}

ErrnoOr<FilePages::Impl::Row> FilePages::Impl::ReadRow(uint64_t index, FrameId frame, FrameId reserved, uint64_t end) {
  if (end > index + 1) {
    frames->AddRef(frame);
    const Row row = ReadRowAtOnce(index, frame, reserved, end);
    if (row.end != index) {
      frames->Release(frame);
      return row;
    }
  }
  const ErrnoOr<void> filled = backing->ReadPage(index, {frames->Data(frame), kPageSize});
  if (!filled.ok()) {
    frames->Release(frame);
    return filled.error();
  }
  return Row{index, index + 1, frame};
}

bool FilePages::Impl::InsertLocked(const Row& row, uint64_t drops_before) {
  if (num_drops != drops_before) return false;
  for (uint64_t i = row.first; i < row.end; ++i)
    if (!pages.TryInsert(i, row.frame(i)).second) frames->Release(row.frame(i));
  return true;
}

ErrnoOr<FrameId> FilePages::Impl::GetOrRead(uint64_t index, bool may_be_behind_end) {
  // Whoever writes needs no more, and what was dropped while it was read is read alone.
  for (bool alone = may_be_behind_end;; alone = true) {
    if (!may_be_behind_end && index >= PagesFor(size.load(std::memory_order_acquire))) {
      RefreshSize();
      if (index >= PagesFor(size.load(std::memory_order_acquire))) return Errno(ENXIO);
    }
    uint64_t drops_before = 0;
    uint64_t end = index + 1;
    {
      ReaderLock lock(&mu);
      const FrameId present = pages.Lookup(index);
      if (present.valid()) {
        frames->AddRef(present);
        return present;
      }
      drops_before = num_drops;
      if (backing && !alone) end = EndOfReadAhead(index);
    }
    const bool read = backing && index < PagesFor(size.load(std::memory_order_acquire));
    const FrameId reserved = ReservedPlace(index);
    REMORA_ASSIGN_OR_RETURN(const FrameId fresh, AllocateFrame(index, reserved, /*zeroed=*/!read));
    Row row{index, index + 1, fresh};
    if (read) {
      REMORA_ASSIGN_OR_RETURN(row, ReadRow(index, fresh, reserved, end));
    }
    WriterLock lock(&mu);
    if (!InsertLocked(row, drops_before)) {
      Release(row, row.first, row.end);
      continue;
    }
    const FrameId wanted = pages.Lookup(index);
    frames->AddRef(wanted);
    return wanted;
  }
}

ErrnoOr<FrameId> FilePages::GetFrame(uint64_t page_index, bool /*for_write*/) {
  // A hole becomes a page even for reading: all who map it have to see the same frame later.
  return impl_->GetOrRead(page_index, /*may_be_behind_end=*/false);
}

void FilePages::FindFrames(uint64_t first_page_index, uint64_t wanted, std::span<FrameId> found) {
  ReaderLock lock(&impl_->mu);
  const uint64_t end = Impl::PagesFor(size_bytes());
  for (uint64_t i = 0; i < found.size(); ++i) {
    found[i] = FrameId();
    if ((wanted >> i & 1) == 0 || first_page_index + i >= end) continue;
    found[i] = impl_->pages.Lookup(first_page_index + i);
    if (found[i].valid()) impl_->frames->AddRef(found[i]);
  }
}

void FilePages::ReadAround(uint64_t first_page_index, uint64_t num_pages) {
  Impl& impl = *impl_;
  if (!impl.backing) return;
  // What is behind the last whole page is not read before it is wanted, see EndOfReadAhead.
  const uint64_t end = std::min(first_page_index + num_pages, size_bytes() >> kPageShift);
  for (uint64_t index = first_page_index; index < end;) {
    uint64_t behind = index, drops_before = 0;
    {
      ReaderLock lock(&impl.mu);
      while (index < end && impl.pages.Lookup(index).valid()) ++index;
      behind = index;
      while (behind < end && !impl.pages.Lookup(behind).valid()) ++behind;
      drops_before = impl.num_drops;
    }
    if (index == behind) return;
    const FrameId reserved = impl.ReservedPlace(index);
    const FrameId places[] = {reserved};
    const FrameId frame = impl.frames->TryAllocateAt(places, reserved, /*zeroed=*/false);
    if (!frame.valid()) return;
    const Impl::Row row = impl.ReadRowAtOnce(index, frame, reserved, behind);
    if (row.end == index) return;
    index = row.end;
    WriterLock lock(&impl.mu);
    if (impl.InsertLocked(row, drops_before)) continue;
    impl.Release(row, row.first, row.end);
    return;
  }
}

void FilePages::Impl::Drop(uint64_t first, uint64_t num_pages, RetiredFrames* retired) {
  ++num_drops;
  pages.EraseRange(first, num_pages, [&](uint64_t, FrameId frame) { retired->Add(frame); });
  constexpr uint64_t kPart = FrameReservation::kNumFrames;
  if (num_pages < kPart || reservations.empty()) return;
  absl::erase_if(reservations, [&](const auto& reservation) {
    const uint64_t start = reservation.first * kPart;
    return start >= first && start - first < num_pages && num_pages - (start - first) >= kPart;
  });
}

}  // namespace remora::mm
