// INC DEC NEG NOT.

#include "cpu/alu.h"
#include "cpu/chain.h"
#include "cpu/locked.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

enum class Unary : uint8_t { kInc, kDec, kNeg, kNot };

template <Unary kUnary, typename T>
[[gnu::always_inline]] inline T ComputeUnary(T value, uint64_t& flag_a, uint64_t& flag_b, uint64_t& flag_kind) {
  constexpr T kTop = static_cast<T>(T{1} << (8 * sizeof(T) - 1));
  if constexpr (kUnary == Unary::kNot) return static_cast<T>(~value);
  if constexpr (kUnary == Unary::kNeg) return Compute<Alu::kSub, T>(0, value, flag_a, flag_b, flag_kind);
  const T result = kUnary == Unary::kInc ? static_cast<T>(value + 1) : static_cast<T>(value - 1);
  const uint64_t carry = CarryOf(flag_a, flag_b, flag_kind) ? kFlagCF : 0;
  const bool overflow = kUnary == Unary::kInc ? result == kTop : value == kTop;
  flag_a = FlagOperand(result);
  flag_b = carry | (overflow ? kFlagOF : 0) | (static_cast<uint64_t>(value ^ result) & kFlagAF);
  flag_kind = kFlagWord<FlagKind::kResult, T>;
  return result;
}

template <Unary kUnary, typename T>
REMORA_CHAINED void UnaryReg(REMORA_PARAMS) {
  const T value = ReadRegister<T>(state, op->dst);
  WriteRegister<T>(state, op->dst, ComputeUnary<kUnary, T>(value, flag_a, flag_b, flag_kind));
  REMORA_TAIL Next(REMORA_ARGS);
}

// INC or DEC whose flags nobody can see.
template <Unary kUnary, typename T>
REMORA_CHAINED void UnaryRegNoFlags(REMORA_PARAMS) {
  const T value = ReadRegister<T>(state, op->dst);
  WriteRegister<T>(state, op->dst, kUnary == Unary::kInc ? static_cast<T>(value + 1) : static_cast<T>(value - 1));
  REMORA_TAIL Next(REMORA_ARGS);
}

template <Unary kUnary, typename T, bool kSlow>
REMORA_CHAINED void UnaryMem(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<AddressKind::kAny>(state, op);
  if constexpr (!kSlow) {
    std::byte* host = ProbeGuest<mm::Access::kWrite, sizeof(T)>(tlb, address);
    if (host == nullptr) [[unlikely]]
      REMORA_TAIL UnaryMem<kUnary, T, true>(REMORA_ARGS);
    StoreGuest<T>(host, ComputeUnary<kUnary, T>(LoadGuest<T>(host), flag_a, flag_b, flag_kind));
    REMORA_TAIL Next(REMORA_ARGS);
  } else {
    T value;
    if (!context->ProbeWrite(address, sizeof(T)) || !context->Load(address, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
    context->Store(address, ComputeUnary<kUnary, T>(value, flag_a, flag_b, flag_kind));
    REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
  }
}

template <Unary kUnary, typename T>
REMORA_CHAINED void UnaryMemLocked(REMORA_PARAMS) {
  T old;
  const auto update = [&](T value) {
    uint64_t a = flag_a, b = flag_b, kind = flag_kind;
    return ComputeUnary<kUnary, T>(value, a, b, kind);
  };
  if (!LockedUpdate(*context, OperandAddress<AddressKind::kAny>(state, op), &old, update))
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  ComputeUnary<kUnary, T>(old, flag_a, flag_b, flag_kind);
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

template <Unary kUnary>
bool Set(Lowering* lowering) {
  Op& op = *lowering->op;
  const bool flags_dead = lowering->flags_dead;
  op.handler = BySize(op.size, [&]<typename T>() -> Handler {
    if (lowering->shape == Shape::kReg) {
      if constexpr (kUnary == Unary::kInc || kUnary == Unary::kDec)
        if (flags_dead) return &UnaryRegNoFlags<kUnary, T>;
      return &UnaryReg<kUnary, T>;
    }
    if (lowering->shape != Shape::kMem) return nullptr;
    return op.lock ? &UnaryMemLocked<kUnary, T> : &UnaryMem<kUnary, T, false>;
  });
  if (kUnary != Unary::kNot) lowering->flags = kUnary == Unary::kNeg ? KnownFlags::kSub : KnownFlags::kResult;
  return op.handler != nullptr;
}

}  // namespace

bool LowerUnary(Lowering* lowering) {
  switch (lowering->in.info.mnemonic) {
    case ZYDIS_MNEMONIC_INC:
      return Set<Unary::kInc>(lowering);
    case ZYDIS_MNEMONIC_DEC:
      return Set<Unary::kDec>(lowering);
    case ZYDIS_MNEMONIC_NEG:
      return Set<Unary::kNeg>(lowering);
    case ZYDIS_MNEMONIC_NOT:
      return Set<Unary::kNot>(lowering);
    default:
      return false;
  }
}

}  // namespace remora::cpu
