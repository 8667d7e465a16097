#include "mm/address_space.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/check.h"
#include "mm/guest_copy.h"
#include "sync/reclaimer.h"

// Life, fork, facts and access from outside. See also address_space_{map,fault,shootdown}.cc.

namespace remora::mm {

Ref<AddressSpace> AddressSpace::Create(MemoryContext* context, const AddressLayout& layout) {
  return Ref<AddressSpace>::Adopt(new AddressSpace(context, layout));
}

AddressSpace::AddressSpace(MemoryContext* context, const AddressLayout& layout)
    : context_(context),
      layout_(layout),
      id_(context->next_object_id.fetch_add(1, std::memory_order_relaxed)),
      table_(context->frames, context->reverse_map, this) {}

AddressSpace::AddressSpace(const AddressSpace& parent)
    : context_(parent.context_),
      layout_(parent.layout_),
      id_(parent.context_->next_object_id.fetch_add(1, std::memory_order_relaxed)),
      vmas_(parent.vmas_),
      holes_(parent.holes_),
      table_(context_->frames, context_->reverse_map, this),
      break_start_(parent.break_start_),
      break_end_(parent.break_end_),
      stack_limit_bytes_(parent.stack_limit_bytes_),
      program_info_(parent.program_info_) {
  // From here on the reverse map finds this space.
  table_.ShareFrom(parent.table_);
}

AddressSpace::~AddressSpace() {
  RetiredFrames retired(context_->frames, context_->reclaimer);
  // Out of the reverse map and of the files' lists before anything is destroyed: whoever finds the space there fails to
  // take a reference by now, but it still touches the count.
  MutexLock lock(&mu_);
  vmas_.ForEach([&](const Vma& vma) {
    if (vma.object) vma.object->OnUnmapped(this, vma.range, vma.first_page_index);
  });
  table_.Clear(&retired);
}

ErrnoOr<Ref<AddressSpace>> AddressSpace::Fork() {
  MutexLock lock(&mu_);
  Ref<AddressSpace> child = Ref<AddressSpace>::Adopt(new AddressSpace(*this));
  // The objects learn of the child after it has everything: they may come to take pages out of it at once.
  vmas_.ForEach([&](const Vma& vma) {
    if (vma.object) vma.object->OnMapped(child.get(), vma.range, vma.first_page_index);
  });
  RecordLocked({PageNumber(0), PageNumber(kUserAddressEnd >> kPageShift)}, /*writes_only=*/true);
  return child;
}

// --- objects' changes ---

void AddressSpace::OnObjectPagesRemoved(const Mappable* object, uint64_t first_index, uint64_t num_pages,
                                        bool private_copies_too) {
  RetiredFrames retired(context_->frames, context_->reclaimer);
  std::vector<PageRange> code;
  MutexLock lock(&mu_);
  vmas_.ForEach([&](const Vma& vma) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (vma.object.get() != object) return;
    const uint64_t first = std::max(first_index, vma.first_page_index);
    const uint64_t vma_end = vma.first_page_index + vma.range.num_pages();
    const uint64_t end = num_pages > vma_end - std::min(first_index, vma_end) ? vma_end : first_index + num_pages;
    if (first >= end) return;
    const PageNumber start = vma.range.first + (first - vma.first_page_index);
    const PageRange range{start, start + (end - first)};
    const uint64_t removed =
        private_copies_too ? table_.Remove(range, &retired) : table_.RemoveOfObject(range, &retired);
    if (removed != 0) RecordLocked(range, /*writes_only=*/false);
    if (vma.protection.executable() && !vma.may_differ) code.push_back(vma.range);
  });
  for (const PageRange range : code) vmas_.Change(range, [](Vma& vma) { vma.may_differ = true; });
  RecordChangedCodeLocked();
}

void AddressSpace::OnObjectWriteProtected(const Mappable* object, uint64_t first_index, uint64_t num_pages) {
  MutexLock lock(&mu_);
  vmas_.ForEach([&](const Vma& vma) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (vma.object.get() != object || !vma.shared || !vma.protection.writable()) return;
    const uint64_t vma_end = vma.first_page_index + vma.range.num_pages();
    if (first_index >= vma_end ||
        (first_index < vma.first_page_index && vma.first_page_index - first_index >= num_pages))
      return;
    RecordLocked(vma.range, /*writes_only=*/true);
  });
}

// --- access without a TLB ---

