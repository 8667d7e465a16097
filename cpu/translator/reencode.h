#ifndef REMORA_CPU_TRANSLATOR_REENCODE_H_
#define REMORA_CPU_TRANSLATOR_REENCODE_H_

#include <array>
#include <cstdint>

#include "cpu/translator/guest_instruction.h"

namespace remora::cpu::translator {

// Where the operands of a re-emitted instruction are on the host.
struct Placement {
  // The host's general register for each of the guest's that the instruction names in a field.
  std::array<uint8_t, 16> general = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  // The memory operand, if there is one, or where the register is that ModRM.rm names (`rm_in_memory`), by host
  // registers: [memory], or [memory + (index << shift) + displacement].
  static constexpr uint8_t kNoIndex = 0xff;
  uint8_t memory = 0;
  uint8_t index = kNoIndex;
  uint8_t shift = 0;
  int32_t displacement = 0;
  bool rm_in_memory = false;
  // It is the register in ModRM.reg that is in memory; the two operands change places (MOV, and arithmetic with two
  // registers).
  bool reg_in_memory = false;
};

inline constexpr unsigned kMaxReencodedBytes = 20;

// The instruction's bytes with prefix, ModRM and SIB patched; their number. Segment and address-size prefixes go.
// Opcode and immediates stay as they are. AH..BH are left alone: with them the placement must need no REX.
unsigned Reencode(const GuestInstruction& instruction, const Placement& placement, uint8_t* out);

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_REENCODE_H_
