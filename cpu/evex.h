#ifndef REMORA_CPU_EVEX_H_
#define REMORA_CPU_EVEX_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/op.h"

namespace remora::cpu {

struct Lowering;

// The instructions of AVX-512, those of opmask registers with VEX prefixes among them, run on the host's own CPU, one
// at a time (cpu/evex_unit.h); their memory operands are carried to and from the guest's memory by the interpreter,
// element by element where a mask leaves some out, because elements that are left out cannot fault. Gathers and
// scatters are done by the interpreter alone. On hosts without AVX-512 they are illegal, as cpuid says.

// How the memory operand is accessed.
enum class EvexAccess : uint8_t {
  kNone,
  kLoad,      // whole, whatever the mask
  kElements,  // loaded: the elements whose bits are set
  kExpand,    // as many elements as bits are set, side by side
  kStore,
  kStoreElements,
  kCompress,  // stored: as many elements as bits are set, side by side
  kGather,
  kScatter,
};

// What an op has in the slot behind it (see TailBytes). It is an op to the chain, one that does nothing.
struct EvexDetails {
  Handler handler = nullptr;
  // The instruction as the host's CPU gets it: the memory operand is [rsi], a general register is RAX. Zeros behind it.
  static constexpr unsigned kMaxBytes = 8;
  std::array<uint8_t, kMaxBytes> bytes{};
  EvexAccess access = EvexAccess::kNone;
  uint8_t element_bytes = 0;
  uint8_t elements = 0;   // of the memory operand
  uint8_t mask_bits = 0;  // bit i of the mask means element i % elements; a broadcast has more bits than elements
  uint8_t mask = 0;       // which opmask register; 0: none, all bits are set
  uint8_t alignment = 1;  // of the memory operand, in bytes
  uint8_t no_length = 0;
  uint8_t general = kNoRegister;  // the guest's register that RAX stands for
  uint8_t index_bytes = 0;        // of a gather's or scatter's indices
  uint8_t probes_all = 0;         // a store that faults also where the mask leaves elements out
  uint8_t unused[3] = {};
  uint8_t marker = Op::kDetailsSize;
  uint8_t no_immediate = 0, no_accesses = 0;

  unsigned operand_bytes() const { return unsigned{element_bytes} * elements; }
};
static_assert(sizeof(EvexDetails) == sizeof(Op) && alignof(EvexDetails) == alignof(Op));
static_assert(offsetof(EvexDetails, no_length) == offsetof(Op, length) &&
              offsetof(EvexDetails, marker) == offsetof(Op, size) && offsetof(EvexDetails, no_accesses) == 31);

inline const EvexDetails& DetailsBehind(const Op& op) { return *reinterpret_cast<const EvexDetails*>(&op + 1); }

// Of Lower (cpu/lower.h): an instruction for which IsAvx512Set holds. The operands of `lowering->op` are filled in.
bool LowerEvex(Lowering* lowering);
// The plain handler of all of them.
bool RunEvex(HandlerEnv& env, const Op& op);
// Goes on with the next op.
Handler SkipHandler();

}  // namespace remora::cpu

#endif  // REMORA_CPU_EVEX_H_