uint64_t AddressSpace::ReadRemote(GuestAddr from, std::span<std::byte> to) {
  sync::Reclaimer::ReadSection section(context_->reclaimer);
  uint64_t done = 0;
  while (done < to.size()) {
    const GuestAddr at = from + done;
    const Translation t = Translate(at.page(), Access::kRead);
    if (t.fault == FaultKind::kNotReady) {
      AwaitPage(at.page(), Access::kRead);
      continue;
    }
    if (t.host_page == nullptr) break;
    const uint64_t n = std::min<uint64_t>(to.size() - done, kPageSize - at.page_offset());
    CopyGuestMemory(to.data() + done, t.host_page + at.page_offset(), n);
    done += n;
  }
  return done;
}

uint64_t AddressSpace::WriteRemote(GuestAddr to, std::span<const std::byte> from) {
  sync::Reclaimer::ReadSection section(context_->reclaimer);
  uint64_t done = 0;
  while (done < from.size()) {
    const GuestAddr at = to + done;
    const uint64_t before = generation();
    const Translation t = Translate(at.page(), Access::kWrite);
    if (t.fault == FaultKind::kMustWait) {
      std::this_thread::yield();  // the page is there now, or will be when others have left guest code
      continue;
    }
    if (t.fault == FaultKind::kNotReady) {
      AwaitPage(at.page(), Access::kWrite);
      continue;
    }
    if (t.host_page == nullptr) break;
    const uint64_t n = std::min<uint64_t>(from.size() - done, kPageSize - at.page_offset());
    // Not into what has been copied elsewhere meanwhile.
    const auto copy = [&] { CopyGuestMemory(t.host_page + at.page_offset(), from.data() + done, n); };
    if (!StoreIfUnchanged(before, copy)) continue;
    context_->frames->FinishKernelWrite(t.frame);
    done += n;
  }
  return done;
}

// --- facts ---

ErrnoOr<sync::FutexKey> AddressSpace::KeyOfFutex(GuestAddr addr, bool process_private) {
  if ((addr.value() & 3) != 0) return Errno(EINVAL);
  if (addr.value() >= kUserAddressEnd) return Errno(EFAULT);
  if (process_private) return sync::FutexKey{id_, addr.value()};
  MutexLock lock(&mu_);
  const Vma* vma = vmas_.Find(addr.page());
  if (vma == nullptr || !vma->protection.readable()) return Errno(EFAULT);
  if (!vma->shared || !vma->object) return sync::FutexKey{id_, addr.value()};
  return sync::FutexKey{vma->object->object_id(), (vma->PageIndexOf(addr.page()) << kPageShift) + addr.page_offset()};
}

void AddressSpace::ForEachMapping(absl::FunctionRef<void(const MappingInfo&)> visit) const {
  std::vector<MappingInfo> mappings;
  {
    MutexLock lock(&mu_);
    mappings.reserve(vmas_.size());
    vmas_.ForEach([&](const Vma& vma) {
      mappings.push_back({vma.range, vma.protection, vma.shared, vma.object ? vma.first_page_index << kPageShift : 0,
                          vma.object, vma.name});
    });
  }
  for (const MappingInfo& mapping : mappings) visit(mapping);
}

uint64_t AddressSpace::num_mapped_pages() const {
  MutexLock lock(&mu_);
  return vmas_.num_pages();
}

uint64_t AddressSpace::num_resident_pages() const {
  MutexLock lock(&mu_);
  return table_.num_resident();
}

uint64_t AddressSpace::num_faults() const {
  MutexLock lock(&mu_);
  return num_faults_;
}

bool AddressSpace::IsResident(PageNumber page) const {
  MutexLock lock(&mu_);
  return table_.Find(page).present();
}

void AddressSpace::set_stack_limit(uint64_t bytes) {
  MutexLock lock(&mu_);
  stack_limit_bytes_ = bytes;
}

void AddressSpace::set_program_info(ProgramInfo info) {
  MutexLock lock(&mu_);
  program_info_ = std::move(info);
}

AddressSpace::ProgramInfo AddressSpace::program_info() const {
  MutexLock lock(&mu_);
  return program_info_;
}

void AddressSpace::CheckInvariants() const {
  MutexLock lock(&mu_);
  vmas_.CheckInvariants();
  holes_.CheckInvariants();
  table_.CheckInvariants();
  CHECK(holes_.num_free_pages() + vmas_.num_pages() == holes_.space().num_pages());
  vmas_.ForEach([&](const Vma& vma) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    CHECK(holes_.IsFree({vma.range.first, vma.range.first + 1}) == false);
  });
  table_.ForEach(holes_.space(), [&](PageNumber page, PageTableEntry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    CHECK(vmas_.Find(page) != nullptr);
    return true;
  });
}

}  // namespace remora::mm
