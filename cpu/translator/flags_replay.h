#ifndef REMORA_CPU_TRANSLATOR_FLAGS_REPLAY_H_
#define REMORA_CPU_TRANSLATOR_FLAGS_REPLAY_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/translator/guest_instruction.h"

namespace remora::cpu::translator {

// How status flags can be made a second time, by host code that changes nothing else but maybe R11: CMP and TEST by
// themselves, what has its result in a register by a TEST of that, sums and differences by undoing and doing them once
// more. So they need not be saved while the host's flags are spoilt.
struct FlagsReplay {
  static constexpr size_t kMaxBytes = 24;
  std::array<uint8_t, kMaxBytes> bytes{};  // of the host's code
  uint8_t length = 0;                      // 0: they cannot
  bool spoils_scratch = false;             // R11
  uint32_t registers = 0;                  // guest registers that have to be as they were, a bit each
};

// How those of `flags`, as RFLAGS has them, can that `instruction` writes.
FlagsReplay ReplayOf(const GuestInstruction& instruction, uint32_t flags);

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_FLAGS_REPLAY_H_
