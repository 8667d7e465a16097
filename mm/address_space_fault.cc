#include <algorithm>
#include <array>
#include <bit>
#include <semaphore>

#include "absl/container/inlined_vector.h"
#include "mm/address_space.h"
#include "mm/guest_copy.h"

// Making pages present.
//
// Example: a guest writes to a page of its data segment for the first time. The TLB misses; Translate finds the VMA
// (private, of a file, writable) and no entry. The file gives its cached frame 812; a fresh frame 2001 gets a copy, is
// marked written and installed; the TLB fills both rights. Pages around it come along, into the frames beside 2001.
// After a fork the leaf has count two: the next write copies the path, then, as the copied leaf refers to frame 2001 as
// well, the frame.

namespace remora::mm {
namespace {

constexpr uint8_t kWriteState =
    FramePool::kEverWritable | FramePool::kDirty | FramePool::kHasCode | FramePool::kRevoking;
constexpr uint8_t kFreelyWritable = FramePool::kEverWritable | FramePool::kDirty;

// A fault on a file's page maps its neighbours in an aligned window of this size. Linux: fault_around_bytes.
constexpr uint64_t kFaultAroundPages = 16;

FaultKind FaultOf(Errno error) {
  return error.value() == ENOMEM   ? FaultKind::kOutOfMemory
         : error.value() == EAGAIN ? FaultKind::kNotReady
                                   : FaultKind::kBeyondEnd;
}

// A program's data: nobody changes the file meanwhile. In runs of it translated code finds many operands.
bool IsProgramData(const Vma& vma) {
  return vma.deny_write && !vma.shared && !vma.protection.executable() && !vma.page_by_page;
}
bool IsDataSegment(const Vma& vma) { return IsProgramData(vma) && vma.protection.writable(); }

// A host thread that waits for a notice.
class ThreadWaiter final : public sync::Waiter {
 public:
  ~ThreadWaiter() override { Disarm(); }
  void Notify(sync::Events) override { notices_.release(); }
  void Wait() { notices_.acquire(); }

