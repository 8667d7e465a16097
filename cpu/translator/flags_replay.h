#ifndef REMORA_CPU_TRANSLATOR_FLAGS_REPLAY_H_
#define REMORA_CPU_TRANSLATOR_FLAGS_REPLAY_H_

#include <array>
#include <cstdint>

#include "cpu/translator/guest_instruction.h"

namespace remora::cpu::translator {

// How status flags can be made a second time, by an instruction that changes nothing else: CMP and TEST by themselves,
// what has its result in a register by a TEST of that. So they need not be saved while the host's flags are spoilt.
struct FlagsReplay {
  std::array<uint8_t, kMaxInstructionBytes> bytes{};  // of the host's instruction
  uint8_t length = 0;                                 // 0: they cannot
  uint32_t flags = 0;                                 // those that come out right, as RFLAGS has them
  uint32_t registers = 0;                             // guest registers that have to be as they were, a bit each
};

// How those that `instruction` writes can.
FlagsReplay ReplayOf(const GuestInstruction& instruction);

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_FLAGS_REPLAY_H_
