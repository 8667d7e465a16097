#ifndef REMORA_MM_PAGE_CACHE_IMPL_H_
#define REMORA_MM_PAGE_CACHE_IMPL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "mm/frame_map.h"
#include "mm/frame_pool.h"
#include "mm/page_cache.h"
#include "mm/retired_frames.h"

// For page_cache*.cc only.

namespace remora::mm {

struct FilePages::Impl {
  Impl(FilePages* owner_in, MemoryContext* context_in, std::unique_ptr<PageBacking> backing_in,
       Description description_in)
      : owner(owner_in),
        context(context_in),
        frames(context_in->frames),
        backing(std::move(backing_in)),
        description(std::move(description_in)),
        pages(context_in->reclaimer) {}

  // A reference to the frame of a present page; invalid if it is absent.
  FrameId FindPresent(uint64_t index) {
    ReaderLock lock(&mu);
    const FrameId frame = pages.Lookup(index);
    if (frame.valid()) frames->AddRef(frame);
    return frame;
  }
  // Gives back a reference that FindPresent or GetOrRead handed out. If the page was dropped meanwhile it may be the
  // last one, and the frame still be in another worker's TLB: then it waits for a grace period.
  void Put(FrameId frame) {
    if (frames->ReleaseUnlessLast(frame)) return;
    RetiredFrames retired(frames, context->reclaimer);
    retired.Add(frame);
  }
  // page_cache_pages.cc
  // Pages [first, end) of the file, and where they have been read to: side by side.
  struct Row {
    uint64_t first = 0, end = 0;
    FrameId first_frame{};
    FrameId frame(uint64_t index) const { return FrameId(first_frame.value() + static_cast<uint32_t>(index - first)); }
  };
  ErrnoOr<FrameId> GetOrRead(uint64_t index, bool may_be_behind_end);
  // Page `index` is absent and will be read: the end of what is worth being read along with it.
  uint64_t EndOfReadAhead(uint64_t index) ABSL_SHARED_LOCKS_REQUIRED(mu);
  // A frame for page `index`, beside those of its neighbours if there is memory left for that. `reserved`: see below.
  ErrnoOr<FrameId> AllocateFrame(uint64_t index, FrameId reserved, bool zeroed);
  // Where page `index` had best lie; invalid if that does not matter.
  FrameId ReservedPlace(uint64_t index);
  // Reads page `index` into `frame`, and those up to `end` that the backing has at once into frames beside it.
  ErrnoOr<Row> ReadRow(uint64_t index, FrameId frame, FrameId reserved, uint64_t end);
  // Of the pages from `index` to `end` those that the backing has at once, into `frame` and frames beside it; the row
  // is empty, and the frame given back, where that is none.
  Row ReadRowAtOnce(uint64_t index, FrameId frame, FrameId reserved, uint64_t end);
  // The row's pages are present now, unless others were faster. False: pages have been dropped since num_drops was
  // `drops_before`; nothing is done.
  bool InsertLocked(const Row& row, uint64_t drops_before) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void Release(const Row& row, uint64_t first, uint64_t end);
  static uint64_t PagesFor(uint64_t bytes) { return (bytes >> kPageShift) + ((bytes & kPageMask) != 0 ? 1 : 0); }
  // Asks the backing whether the file has grown meanwhile.
  void RefreshSize();
  ErrnoOr<uint64_t> WriteLocked(IoBuffer& from, uint64_t offset);
  // Zeroes [from, end of its page) if that page is present.
  void ZeroTail(uint64_t from);
  ErrnoOr<void> ZeroPart(uint64_t from, uint64_t end);
  // Takes pages out of the cache, but not yet out of the spaces.
  void Drop(uint64_t first, uint64_t num_pages, RetiredFrames* retired) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // Takes pages out of every space that maps them, with no lock but write_mu; who lets go of `visited` has none.
  void RemoveFromSpaces(uint64_t first, uint64_t num_pages, bool private_copies_too,
                        std::vector<Ref<AddressSpace>>* visited);
  bool IsMapped() {
    MutexLock lock(&mappings_mu);
    return !mapped_pages.empty();
  }

  FilePages* const owner;
  MemoryContext* const context;
  FramePool* const frames;
  const std::unique_ptr<PageBacking> backing;
  const Description description;

  SharedMutex write_mu{LockRank::kFileWrite};

  std::atomic<uint64_t> size{0};  // written under mu

  // Held by writers while the map changes, never across I/O or a copy. Look-ups that take no reference need no lock.
  alignas(64) SharedMutex mu{LockRank::kPageCache};
  FrameMap pages;
  // Where the pages of each 2 MiB of the file lie, by page index / 512.
  absl::flat_hash_map<uint64_t, FrameReservation> reservations ABSL_GUARDED_BY(mu);
  uint64_t num_drops ABSL_GUARDED_BY(mu) = 0;  // a page read before the last one may be stale

  Mutex mappings_mu{LockRank::kFileMappings};
  absl::flat_hash_map<AddressSpace*, uint64_t> mapped_pages ABSL_GUARDED_BY(mappings_mu);
  uint64_t mappings_version ABSL_GUARDED_BY(mappings_mu) = 0;  // grows with each OnMapped
};

}  // namespace remora::mm

#endif  // REMORA_MM_PAGE_CACHE_IMPL_H_
