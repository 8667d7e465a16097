// General registers only: see BUILD.

#include <cstdint>

#include "base/guest_addr.h"
#include "cpu/translator/access.h"
#include "cpu/translator/translation.h"
#include "mm/tlb.h"

namespace remora::cpu::translator {
namespace {

template <mm::Access kAccess>
bool Continues(const mm::Tlb& tlb, uint64_t page_address, uint64_t delta) {
  const std::byte* host = tlb.Probe<kAccess>(GuestAddr(page_address));
  return host != nullptr && reinterpret_cast<uint64_t>(host) - page_address == delta;
}

// Two pages serve as one if their frames lie side by side.
std::byte* AcrossPages(const mm::Tlb& tlb, uint64_t address, uint64_t size, bool write) {
  const uint64_t second = (address + size - 1) & ~kPageMask;
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
  Extent& extent = context->extent(site.write, site.extent);
  const uint64_t delta = reinterpret_cast<uint64_t>(host) - address;
  const uint64_t size = site.extent_size();
  constexpr uint64_t kLargest = uint64_t{1} << (kSizeClasses - 1);
  if (extent.host == 0)
    context->used_extents[context->num_used_extents++] =
        static_cast<uint16_t>(site.extent + (site.write ? kNumExtents : 0));
  GuestContext::Recent& recent = context->recents[site.write][GuestContext::RecentIndex(address)];
  uint64_t first, end;
  if (address - recent.start < recent.limit && recent.delta == delta) {
    first = recent.start;
    end = first + recent.limit + kLargest - 1;
  } else {
    const PageNumber page = GuestAddr(address).page();
    const PageRange run = site.write ? context->tlb->RunAround<mm::Access::kWrite>(page, delta)
                                     : context->tlb->RunAround<mm::Access::kRead>(page, delta);
    first = run.start_addr().value();
    end = run.end_addr().value();
    recent = {first, end - first - kLargest + 1, delta, first + delta};
  }
  extent.start = first;
  extent.limit = end - first - size + 1;
  extent.host = first + delta;
  extent.delta = delta;
}

bool RecordStack(GuestContext* context, uint64_t address, const std::byte* host, bool one_page) {
  const AccessSite site = __builtin_bit_cast(AccessSite, context->site);
  const uint64_t delta = reinterpret_cast<uint64_t>(host) - address;
  if (site.pinned() && delta != context->stack_delta) return false;
  context->stack_delta = delta;
  context->minus_stack_delta = -delta;
  // Who only reads the stack may hit as well: nothing may get there without the right to write.
  const bool writable = one_page && context->tlb->Probe<mm::Access::kWrite>(GuestAddr(address)) == host;
  PageRange run;
  if (writable) run = context->tlb->RunAround<mm::Access::kWrite>(GuestAddr(address).page(), delta);
  context->stack_start = run.start_addr().value() + delta;
  context->stack_bytes = run.end_addr().value() - run.start_addr().value();
  context->ForgetStack();
  if (!writable) return true;
  for (uint32_t size_class = 0; size_class < kSizeClasses; ++size_class)
    context->stack_limits[size_class] = context->stack_bytes - (uint64_t{1} << size_class) + 1;
  for (uint32_t i = 0; i < GuestContext::kStackReaches; ++i) {
    const auto reach = static_cast<uint64_t>(GuestContext::StackReach(i));
    if (context->stack_bytes >= reach)
      context->stack_bounds[i] = {context->stack_start + reach, context->stack_start + context->stack_bytes - reach};
  }
  return true;
}

uint64_t FastStack(GuestContext* context, uint64_t address) {
  const AccessSite site = __builtin_bit_cast(AccessSite, context->site);
  // In the run, but too close to its end for the block to know.
  if (address + context->stack_delta - context->stack_start < context->stack_limits[SizeClassOf(site.extent)]) return 1;
  const mm::Tlb& tlb = *context->tlb;
  const bool one_page = (address & kPageMask) + site.size() <= kPageSize;
  const std::byte* host = !one_page    ? AcrossPages(tlb, address, site.size(), site.write)
                          : site.write ? tlb.Probe<mm::Access::kWrite>(GuestAddr(address))
                                       : tlb.Probe<mm::Access::kRead>(GuestAddr(address));
  return host != nullptr && RecordStack(context, address, host, one_page) ? 1 : 0;
}

std::byte* FastPlace(GuestContext* context) {
  const mm::Tlb& tlb = *context->tlb;
  const uint32_t place = __builtin_bit_cast(PlaceSite, context->site).place;
  if (place == GuestContext::kFsPlace) {
    const uint64_t address = context->fs_base;
    std::byte* host = (address & kPageMask) + GuestContext::kFsBytes <= kPageSize
                          ? tlb.Probe<mm::Access::kWrite>(GuestAddr(address))
                          : AcrossPages(tlb, address, GuestContext::kFsBytes, /*write=*/true);
    context->fs_host = reinterpret_cast<uint64_t>(host);
    return host;
  }
  const GuestAddr address(context->address_of_page(place));
  std::byte* host =
      context->is_written(place) ? tlb.Probe<mm::Access::kWrite>(address) : tlb.Probe<mm::Access::kRead>(address);
  if (host == nullptr) return nullptr;
  context->pages[place] = reinterpret_cast<uint64_t>(host);
  context->known_pages[context->num_known_pages++] = static_cast<uint16_t>(place);
  return host;
}

const void* FastTarget(GuestContext* context) {
  const GuestContext::Target& target = context->targets[GuestContext::TargetIndex(context->target)];
  if (target.translation == nullptr || target.pc != context->target) return nullptr;
  const std::byte* code = target.translation->code + target.translation->saved_entry;
  // Its entry is another's. Not each time: two that took turns would both miss always.
  constexpr uint32_t kMissesForEachExchange = 4;
  if (++context->displaced % kMissesForEachExchange == 0)
    context->indirect[GuestContext::TargetEntry(context->target)] = {context->target, code};
  return code;
}

const void* FastWay(GuestContext* context) {
  context->way = static_cast<uint32_t>(context->way_return - context->way_thunks) / (2 * GuestContext::kWayThunkBytes);
  const uint64_t pc = context->way_targets[context->way].load(std::memory_order_relaxed);
  const GuestContext::Target& target = context->targets[GuestContext::TargetIndex(pc)];
  context->exit_pc = pc;
  if (target.translation == nullptr || target.pc != pc) return nullptr;
  SetWay(context, *target.translation);
  return target.translation->code + target.translation->saved_entry;
}

void SetWay(GuestContext* context, const Translation& translation) {
  GuestContext::Way& way = context->ways[context->way];
  way.saved_flags[0] = translation.code + translation.saved_entry;
  way.saved_flags[1] = translation.code + translation.forward_entry;
  const bool flags_live = translation.host_entry != translation.saved_entry;
  way.host_flags[0] = translation.code + translation.host_entry;
  way.host_flags[1] = flags_live ? way.host_flags[0] : way.saved_flags[1];
  context->used_ways[context->num_used_ways++] = static_cast<uint16_t>(context->way);
  context->way = GuestContext::kNoWay;
}

std::byte* FastAccess(GuestContext* context, uint64_t address) {
  const AccessSite site = __builtin_bit_cast(AccessSite, context->site);
  const uint64_t size = site.size();
  const mm::Tlb& tlb = *context->tlb;
  if ((address & kPageMask) + size > kPageSize) return AcrossPages(tlb, address, size, site.write);
  std::byte* host =
      site.write ? tlb.Probe<mm::Access::kWrite>(GuestAddr(address)) : tlb.Probe<mm::Access::kRead>(GuestAddr(address));
  if (host == nullptr) return nullptr;
  RecordExtent(context, address, host);
  // What is short may be so only as far as the TLB knows: once in a while FillAccess asks.
  constexpr uint64_t kShort = 64 * kPageSize;
  constexpr uint32_t kShortRunsForEachQuestion = 32;
  const bool is_short = context->extent(site.write, site.extent).limit < kShort;
  return is_short && ++context->short_runs % kShortRunsForEachQuestion == 0 ? nullptr : host;
}

}  // namespace remora::cpu::translator
