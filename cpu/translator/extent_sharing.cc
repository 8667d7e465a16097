#include "cpu/translator/extent_sharing.h"

#include <bit>
#include <cstddef>

#include "base/guest_addr.h"
#include "cpu/translator/access.h"
#include "mm/tlb.h"

namespace remora::cpu::translator {

std::optional<uint32_t> ExtentSharing::Choose(GuestContext* context, uint32_t size_class, bool write, uint64_t address,
                                              absl::FunctionRef<uint32_t()> new_extent) {
  const mm::Tlb& tlb = *context->tlb;
  std::byte* host =
      write ? tlb.Probe<mm::Access::kWrite>(GuestAddr(address)) : tlb.Probe<mm::Access::kRead>(GuestAddr(address));
  if (host == nullptr) return std::nullopt;
  const uint64_t delta = reinterpret_cast<uint64_t>(host) - address;
  Window& window = windows_[write][size_class];
  for (uint32_t back = 1; back <= kWindow; ++back) {
    Given& given = window.given[(window.next - back) % kWindow];
    const Extent& extent = context->extent(write, given.extent);
    if (given.num_sites == kMaxSites || extent.host == 0 || extent.delta != delta ||
        address - extent.start >= extent.limit)
      continue;
    ++given.num_sites;
    return given.extent;
  }
  const uint32_t extent = new_extent();
  window.given[window.next++ % kWindow] = {.extent = extent, .num_sites = 1};
  AccessSite site = {};
  site.extent = extent & 0xfff;
  site.write = write;
  context->site = std::bit_cast<uint32_t>(site);
  RecordExtent(context, address, host);
  return extent;
}

}  // namespace remora::cpu::translator
