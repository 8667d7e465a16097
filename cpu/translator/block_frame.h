#ifndef REMORA_CPU_TRANSLATOR_BLOCK_FRAME_H_
#define REMORA_CPU_TRANSLATOR_BLOCK_FRAME_H_

#include <Zydis/Zydis.h>

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "cpu/cpu_state.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/guest_instruction.h"
#include "cpu/translator/host_code.h"

namespace remora::cpu::translator {

// Where things are for the code of a block. Thread safety: pure functions.

inline constexpr auto kAllFlags = static_cast<uint32_t>(kStatusFlags);

// JMP with four bytes of displacement, which entries are patched with.
inline constexpr uint32_t kJumpBytes = 5;

// A prefix that means nothing where no segment's base counts. (DS would be a hint for branches.)
inline constexpr unsigned kCsPrefix = 0x2e;

// Conditions by the encoding's numbers.
inline constexpr unsigned kBelow = 2, kAboveOrEqual = 3, kNotEqual = 5, kSign = 8;

// The place of a member of GuestContext, in bytes from the host's RSP.
#define REMORA_FRAME(member) static_cast<int32_t>(offsetof(GuestContext, member) - offsetof(GuestContext, r10))

inline HostPlace Frame(int32_t displacement) { return {.base = kHostRsp, .displacement = displacement}; }
inline HostPlace InContext(unsigned guest) { return Frame(guest == kR10 ? REMORA_FRAME(r10) : REMORA_FRAME(r11)); }

// A member of an extent, by `extent`, its number, those for writing behind those for reading.
inline HostPlace ExtentField(uint32_t extent, size_t offset) {
  constexpr auto kFirst = static_cast<size_t>(REMORA_FRAME(extent_rows)) + offsetof(ExtentRow, extents);
  return Frame(static_cast<int32_t>(kFirst + sizeof(ExtentRow) * (extent / ExtentRow::kExtents) +
                                    sizeof(Extent) * (extent % ExtentRow::kExtents) + offset));
}

// Where a page that code accesses by its address is on the host, by the page's number.
inline HostPlace PageField(uint32_t page) {
  return Frame(static_cast<int32_t>(static_cast<size_t>(REMORA_FRAME(pages)) + sizeof(uint64_t) * page));
}

// A path's gate, by its number.
inline HostPlace GateField(uint32_t gate) {
  return Frame(static_cast<int32_t>(static_cast<size_t>(REMORA_FRAME(gates)) + gate));
}

// The entry of the table of indirect branches that `pc` may have, which begins with whose it is, and its code.
inline HostPlace TargetField(uint64_t pc) {
  return Frame(static_cast<int32_t>(static_cast<size_t>(REMORA_FRAME(indirect)) +
                                    sizeof(GuestContext::IndirectTarget) * GuestContext::TargetEntry(pc)));
}
inline HostPlace CodeOfTarget(HostPlace target) {
  target.displacement += static_cast<int32_t>(offsetof(GuestContext::IndirectTarget, code));
  return target;
}

// GuestContext::arrivals().
inline HostPlace ArrivalField(uint32_t index) {
  constexpr auto kFirst = static_cast<size_t>(REMORA_FRAME(extent_rows)) + offsetof(ExtentRow, arrivals);
  return Frame(static_cast<int32_t>(kFirst + sizeof(ExtentRow) * (index / ExtentRow::kArrivals) +
                                    sizeof(int32_t) * (index % ExtentRow::kArrivals)));
}

// Whether the host's CPU may take what is loaded from there for what code has stored, see kAlikeBytes.
inline bool LooksStored(const HostPlace& place) {
  constexpr size_t kLoadedFrom = REMORA_FRAME(stack_delta), kLoadedTo = REMORA_FRAME(deltas);
  static_assert(kLoadedFrom <= offsetof(ExtentRow, extents) && kLoadedTo >= offsetof(ExtentRow, arrivals));
  static_assert(kLoadedTo + sizeof(GuestContext::deltas) == kAlikeBytes);
  const size_t at = static_cast<size_t>(place.displacement) % kAlikeBytes;
  return at < kLoadedFrom || at >= kLoadedTo;
}

// Where a way leads, by its number; `forward`: see IsForward.
inline HostPlace WayField(uint32_t way, bool flags_saved, bool forward) {
  const size_t member =
      flags_saved ? offsetof(GuestContext::Way, saved_flags) : offsetof(GuestContext::Way, host_flags);
  return Frame(static_cast<int32_t>(static_cast<size_t>(REMORA_FRAME(ways)) + sizeof(GuestContext::Way) * way + member +
                                    (forward ? sizeof(void*) : 0)));
}

// Whether a jump need not count: it leads to a higher address, and not so far that a guest could run much between two
// jumps that count.
inline bool IsForward(uint64_t from, uint64_t to) {
  constexpr unsigned kRegionBits = 16;
  return to > from && (to ^ from) >> kRegionBits == 0;
}

// Whether a sign-extended constant of 4 bytes will do.
inline bool FitsSigned32(uint64_t value) {
  return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value))) == value;
}

// The host's register of one that is not in the context.
inline uint8_t HostRegister(unsigned guest) {
  DCHECK(!IsInContext(guest));
  return guest == kRsp ? kGuestRspHost : static_cast<uint8_t>(guest);
}

inline int32_t Displacement(const DecodedOperand::Memory& memory) {
  return memory.has_displacement ? static_cast<int32_t>(memory.displacement) : 0;
}

inline unsigned SizeClass(unsigned size) { return static_cast<unsigned>(std::bit_width(size - 1)); }

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_BLOCK_FRAME_H_
