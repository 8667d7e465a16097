#ifndef REMORA_CPU_HANDLER_ENV_H_
#define REMORA_CPU_HANDLER_ENV_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/guest_addr.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/guest_access.h"
#include "cpu/op.h"
#include "mm/tlb.h"

namespace remora::cpu {

// What a handler sees of the machine: the registers, the guest's memory through the TLB, and the way out.
//
// Memory accesses are whole or nothing: both pages of one that crosses are looked up before the first byte moves. A
// failed access has recorded the exit; the handler then only returns false. Aligned accesses of up to 8 bytes are
// single. Thread safety: used by one worker within one Run.
class HandlerEnv {
 public:
  CpuState& state() const { return *state_; }
  mm::Tlb& tlb() const { return *tlb_; }
  // Which components of XSAVE's image there are.
  uint64_t xcr0() const { return xcr0_; }
  void set_xcr0(uint64_t xcr0) { xcr0_ = xcr0; }

  // Addresses of the running instruction (valid while its handler runs).
  uint64_t InstructionAddress(const Op& op) const { return state_->rip + op.offset; }
  uint64_t NextAddress(const Op& op) const { return state_->rip + op.offset + op.length; }

  // The linear address of the op's memory operand: segment base included.
  uint64_t Address(const Op& op) const {
    const uint64_t offset = Offset(op);
    return op.segment == 0 ? offset : offset + (op.segment == 1 ? state_->fs_base : state_->gs_base);
  }
  // Without the segment base, as LEA has it.
  uint64_t Offset(const Op& op) const {
    const uint64_t* registers = state_->gpr.data();
    uint64_t address = static_cast<uint64_t>(int64_t{op.displacement});
    if (op.base == kBlockStartRegister) {
      address += state_->rip;
    } else if (op.base != kNoRegister) {
      address += registers[op.base];
    }
    if (op.index != kNoRegister) address += registers[op.index] << op.scale_shift;
    return op.address32 ? static_cast<uint32_t>(address) : address;
  }

  // 1 to 4096 bytes. False: the exit is recorded.
  bool Read(uint64_t address, void* to, size_t length_bytes) {
    if (const std::byte* host = Single<mm::Access::kRead>(address, length_bytes)) [[likely]] {
      CopyFromGuest(to, host, length_bytes);
      return true;
    }
    return ReadSlow(address, to, length_bytes);
  }
  bool Write(uint64_t address, const void* from, size_t length_bytes) {
    if (std::byte* host = Single<mm::Access::kWrite>(address, length_bytes)) [[likely]] {
      CopyToGuest(host, from, length_bytes);
      return true;
    }
    return WriteSlow(address, from, length_bytes);
  }
  // Whether a Write of this range would succeed; for handlers that must not begin what they cannot finish. The answer
  // holds until the handler returns.
  bool ProbeWrite(uint64_t address, size_t length_bytes);

  template <typename T>
    requires(std::is_trivially_copyable_v<T>)
  bool Load(uint64_t address, T* to) {
    return Read(address, to, sizeof(T));
  }
  template <typename T>
    requires(std::is_trivially_copyable_v<T>)
  bool Store(uint64_t address, const T& from) {
    return Write(address, &from, sizeof(T));
  }

  // The host address of a byte whose page has the right; null: the exit is recorded. Valid until the next access that
  // is not found at once, and beyond it as long as tlb().losses() stays.
  template <mm::Access kAccess>
  std::byte* Find(uint64_t address) {
    static_assert(kAccess != mm::Access::kFetch);
    if (std::byte* host = tlb_->Probe<kAccess>(GuestAddr(address))) [[likely]]
      return host;
    std::byte* hosts[2];
    return LookupRange(address, 1, kAccess, hosts) ? hosts[0] : nullptr;
  }

  // Leaves the engine at this instruction (rip at it, not retired). Returns false, for `return env.Raise(...)`.
  // kProtection: #GP; kIllegal: #UD; kX87Error: #MF (at the *waiting* instruction); kSimdError: #XM.
  bool Raise(ExitReason reason) {
    exit_.reason = reason;
    return false;
  }
  // The usual check of a 16-byte SSE operand: true if aligned, else raises kProtection.
  bool CheckAligned(uint64_t address, uint64_t alignment) {
    return (address & (alignment - 1)) == 0 ? true : Raise(ExitReason::kProtection);
  }

 protected:
  template <mm::Access kAccess>
  std::byte* Single(uint64_t address, size_t length_bytes) const {
    if ((address & kPageMask) + length_bytes > kPageSize) [[unlikely]]
      return nullptr;
    return tlb_->Probe<kAccess>(GuestAddr(address));
  }
  // Fills the TLB for each page of the range (at most two); false: the exit is recorded.
  bool LookupRange(uint64_t address, size_t length_bytes, mm::Access access, std::byte* hosts[2]);
  bool ReadSlow(uint64_t address, void* to, size_t length_bytes);
  bool WriteSlow(uint64_t address, const void* from, size_t length_bytes);

  CpuState* state_ = nullptr;
  mm::Tlb* tlb_ = nullptr;
  Exit exit_;
  uint64_t xcr0_ = 0;
  // A write missed the TLB since somebody last looked: code may have been dropped or moved (RunContext::CodeChanged).
  bool filled_for_write_ = false;
  uint64_t slow_accesses_ = 0;  // calls of LookupRange in this Run
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_HANDLER_ENV_H_
