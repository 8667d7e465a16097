// MUL IMUL DIV IDIV.

#include "cpu/chain.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

// Twice as wide as T.
template <typename T>
struct WideOf;
template <>
struct WideOf<uint8_t> {
  using Type = uint16_t;
};
template <>
struct WideOf<uint16_t> {
  using Type = uint32_t;
};
template <>
struct WideOf<uint32_t> {
  using Type = uint64_t;
};
template <>
struct WideOf<uint64_t> {
  using Type = Uint128;
};
template <>
struct WideOf<int8_t> {
  using Type = int16_t;
};
template <>
struct WideOf<int16_t> {
  using Type = int32_t;
};
template <>
struct WideOf<int32_t> {
  using Type = int64_t;
};
template <>
struct WideOf<int64_t> {
  using Type = Int128;
};
template <typename T>
using Wide = typename WideOf<T>::Type;

// The operand of a one-operand form, or the last of the others. False: the exit is recorded.
template <typename T>
[[gnu::always_inline]] inline bool ReadSource(const CpuState* state, const Op* op, RunContext* context, uint8_t number,
                                              T* value) {
  if (!op->has_memory) {
    *value = ReadRegister<T>(state, number);
    return true;
  }
  const uint64_t address = OperandAddress<AddressKind::kAny>(state, op);
  return context->Load(address, value);
}

// RDX:RAX, or AX for bytes.
template <typename T>
void WritePair(CpuState* state, T high, T low) {
  if constexpr (sizeof(T) == 1) {
    WriteRegister<uint16_t>(state, kRax,
                            static_cast<uint16_t>(static_cast<uint8_t>(high) << 8 | static_cast<uint8_t>(low)));
  } else {
    WriteRegister<T>(state, kRax, low);
    WriteRegister<T>(state, kRdx, high);
  }
}

template <typename T>
REMORA_CHAINED void MultiplyWide(REMORA_PARAMS) {
  T source;
  if (!ReadSource(state, op, context, op->dst, &source)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  using Product = Wide<T>;
  const Product product = static_cast<Product>(static_cast<Product>(static_cast<T>(state->gpr[kRax])) * source);
  const T low = static_cast<T>(product);
  const T high = static_cast<T>(product >> (8 * sizeof(T)));
  WritePair<T>(state, high, low);
  const bool lost = product != static_cast<Product>(low);
  flag_a = FlagOperand(low);
  flag_b = lost ? kFlagCF | kFlagOF : 0;
  flag_kind = kFlagWord<FlagKind::kResult, T>;
  REMORA_TAIL Next(REMORA_ARGS);
}

// IMUL dst, source [, immediate].
template <typename T, bool kImmediate, bool kMemory>
REMORA_CHAINED void MultiplySigned(REMORA_PARAMS) {
  T source;
  if constexpr (kMemory) {
    if (!context->Load(OperandAddress<AddressKind::kAny>(state, op), &source)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  } else {
    source = ReadRegister<T>(state, op->src);
  }
  const T other = kImmediate ? static_cast<T>(op->immediate) : ReadRegister<T>(state, op->dst);
  T product;
  const bool lost = __builtin_mul_overflow(source, other, &product);
  WriteRegister<T>(state, op->dst, product);
  flag_a = FlagOperand(product);
  flag_b = lost ? kFlagCF | kFlagOF : 0;
  flag_kind = kFlagWord<FlagKind::kResult, T>;
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename T>
REMORA_CHAINED void Divide(REMORA_PARAMS) {
  T divisor;
  if (!ReadSource(state, op, context, op->dst, &divisor)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  using Dividend = Wide<T>;
  using UnsignedDividend = Wide<std::make_unsigned_t<T>>;
  Dividend dividend;
  if constexpr (sizeof(T) == 1) {
    dividend = static_cast<Dividend>(state->gpr[kRax]);
  } else {
    using Unsigned = std::make_unsigned_t<T>;
    dividend = static_cast<Dividend>(static_cast<UnsignedDividend>(static_cast<Unsigned>(state->gpr[kRdx]))
                                         << (8 * sizeof(T)) |
                                     static_cast<Unsigned>(state->gpr[kRax]));
  }
  const auto raise = [&] { return context->Raise(ExitReason::kDivide); };
  if (divisor == 0) {
    raise();
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  }
  Dividend quotient, remainder;
  if constexpr (sizeof(T) == 8 && !std::is_signed_v<T>) {
    if (state->gpr[kRdx] == 0) [[likely]] {  // a 64-bit division, which is what compilers mean
      const uint64_t low = state->gpr[kRax];
      state->gpr[kRax] = low / divisor;
      state->gpr[kRdx] = low % divisor;
      REMORA_TAIL Next(REMORA_ARGS);
    }
  }
  if constexpr (std::is_signed_v<T>) {
    // The one quotient that the host's own division cannot give.
    constexpr Dividend kLowest = static_cast<Dividend>(UnsignedDividend{1} << (16 * sizeof(T) - 1));
    if (divisor == -1 && dividend == kLowest) {
      raise();
      REMORA_TAIL LeaveAt(REMORA_ARGS);
    }
  }
  quotient = static_cast<Dividend>(dividend / divisor);
  remainder = static_cast<Dividend>(dividend % divisor);
  if (quotient != static_cast<Dividend>(static_cast<T>(quotient))) {
    raise();
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  }
  WritePair<T>(state, static_cast<T>(remainder), static_cast<T>(quotient));
  REMORA_TAIL Next(REMORA_ARGS);
}

Handler SignedOf(const Lowering& lowering, bool immediate) {
  const bool memory = lowering.op->has_memory != 0;
  return ByWideSize(lowering.op->size, [&]<typename Unsigned>() -> Handler {
    using T = std::make_signed_t<Unsigned>;
    if (immediate) return memory ? &MultiplySigned<T, true, true> : &MultiplySigned<T, true, false>;
    return memory ? &MultiplySigned<T, false, true> : &MultiplySigned<T, false, false>;
  });
}

}  // namespace

bool LowerMultiply(Lowering* lowering) {
  Op& op = *lowering->op;
  switch (lowering->in.info.mnemonic) {
    case ZYDIS_MNEMONIC_MUL:
      op.handler = BySize(op.size, []<typename T>() -> Handler { return &MultiplyWide<T>; });
      lowering->flags = KnownFlags::kResult;
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_IMUL: {
      const int operands = lowering->in.info.operand_count_visible;
      if (operands == 1) {
        op.handler = BySize(op.size, []<typename T>() -> Handler { return &MultiplyWide<std::make_signed_t<T>>; });
      } else {
        op.handler = SignedOf(*lowering, operands == 3);
      }
      lowering->flags = KnownFlags::kResult;
      return op.handler != nullptr;
    }
    case ZYDIS_MNEMONIC_DIV:
      op.handler = BySize(op.size, []<typename T>() -> Handler { return &Divide<T>; });
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_IDIV:
      op.handler = BySize(op.size, []<typename T>() -> Handler { return &Divide<std::make_signed_t<T>>; });
      return op.handler != nullptr;
    default:
      return false;
  }
}

}  // namespace remora::cpu
