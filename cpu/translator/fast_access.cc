// General registers only: see BUILD.

#include "base/guest_addr.h"
#include "cpu/translator/access.h"
#include "mm/tlb.h"

namespace remora::cpu::translator {
namespace {

template <mm::Access kAccess>
bool Continues(const mm::Tlb& tlb, uint64_t page_address, uint64_t delta) {
  const std::byte* host = tlb.Probe<kAccess>(GuestAddr(page_address));
  return host != nullptr && reinterpret_cast<uint64_t>(host) - page_address == delta;
}

// Grows the extent to the neighbours that the TLB knows.
constexpr int kMaxPagesEachWay = 16;

template <mm::Access kAccess>
void Grow(const mm::Tlb& tlb, uint64_t delta, uint64_t* first, uint64_t* end) {
  for (int i = 0; i < kMaxPagesEachWay && Continues<kAccess>(tlb, *end, delta); ++i) *end += kPageSize;
  for (int i = 0; i < kMaxPagesEachWay && Continues<kAccess>(tlb, *first - kPageSize, delta); ++i) *first -= kPageSize;
}

// Two pages serve as one if their frames lie side by side.
std::byte* AcrossPages(const mm::Tlb& tlb, uint64_t address, uint64_t size, bool write) {
  const uint64_t second = (address + size) & ~kPageMask;
  std::byte* host =
      write ? tlb.Probe<mm::Access::kWrite>(GuestAddr(address)) : tlb.Probe<mm::Access::kRead>(GuestAddr(address));
  if (host == nullptr) return nullptr;
  const uint64_t delta = reinterpret_cast<uint64_t>(host) - address;
  const bool continues =
      write ? Continues<mm::Access::kWrite>(tlb, second, delta) : Continues<mm::Access::kRead>(tlb, second, delta);
  return continues ? host : nullptr;
}

}  // namespace

void RecordExtent(GuestContext* context, uint64_t address, std::byte* host) {
  const AccessSite site = __builtin_bit_cast(AccessSite, context->site);
  // A site that only reads the stack looks among the extents for writing: nothing may get there without that right.
  if (site.write_extent && !site.write && context->tlb->Probe<mm::Access::kWrite>(GuestAddr(address)) != host) return;
  Extent& extent = context->extents[site.write_extent][site.extent];
  const uint64_t delta = reinterpret_cast<uint64_t>(host) - address;
  uint64_t first = address & ~kPageMask, end = first + kPageSize;
  const uint64_t size = uint64_t{1} << site.size_class;
  // The old extent, if this page continues it.
  if (extent.limit != 0 && extent.host - extent.start == delta) {
    const uint64_t old_end = extent.start + extent.limit + size - 1;
    if (extent.start == end) end = old_end;
    if (old_end == first) first = extent.start;
  }
  if (site.write_extent)
    Grow<mm::Access::kWrite>(*context->tlb, delta, &first, &end);
  else
    Grow<mm::Access::kRead>(*context->tlb, delta, &first, &end);
  if (extent.host == 0)
    context->used_extents[context->num_used_extents++] =
        static_cast<uint16_t>(site.extent + (site.write_extent ? kNumExtents : 0));
  extent.start = first;
  extent.limit = end - first - size + 1;
  extent.host = first + delta;
  extent.delta = delta;
}

const void* FastTarget(GuestContext* context) {
  const GuestContext::Target& target = context->targets[GuestContext::TargetIndex(context->target)];
  return target.pc == context->target ? target.code : nullptr;
}

std::byte* FastAccess(GuestContext* context, uint64_t address) {
  const AccessSite site = __builtin_bit_cast(AccessSite, context->site);
  const uint64_t size = uint64_t{1} << site.size_class;
  const mm::Tlb& tlb = *context->tlb;
  if ((address & kPageMask) + size > kPageSize) return AcrossPages(tlb, address, size, site.write);
  std::byte* host =
      site.write ? tlb.Probe<mm::Access::kWrite>(GuestAddr(address)) : tlb.Probe<mm::Access::kRead>(GuestAddr(address));
  // Not each time: what jumps about would only throw one page out for another.
  constexpr uint8_t kMissesForEachRecord = 4;
  if (host != nullptr && context->extent_misses[site.write_extent][site.extent]++ % kMissesForEachRecord == 0)
    RecordExtent(context, address, host);
  return host;
}

}  // namespace remora::cpu::translator
