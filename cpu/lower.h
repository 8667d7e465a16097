#ifndef REMORA_CPU_LOWER_H_
#define REMORA_CPU_LOWER_H_

#include <cstddef>
#include <cstdint>

#include "cpu/chain.h"
#include "cpu/decoded_instruction.h"
#include "cpu/evex.h"
#include "cpu/flags.h"
#include "cpu/op.h"

namespace remora::cpu {

// What is known at decoding time about how the flags were last written in this block.
enum class KnownFlags : uint8_t { kSub, kAdd, kResult, kExplicit, kUnknown };

// How a block goes on behind an instruction.
enum class BlockEnd : uint8_t {
  kNone,    // with the next op
  kLinked,  // the handler ends in Branch: BranchLinks follow
  kPlain,   // the handler goes on by itself or leaves
};

enum class Shape : uint8_t { kOther, kNone, kReg, kMem, kImm, kRegReg, kRegImm, kRegMem, kMemReg, kMemImm };

// One instruction on its way to an op.
struct Lowering {
  const DecodedInstruction& in;
  const std::byte* bytes;                   // the instruction's
  Op* op;                                   // operands filled in; the family sets handler or plain
  Shape shape = Shape::kOther;              // of the visible operands, a third (immediate or CL) not counted
  KnownFlags flags = KnownFlags::kUnknown;  // before; the family changes it to what stands after
  BlockEnd end = BlockEnd::kNone;
  bool has_details = false;  // of an instruction of AVX-512: what comes into the slot behind the op
  EvexDetails details{};
  bool flags_dead = false;  // the next instruction overwrites all flags, and nothing can come between
};

// Chooses the handler. False: no such instruction here; the op then raises #UD. `offset` is that of the instruction
// from the block's start.
bool Lower(const DecodedInstruction& instruction, uint32_t offset, Lowering* lowering);

// The families; each answers false for an instruction that is not its own.
bool LowerMove(Lowering* lowering);
bool LowerAlu(Lowering* lowering);
bool LowerUnary(Lowering* lowering);
bool LowerShift(Lowering* lowering);
bool LowerMultiply(Lowering* lowering);
bool LowerBits(Lowering* lowering);
bool LowerManipulation(Lowering* lowering);
bool LowerAtomic(Lowering* lowering);
bool LowerStack(Lowering* lowering);
bool LowerControl(Lowering* lowering);
bool LowerString(Lowering* lowering);
bool LowerSystem(Lowering* lowering);

// A compare-like `first` whose op is followed by the conditional branch `branch`: the handler that does both, or null.
Handler FuseWithBranch(const Lowering& first, ZydisMnemonic branch);

// The handler that does `first` and what `second`'s handler does, which lies behind it; or null. To be asked from a
// block's end to its beginning, so that runs grow.
Handler FuseStackRun(const Op& first, const Op& second);
Handler FuseMoves(Op* first, const Op& second);
Handler FuseSimple(const Op& first, const Op& second);
// `second` is one that FuseWithBranch has fused with the branch behind it.
Handler FuseBeforeBranch(const Op& first, const Op& second);

// The handler that calls op->plain.
Handler PlainTrampoline(const Op& op);
// The handler that leaves with the ExitReason in op->immediate.
Handler RaiseHandler();
// The helper op that ends a block that simply goes on behind `op`'s offset.
Handler FallThroughHandler();
Handler DroppedHandler();
// The helper op that begins a block whose instruction crosses into the next page.
Handler ValidateTailHandler();
// The helper op that adds op->immediate to RunContext::accesses.
Handler CountAccessesHandler();

// The condition of Jcc, SETcc, CMOVcc, or -1.
int ConditionOf(ZydisMnemonic mnemonic);

// The type of an operand of `size` bytes as a template argument: BySize(4, []<typename T>() -> Handler {...}).
template <typename F>
Handler BySize(unsigned size, F f) {
  switch (size) {
    case 1:
      return f.template operator()<uint8_t>();
    case 2:
      return f.template operator()<uint16_t>();
    case 4:
      return f.template operator()<uint32_t>();
    case 8:
      return f.template operator()<uint64_t>();
    default:
      return nullptr;
  }
}
// Without 8-bit registers.
template <typename F>
Handler ByWideSize(unsigned size, F f) {
  switch (size) {
    case 2:
      return f.template operator()<uint16_t>();
    case 4:
      return f.template operator()<uint32_t>();
    case 8:
      return f.template operator()<uint64_t>();
    default:
      return nullptr;
  }
}
// Of 4 and 8 bytes alone.
template <typename F>
Handler ByNativeSize(unsigned size, F f) {
  return size == 8 ? f.template operator()<uint64_t>() : size == 4 ? f.template operator()<uint32_t>() : nullptr;
}
template <typename F>
Handler ByAddressKind(const Op& op, F f) {
  switch (AddressKindOf(op)) {
    case AddressKind::kBase:
      return f.template operator()<AddressKind::kBase>();
    case AddressKind::kBaseIndex:
      return f.template operator()<AddressKind::kBaseIndex>();
    case AddressKind::kAny:
      return f.template operator()<AddressKind::kAny>();
  }
  return nullptr;
}
template <typename F>
Handler ByCondition(int condition, F f) {
  switch (condition) {
#define REMORA_CASE(c) \
  case c:              \
    return f.template operator()<c>();
    REMORA_CASE(kO)
    REMORA_CASE(kNO)
    REMORA_CASE(kB)
    REMORA_CASE(kAE)
    REMORA_CASE(kE)
    REMORA_CASE(kNE)
    REMORA_CASE(kBE)
    REMORA_CASE(kA)
    REMORA_CASE(kS)
    REMORA_CASE(kNS)
    REMORA_CASE(kP)
    REMORA_CASE(kNP)
    REMORA_CASE(kL)
    REMORA_CASE(kGE)
    REMORA_CASE(kLE)
    REMORA_CASE(kG)
#undef REMORA_CASE
    default:
      return nullptr;
  }
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_LOWER_H_
