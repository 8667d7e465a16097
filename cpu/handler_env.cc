#include "cpu/handler_env.h"

#include "cpu/canonical.h"

namespace remora::cpu {

bool HandlerEnv::LookupRange(uint64_t address, size_t length_bytes, mm::Access access, std::byte* hosts[2]) {
  ++slow_accesses_;
  if (access == mm::Access::kWrite) filled_for_write_ = true;
  const uint64_t last = address + (length_bytes - 1);
  if (!IsCanonical(address) || !IsCanonical(last)) return Raise(ExitReason::kProtection);
  const uint64_t pages[2] = {address, last & ~kPageMask};
  const int num_pages = (address ^ last) >> kPageShift == 0 ? 1 : 2;
  for (int i = 0; i < num_pages; ++i) {
    const GuestAddr at(pages[i]);
    hosts[i] =
        access == mm::Access::kWrite ? tlb_->Lookup<mm::Access::kWrite>(at) : tlb_->Lookup<mm::Access::kRead>(at);
    if (hosts[i] == nullptr) {
      exit_.fault = tlb_->last_fault();
      return Raise(mm::IsMerelyEarly(exit_.fault.kind)                ? ExitReason::kMustWait
                   : exit_.fault.kind == mm::FaultKind::kNonCanonical ? ExitReason::kProtection
                                                                      : ExitReason::kFault);
    }
  }
  return true;
}

bool HandlerEnv::ProbeWrite(uint64_t address, size_t length_bytes) {
  if (Single<mm::Access::kWrite>(address, length_bytes) != nullptr) return true;
  std::byte* hosts[2];
  return LookupRange(address, length_bytes, mm::Access::kWrite, hosts);
}

bool HandlerEnv::ReadSlow(uint64_t address, void* to, size_t length_bytes) {
  std::byte* hosts[2];
  if (!LookupRange(address, length_bytes, mm::Access::kRead, hosts)) return false;
  const size_t in_first = kPageSize - (address & kPageMask);
  if (length_bytes <= in_first) {
    CopyFromGuest(to, hosts[0], length_bytes);
  } else {
    CopyFromGuest(to, hosts[0], in_first);
    CopyFromGuest(static_cast<std::byte*>(to) + in_first, hosts[1], length_bytes - in_first);
  }
  return true;
}

bool HandlerEnv::WriteSlow(uint64_t address, const void* from, size_t length_bytes) {
  std::byte* hosts[2];
  if (!LookupRange(address, length_bytes, mm::Access::kWrite, hosts)) return false;
  const size_t in_first = kPageSize - (address & kPageMask);
  if (length_bytes <= in_first) {
    CopyToGuest(hosts[0], from, length_bytes);
  } else {
    CopyToGuest(hosts[0], from, in_first);
    CopyToGuest(hosts[1], static_cast<const std::byte*>(from) + in_first, length_bytes - in_first);
  }
  return true;
}

}  // namespace remora::cpu