 private:
  std::counting_semaphore<> notices_{0};
};

}  // namespace

TlbSource::Translation AddressSpace::Present(FrameId frame, bool writable) const {
  return {.host_page = context_->frames->Data(frame), .frame = frame, .writable = writable};
}

TlbSource::Translation AddressSpace::PresentInRowLocked(const Vma& vma, PageNumber page, FrameId frame, bool writable,
                                                        uint64_t farthest) const {
  Translation result = Present(frame, writable);
  const FramePool& frames = *context_->frames;
  // What a leaf that relatives share refers to has one reference for all of them.
  const auto leaves = writable && !vma.shared ? PageTable::Leaves::kOwn : PageTable::Leaves::kAll;
  result.run = table_.RowAround(page, vma.range, farthest, leaves, [&](PageTableEntry entry) {
    if (!entry.resident()) return false;
    return !writable || ((frames.bits(entry.frame()) & kWriteState) == kFreelyWritable &&
                         (vma.shared || (entry.anonymous() && frames.ref_count(entry.frame()) == 1)));
  });
  return result;
}

TlbSource::Translation AddressSpace::Translate(PageNumber page, Access access) {
  if (page >= PageNumber(kUserAddressEnd >> kPageShift)) {
    const uint64_t top_bits = page.value() >> 35;  // bits 47 and up
    return Failed(top_bits == 0 || top_bits == 0x1ffff ? FaultKind::kUnmapped : FaultKind::kNonCanonical);
  }
  Translation result;
  uint64_t before = 0, after = 0;
  {
    RetiredFrames retired(context_->frames, context_->reclaimer);
    MutexLock lock(&mu_);
    before = generation_.load(std::memory_order_relaxed);
    const Vma* vma = FindVmaOrGrowStackLocked(page);
    if (vma == nullptr) return Failed(FaultKind::kUnmapped);
    if (!vma->protection.Allows(access)) return Failed(FaultKind::kProtection);
    result = access == Access::kWrite ? WriteFaultLocked(*vma, page, &retired) : ReadFaultLocked(*vma, page, &retired);
    after = generation_.load(std::memory_order_relaxed);
  }
  // A copy replaced a page that another thread may still read through its TLB: that one must follow before this one
  // goes on, or the two would see different memory. The page is in place already then.
  if (after != before && LaggardExists(after, nullptr, /*skip_this_thread=*/true)) return Failed(FaultKind::kMustWait);
  return result;
}

void AddressSpace::AwaitPage(PageNumber page, Access access) {
  if (context_->page_arrivals == nullptr) return;
  ThreadWaiter waiter;
  context_->page_arrivals->Arm(&waiter, sync::kAllEvents);
  while (!IsReady(page, access)) waiter.Wait();
}

const Vma* AddressSpace::FindVmaOrGrowStackLocked(PageNumber page) {
  const Vma* vma = vmas_.FindAtOrAfter(page);
  if (vma == nullptr || vma->range.first <= page) return vma;
  if (!vma->grows_down || page < PageNumber(kLowestAddress >> kPageShift)) return nullptr;
  if ((vma->range.end - page) > stack_limit_bytes_ >> kPageShift) return nullptr;
  const Vma* below = vmas_.FindBefore(page);
  if (below != nullptr && !below->grows_down && below->protection.readable() &&
      page - below->range.end < kStackGuardPages)
    return nullptr;
  const PageNumber old_first = vma->range.first;
  holes_.Reserve({page, old_first});
  vmas_.GrowDown(old_first, page);
  RecordChangedCodeLocked();
  return vmas_.Find(page);
}

TlbSource::Translation AddressSpace::ReadFaultLocked(const Vma& vma, PageNumber page, RetiredFrames* retired) {
  const PageTableEntry entry = table_.Find(page);
  if (entry.present()) {
    // The write right may come along where the frame is in the state that PrepareWrite leaves.
    const bool writable = vma.protection.writable() &&
                          (context_->frames->bits(entry.frame()) & kWriteState) == kFreelyWritable &&
                          (vma.shared ? entry.resident() : entry.anonymous() && table_.IsExclusive(page));
    return PresentInRowLocked(vma, page, entry.frame(), writable);
  }
  if (!vma.object) {
    // Where memory is being filled, what is read first will be written, too.
    if (vma.protection.writable() && !vma.page_by_page && table_.IsBeingFilled(page))
      return WriteFaultLocked(vma, page, retired);
    ++num_faults_;
    table_.Install(page, PageTableEntry(context_->frames->zero_frame(), /*anonymous=*/true), retired);
    return Present(context_->frames->zero_frame(), false);
  }
  // Likewise in a data segment: a page that is read before it is written costs a second fault, and all that is known
  // of the first one's frame.
  if (IsDataSegment(vma) && context_->frames->has_plenty()) return WriteFaultLocked(vma, page, retired);
  const ErrnoOr<FrameId> frame = vma.object->GetFrame(vma.PageIndexOf(page), /*for_write=*/false);
  if (!frame.ok()) return Failed(FaultOf(frame.error()));
  ++num_faults_;
  table_.Install(page, PageTableEntry(*frame, /*anonymous=*/false), retired);
  // What a private mapping may write is copied then, and an entry that is copied has to be taken from others' TLBs.
  if (!vma.page_by_page && (vma.shared || !vma.protection.writable())) MapAroundLocked(vma, page, retired);
  return PresentInRowLocked(vma, page, *frame, /*writable=*/false,
                            IsProgramData(vma) ? FrameReservation::kNumFrames : kNear);
}

void AddressSpace::MapAroundLocked(const Vma& vma, PageNumber page, RetiredFrames* retired) {
  // Aligned in the object: who reads it in sequence has it read in pieces that end there.
  const uint64_t before = vma.PageIndexOf(page) % kFaultAroundPages, behind = kFaultAroundPages - before;
  PageRange window{page - std::min(before, page - vma.range.first), page + std::min(behind, vma.range.end - page)};
  if (IsProgramData(vma)) {
    const PageRange around = ReadAroundLocked(vma, page);
    window = {std::min(window.first, around.first), std::max(window.end, around.end)};
  }
  TakePresentLocked(vma, window, [&](PageNumber other, FrameId frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    table_.Install(other, PageTableEntry(frame, /*anonymous=*/false), retired);
  });
}

void AddressSpace::TakePresentLocked(const Vma& vma, PageRange range,
                                     absl::FunctionRef<void(PageNumber, FrameId)> take) {
  std::array<FrameId, Mappable::kMaxFound> found;
  while (!range.empty()) {
    const uint64_t num_pages = std::min<uint64_t>(range.num_pages(), found.size());
    const PageRange piece{range.first, range.first + num_pages};
    range.first = piece.end;
    uint64_t absent = ~uint64_t{0} >> (found.size() - num_pages);
    table_.ForEach(piece, [&](PageNumber present, PageTableEntry) {
      absent &= ~(uint64_t{1} << (present - piece.first));
      return true;
    });
    if (absent == 0) continue;
    vma.object->FindFrames(vma.PageIndexOf(piece.first), absent, std::span(found).first(num_pages));
    for (; absent != 0; absent &= absent - 1) {
      const auto i = static_cast<uint32_t>(std::countr_zero(absent));
      if (found[i].valid()) take(piece.first + i, found[i]);
    }
  }
}

PageRange AddressSpace::ReadAroundLocked(const Vma& vma, PageNumber page) {
  const PageRange around = table_.PagesAround(page, vma.range, PageTable::Counted::kRegion);
  if (around.num_pages() > 1) vma.object->ReadAround(vma.PageIndexOf(around.first), around.num_pages());
  return around;
}

void AddressSpace::CopyAroundLocked(const Vma& vma, PageNumber page, RetiredFrames* retired) {
  FramePool& frames = *context_->frames;
  struct Copy {
    FrameId source, frame;
  };
  absl::InlinedVector<Copy, FrameReservation::kNumFrames> copies;
  TakePresentLocked(vma, ReadAroundLocked(vma, page),
                    [&](PageNumber other, FrameId source) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
                      retired->Add(source);
                      const ErrnoOr<FrameId> frame = table_.AllocateFrame(other, vma.range, /*zeroed=*/false, retired);
                      if (!frame.ok()) return;
                      // At once: the next one's frame is to be beside this one's.
                      table_.Install(other, PageTableEntry(*frame, /*anonymous=*/true), retired);
                      copies.push_back({source, *frame});
                    });
  for (size_t first = 0, end = 0; first < copies.size(); first = end) {
    while (end < copies.size() && copies[end].frame.value() - copies[first].frame.value() == end - first) ++end;
    frames.Populate(copies[first].frame, end - first);
  }
  for (const Copy& copy : copies) {
    CopyGuestMemory(frames.Data(copy.frame), frames.Data(copy.source), kPageSize);
    frames.PrepareWrite(copy.frame);
  }
}

