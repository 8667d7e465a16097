#include "cpu/translator/access.h"

#include <bit>
#include <cstring>
#include <span>

#include "base/guest_addr.h"
#include "cpu/canonical.h"
#include "cpu/fxsave.h"
#include "cpu/translator/string_places.h"
#include "cpu/translator/translator_core.h"
#include "cpu/xsave.h"
#include "mm/tlb.h"

namespace remora::cpu::translator {

namespace {

std::byte* Fill(GuestContext* context, AccessSite site, uint64_t address) {
  const uint64_t last = address + site.size() - 1;
  if (!IsCanonical(address) || !IsCanonical(last)) return nullptr;
  mm::Tlb& tlb = *context->tlb;
  const mm::Access access = site.write ? mm::Access::kWrite : mm::Access::kRead;
  const uint64_t losses = tlb.losses();
  // Whoever is sent here although the page is known wants to know of the run around it.
  const bool known = site.write ? tlb.Probe<mm::Access::kWrite>(GuestAddr(address)) != nullptr
                                : tlb.Probe<mm::Access::kRead>(GuestAddr(address)) != nullptr;
  std::byte* host = known ? tlb.Refill(GuestAddr(address), access) : tlb.Fill(GuestAddr(address), access);
  if (host == nullptr) {
    // The interpreter will find out why, and say so.
    tlb.ForgetFault();
    return nullptr;
  }
  // Two pages serve as one if their frames lie side by side.
  if (const PageNumber second = GuestAddr(last).page(); second != GuestAddr(address).page()) {
    const std::byte* behind = tlb.Fill(GuestAddr(second), access);
    if (behind == nullptr) {
      tlb.ForgetFault();
      return nullptr;
    }
    if (behind != host - (address & kPageMask) + kPageSize) return nullptr;
  }
  // The fill may have replaced a page, which the block under way may have found before (GuestContext::deltas), or
  // dropped code: then the block is left.
  tlb.Synchronize();
  if (!static_cast<TranslatorCore*>(context->engine)->FollowChanges(*context) || tlb.losses() != losses) return nullptr;
  return host;
}

}  // namespace

std::byte* FillAccess(GuestContext* context, uint64_t address) {
  const auto site = std::bit_cast<AccessSite>(context->site);
  std::byte* host = Fill(context, site, address);
  if (host == nullptr) return nullptr;
  // The run may have become longer.
  context->recents[site.write][GuestContext::RecentIndex(address)].limit = 0;
  RecordExtent(context, address, host);
  return host;
}

std::byte* FillPlace(GuestContext* context) {
  const uint32_t place = std::bit_cast<PlaceSite>(context->site).place;
  const bool fs = place == GuestContext::kFsPlace;
  AccessSite wanted = {};
  wanted.write = fs || context->is_written(place);
  wanted.size_less_one = ((fs ? GuestContext::kFsBytes : 1) - 1) & 0x1ff;
  const uint64_t address = fs ? context->fs_base : context->address_of_page(place);
  return Fill(context, wanted, address) == nullptr ? nullptr : FastPlace(context);
}

uint64_t FillStack(GuestContext* context, uint64_t address) {
  const auto site = std::bit_cast<AccessSite>(context->site);
  const std::byte* host = Fill(context, site, address);
  const bool one_page = (address & kPageMask) + site.size() <= kPageSize;
  return host != nullptr && RecordStack(context, address, host, one_page) ? 1 : 0;
}

bool FillString(GuestContext* context, const PushedRegisters* registers) {
  PushedRegisters copy = *registers;
  const StringPlaces places(context, &copy);
  const StringForm& form = places.form();
  mm::Tlb& tlb = *context->tlb;
  const bool writes = WritesDestination(form.string);
  const auto fill = [&](uint64_t address, mm::Access access) {
    if (IsCanonical(address) && tlb.Fill(GuestAddr(address), access) != nullptr) return true;
    // The interpreter will find out why, and say so.
    tlb.ForgetFault();
    return false;
  };
  if (ReadsSource(form.string) && !fill(places.source(), mm::Access::kRead)) return false;
  if (UsesDestination(form.string) && !fill(places.destination(), writes ? mm::Access::kWrite : mm::Access::kRead))
    return false;
  // Two pages in one set of the TLB take the first way from each other.
  if (ReadsSource(form.string) && tlb.Probe<mm::Access::kRead>(GuestAddr(places.source())) == nullptr) return false;
  tlb.Synchronize();
  return static_cast<TranslatorCore*>(context->engine)->FollowChanges(*context);
}

void PrepareX87(GuestContext* context) {
  const std::span image = std::span(context->x87_image).first<kFxsaveBytes>();
  WriteFxsaveImage(*context->state, image);
  context->x87_image[kXsaveComponentsOffset] = std::byte{kXstateX87};
}

}  // namespace remora::cpu::translator
