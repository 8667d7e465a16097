#include "mm/page_cache.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"
#include "mm/frame_pool.h"
#include "mm/guest_copy.h"
#include "mm/page_cache_impl.h"
#include "mm/retired_frames.h"

// Life, mappings, read, write and size. See also page_cache_pages.cc.

namespace remora::mm {
namespace {

constexpr uint64_t kMaxFileBytes = (uint64_t{1} << 63) - kPageSize;
constexpr uint64_t kAllPages = ~uint64_t{0} >> 1;

}  // namespace

FilePages::FilePages(MemoryContext* context, std::unique_ptr<PageBacking> backing, Description describe)
    : object_id_(context->next_object_id.fetch_add(1, std::memory_order_relaxed)),
      impl_(std::make_unique<Impl>(this, context, std::move(backing), std::move(describe))) {
  impl_->RefreshSize();
}

FilePages::~FilePages() {
  // Whoever has to know of a failure has called Sync before.
  (void)Sync().ok();
  RetiredFrames retired(impl_->frames, impl_->context->reclaimer);
  WriterLock lock(&impl_->mu);
  impl_->Drop(0, kAllPages, &retired);
}

uint64_t FilePages::place_key() const {
  const Description& file = impl_->description;
  if (file.inode == 0) return object_id_;
  return file.inode ^ static_cast<uint64_t>(file.device_major) << 44 ^ static_cast<uint64_t>(file.device_minor) << 32;
}

bool FilePages::outlives_kernel() const { return impl_->backing != nullptr; }

Mappable::Description FilePages::Describe() const { return impl_->description; }

uint64_t FilePages::size_bytes() const { return impl_->size.load(std::memory_order_acquire); }

uint64_t FilePages::num_pages_present() const {
  ReaderLock lock(&impl_->mu);
  return impl_->pages.size();
}

// --- mappings ---

void FilePages::OnMapped(AddressSpace* space, PageRange range, uint64_t /*first_page_index*/) {
  MutexLock lock(&impl_->mappings_mu);
  impl_->mapped_pages[space] += range.num_pages();
  ++impl_->mappings_version;
}

void FilePages::OnUnmapped(AddressSpace* space, PageRange range, uint64_t /*first_page_index*/) {
  MutexLock lock(&impl_->mappings_mu);
  auto it = impl_->mapped_pages.find(space);
  CHECK(it != impl_->mapped_pages.end() && it->second >= range.num_pages());
  it->second -= range.num_pages();
  if (it->second == 0) impl_->mapped_pages.erase(it);
}

void FilePages::Impl::RemoveFromSpaces(uint64_t first, uint64_t num_pages, bool private_copies_too,
                                       std::vector<Ref<AddressSpace>>* visited) {
  while (true) {
    std::vector<Ref<AddressSpace>> spaces;
    uint64_t version = 0;
    {
      MutexLock lock(&mappings_mu);
      version = mappings_version;
      spaces.reserve(mapped_pages.size());
      for (const auto& [space, num_mapped] : mapped_pages)
        if (space->TryAddRef()) spaces.push_back(Ref<AddressSpace>::Adopt(space));
    }
    for (const Ref<AddressSpace>& space : spaces)
      space->OnObjectPagesRemoved(owner, first, num_pages, private_copies_too);
    visited->insert(visited->end(), std::make_move_iterator(spaces.begin()), std::make_move_iterator(spaces.end()));
    // A space that forked meanwhile may have handed its entries on before they were taken.
    MutexLock lock(&mappings_mu);
    if (version == mappings_version) return;
  }
}

// --- read and write ---

ErrnoOr<uint64_t> FilePages::Read(IoBuffer& to, uint64_t offset_bytes) {
  Impl& impl = *impl_;
  uint64_t done = 0;
  while (to.remaining() != 0) {
    const uint64_t at = offset_bytes + done;
    if (at >= size_bytes()) {
      impl.RefreshSize();
      if (at >= size_bytes() || at < offset_bytes) break;
    }
    const uint64_t index = at >> kPageShift, in_page = at & kPageMask;
    const ErrnoOr<std::span<std::byte>> piece = to.Peek(std::min(kPageSize - in_page, size_bytes() - at));
    if (!piece.ok()) {
      if (done == 0) return piece.error();
      break;
    }
    if (piece->empty()) break;
    FrameId frame = impl.pages.Lookup(index);
    bool counted = false;
    if (!frame.valid() && impl.backing) {
      const ErrnoOr<FrameId> read = impl.GetOrRead(index, /*may_be_behind_end=*/false);
      if (!read.ok()) {
        if (read.error_number() == ENXIO) break;  // truncated meanwhile
        if (done == 0 || read.error_number() == EAGAIN) return read.error();
        break;
      }
      frame = *read;
      counted = true;
    }
    if (frame.valid()) {
      CopyGuestMemory(piece->data(), impl.frames->Data(frame) + in_page, piece->size());
      if (counted) impl.Put(frame);
    } else {
      ZeroGuestMemory(piece->data(), piece->size());
    }
    done += piece->size();
    to.Advance(piece->size());
  }
  return done;
}

ErrnoOr<uint64_t> FilePages::Write(IoBuffer& from, uint64_t offset_bytes) {
  if (offset_bytes >= kMaxFileBytes) return Errno(EFBIG);
  if (from.remaining() <= kMaxFileBytes - offset_bytes) {
    ReaderLock lock(&impl_->write_mu);
    if (offset_bytes + from.remaining() <= size_bytes()) return impl_->WriteLocked(from, offset_bytes);
  }
  WriterLock lock(&impl_->write_mu);
  const uint64_t old_size = size_bytes();
  if (offset_bytes > old_size) impl_->ZeroTail(old_size);
  return impl_->WriteLocked(from, offset_bytes);
}

ErrnoOr<uint64_t> FilePages::Impl::WriteLocked(IoBuffer& from, uint64_t offset) {
  uint64_t done = 0;
  while (from.remaining() != 0 && offset + done < kMaxFileBytes) {
    const uint64_t at = offset + done;
    const uint64_t in_page = at & kPageMask;
    // The source first: a fault must not leave an empty page behind the end.
    const ErrnoOr<std::span<std::byte>> piece = from.Peek(kPageSize - in_page);
    if (!piece.ok()) {
      if (done == 0) return piece.error();
      break;
    }
    if (piece->empty()) break;
    FrameId frame = pages.Lookup(at >> kPageShift);  // nobody drops pages meanwhile: write_mu
    const bool counted = !frame.valid();
    if (counted) {
      const ErrnoOr<FrameId> fresh = GetOrRead(at >> kPageShift, /*may_be_behind_end=*/true);
      if (!fresh.ok()) {
        if (done == 0 || fresh.error_number() == EAGAIN) return fresh.error();
        break;
      }
      frame = *fresh;
    }
    frames->PrepareWrite(frame);
    CopyGuestMemory(frames->Data(frame) + in_page, piece->data(), piece->size());
    frames->FinishKernelWrite(frame);
    if (counted) Put(frame);
    done += piece->size();
    from.Advance(piece->size());
    if (offset + done > size.load(std::memory_order_relaxed)) {
      WriterLock lock(&mu);
      if (offset + done > size.load(std::memory_order_relaxed)) size.store(offset + done, std::memory_order_release);
    }
  }
  return done;
}

void FilePages::NoteBackingWritten(std::span<const std::byte> bytes, uint64_t offset_bytes) {
  Impl& impl = *impl_;
  ReaderLock writers(&impl.write_mu);
  for (uint64_t done = 0; done < bytes.size();) {
    const uint64_t at = offset_bytes + done, in_page = at & kPageMask;
    const uint64_t n = std::min(bytes.size() - done, kPageSize - in_page);
    FrameId frame = impl.FindPresent(at >> kPageShift);
    if (!frame.valid()) {
      // Whoever reads it from the backing just now may have the old bytes: it reads again.
      WriterLock lock(&impl.mu);
      ++impl.num_drops;
      frame = impl.pages.Lookup(at >> kPageShift);
      if (frame.valid()) impl.frames->AddRef(frame);
    }
    if (frame.valid()) {
      impl.frames->PrepareWrite(frame);
      CopyGuestMemory(impl.frames->Data(frame) + in_page, bytes.data() + done, n);
      impl.frames->FinishKernelWrite(frame);
      impl.Put(frame);
    }
    done += n;
  }
  WriterLock lock(&impl.mu);
  const uint64_t end = offset_bytes + bytes.size();
  if (end > impl.size.load(std::memory_order_relaxed)) impl.size.store(end, std::memory_order_release);
}

// --- size ---

void FilePages::Impl::ZeroTail(uint64_t from) {
  if ((from & kPageMask) == 0) return;
  const FrameId frame = FindPresent(from >> kPageShift);
  if (!frame.valid()) return;
  frames->PrepareWrite(frame);
  ZeroGuestMemory(frames->Data(frame) + (from & kPageMask), kPageSize - (from & kPageMask));
  frames->FinishKernelWrite(frame);
  Put(frame);
}

ErrnoOr<void> FilePages::Impl::ZeroPart(uint64_t from, uint64_t end) {
  if (from >= end) return Ok();
  const FrameId frame = FindPresent(from >> kPageShift);
  if (!frame.valid()) {
    WriterLock lock(&mu);
    ++num_drops;  // who reads it just now may have the old bytes
    return Ok();
  }
  frames->PrepareWrite(frame);
  ZeroGuestMemory(frames->Data(frame) + (from & kPageMask), end - from);
  frames->FinishKernelWrite(frame);
  Put(frame);
  return Ok();
}

ErrnoOr<void> FilePages::Truncate(uint64_t size_bytes_now) {
  if (size_bytes_now > kMaxFileBytes) return Errno(EFBIG);
  Impl& impl = *impl_;
  RetiredFrames retired(impl.frames, impl.context->reclaimer);
  std::vector<Ref<AddressSpace>> visited;  // with the last reference may go files
  const uint64_t first_gone = Impl::PagesFor(size_bytes_now);
  WriterLock alone(&impl.write_mu);
  const uint64_t old_size = size_bytes();
  const bool shrinks = size_bytes_now < old_size;
  if (!shrinks) impl.ZeroTail(old_size);
  {
    WriterLock lock(&impl.mu);
    impl.size.store(size_bytes_now, std::memory_order_release);
    if (shrinks) impl.Drop(first_gone, kAllPages, &retired);
  }
  if (!shrinks) return Ok();
  impl.ZeroTail(size_bytes_now);
  // `retired` keeps the frames' counts up until no private mapping holds one: see invariant 1. Nobody writes what will
  // be there before the code of what was there is gone.
  impl.RemoveFromSpaces(first_gone, kAllPages, /*private_copies_too=*/true, &visited);
  retired.DropCode();
  return Ok();
}

ErrnoOr<void> FilePages::PunchHole(uint64_t offset_bytes, uint64_t length_bytes) {
  Impl& impl = *impl_;
  if (length_bytes == 0 || offset_bytes > kMaxFileBytes || length_bytes > kMaxFileBytes - offset_bytes)
    return Errno(EINVAL);
  RetiredFrames retired(impl.frames, impl.context->reclaimer);
  std::vector<Ref<AddressSpace>> visited;
  WriterLock alone(&impl.write_mu);
  const uint64_t end = std::min(offset_bytes + length_bytes, size_bytes());
  if (offset_bytes >= end) return Ok();
  const uint64_t first = Impl::PagesFor(offset_bytes);
  // What lies behind the size is zero anyway, so a hole that reaches it takes the last page whole.
  const uint64_t end_page = end == size_bytes() ? Impl::PagesFor(end) : end >> kPageShift;
  if ((offset_bytes & kPageMask) != 0)
    REMORA_RETURN_IF_ERROR(impl.ZeroPart(offset_bytes, std::min(end, first << kPageShift)));
  if (end_page >= first && (end_page << kPageShift) < end)
    REMORA_RETURN_IF_ERROR(impl.ZeroPart(end_page << kPageShift, end));
  if (end_page <= first) return Ok();
  {
    WriterLock lock(&impl.mu);
    impl.Drop(first, end_page - first, &retired);
  }
  impl.RemoveFromSpaces(first, end_page - first, /*private_copies_too=*/false, &visited);
  retired.DropCode();
  return Ok();
}

ErrnoOr<void> FilePages::Sync() {
  Impl& impl = *impl_;
  if (!impl.backing) return Ok();
  std::vector<uint64_t> dirty;
  {
    ReaderLock lock(&impl.mu);
    impl.pages.ForEach([&](uint64_t index, FrameId frame) {
      if ((impl.frames->bits(frame) & FramePool::kDirty) != 0) dirty.push_back(index);
    });
  }
  int first_error = 0;
  for (const uint64_t index : dirty) {
    const FrameId frame = impl.FindPresent(index);
    if (!frame.valid()) continue;
    const uint64_t start = index << kPageShift, size_now = size_bytes();
    // While a space maps it, a write right in some TLB may make it dirty again without telling.
    if (!impl.IsMapped()) impl.frames->ClearBits(frame, FramePool::kDirty);
    if (start < size_now) {
      const ErrnoOr<void> written =
          impl.backing->WritePage(index, {impl.frames->Data(frame), std::min(kPageSize, size_now - start)});
      if (!written.ok()) {
        impl.frames->SetBits(frame, FramePool::kDirty);
        if (first_error == 0) first_error = written.error_number();
      }
    }
    impl.Put(frame);
  }
  if (first_error != 0) return Errno(first_error);
  return Ok();
}

Ref<FilePages> CreateSharedAnonymous(MemoryContext* context, uint64_t length_bytes) {
  Mappable::Description description;
  description.device_minor = 1;
  description.inode = context->next_object_id.fetch_add(1, std::memory_order_relaxed);
  description.path = "/dev/zero (deleted)";
  Ref<FilePages> pages = MakeRef<FilePages>(context, nullptr, std::move(description));
  (void)pages->Truncate(length_bytes).ok();
  return pages;
}

}  // namespace remora::mm