TlbSource::Translation AddressSpace::InstallWritableLocked(PageNumber page, PageTableEntry entry,
                                                           RetiredFrames* retired) {
  ++num_faults_;
  const bool replaced = table_.Find(page).present();
  // Installed first: who takes write rights away to run code of the frame finds this space then, or is found out here.
  table_.Install(page, entry, retired);
  context_->frames->PrepareWrite(entry.frame());
  if (replaced) RecordLocked({page, page + 1}, /*writes_only=*/false);
  return Present(entry.frame(), true);
}

TlbSource::Translation AddressSpace::WriteInPlaceLocked(const Vma& vma, PageNumber page, FrameId frame) {
  // Another worker has taken write rights away and wants to run the page's code: a thread that writes there in a loop
  // lets it go first, or it would never get its turn. Not for ever: that worker's task may have been killed.
  constexpr uint32_t kMaxDeferrals = 3;
  if ((context_->frames->bits(frame) & FramePool::kRevoking) != 0) {
    if (deferred_page_ != page) num_deferrals_ = 0;
    deferred_page_ = page;
    if (++num_deferrals_ <= kMaxDeferrals) return Failed(FaultKind::kMustWait);
    num_deferrals_ = 0;
  }
  context_->frames->PrepareWrite(frame);
  return PresentInRowLocked(vma, page, frame, true);
}

TlbSource::Translation AddressSpace::WriteFaultLocked(const Vma& vma, PageNumber page, RetiredFrames* retired) {
  FramePool& frames = *context_->frames;
  const PageTableEntry entry = table_.Find(page);
  if (vma.shared && vma.object) {
    if (entry.resident()) return WriteInPlaceLocked(vma, page, entry.frame());
    const ErrnoOr<FrameId> frame = vma.object->GetFrame(vma.PageIndexOf(page), /*for_write=*/true);
    if (!frame.ok()) return Failed(FaultOf(frame.error()));
    return InstallWritableLocked(page, PageTableEntry(*frame, /*anonymous=*/false), retired);
  }
  if (entry.anonymous() && table_.IsExclusive(page)) return WriteInPlaceLocked(vma, page, entry.frame());
  FrameId source = entry.present() ? entry.frame() : frames.zero_frame();
  if (!entry.present() && vma.object) {
    const ErrnoOr<FrameId> cached = vma.object->GetFrame(vma.PageIndexOf(page), /*for_write=*/false);
    if (!cached.ok()) return Failed(FaultOf(cached.error()));
    source = *cached;
    retired->Add(source);
  }
  const bool zero = source == frames.zero_frame();
  // Who has not heard yet that the page may not be written any more would write to the old frame behind the copy.
  if (entry.present() && entry.anonymous() && !zero &&
      LaggardExists(generation_.load(std::memory_order_relaxed), nullptr, /*skip_this_thread=*/true))
    return Failed(FaultKind::kMustWait);
  const ErrnoOr<FrameId> copy = table_.AllocateFrame(page, vma.range, /*zeroed=*/zero, retired);
  if (!copy.ok()) return Failed(FaultKind::kOutOfMemory);
  if (!zero) CopyGuestMemory(frames.Data(*copy), frames.Data(source), kPageSize);
  const Translation result = InstallWritableLocked(page, PageTableEntry(*copy, /*anonymous=*/true), retired);
  uint64_t farthest = FrameReservation::kNumFrames / 2;  // looks at as many as 2 MiB have
  if (!entry.present() && IsDataSegment(vma)) {
    CopyAroundLocked(vma, page, retired);
  } else if (!vma.object && zero && !vma.page_by_page) {
    const PageRange mapped = table_.MapAround(page, vma.range, retired);
    farthest = std::max({farthest, page - mapped.first, mapped.end - page});
  } else {
    return result;
  }
  // What was there before and what has come between it is one run now.
  return PresentInRowLocked(vma, page, *copy, /*writable=*/true, farthest);
}

}  // namespace remora::mm
