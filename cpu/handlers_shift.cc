// SHL SHR SAR ROL ROR RCL RCR SHLD SHRD. What the manuals leave undefined (OF of counts above one, AF) is what the
// formula for a count of one gives.

#include "cpu/chain.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

enum class Shift : uint8_t { kShl, kShr, kSar, kRol, kRor, kRcl, kRcr, kShld, kShrd };

// What changes CF and OF only.
constexpr bool IsRotate(Shift shift) {
  return shift == Shift::kRol || shift == Shift::kRor || shift == Shift::kRcl || shift == Shift::kRcr;
}

template <typename T>
inline constexpr unsigned kBits = 8 * sizeof(T);
template <typename T>
inline constexpr unsigned kCountMask = sizeof(T) == 8 ? 63 : 31;

template <typename T>
[[gnu::always_inline]] inline bool TopBit(T value) {
  return (value >> (kBits<T> - 1)) != 0;
}
template <typename T>
[[gnu::always_inline]] inline bool SecondBit(T value) {
  return ((value >> (kBits<T> - 2)) & 1) != 0;
}

// RCL and RCR, bit by bit as the manual writes them; rare.
template <typename T, bool kLeft>
T RotateThroughCarry(T value, unsigned count, bool* carry) {
  if constexpr (sizeof(T) < 4) count %= kBits<T> + 1;
  for (; count != 0; --count) {
    const bool in = *carry;
    if constexpr (kLeft) {
      *carry = TopBit(value);
      value = static_cast<T>(static_cast<T>(value << 1) | (in ? 1 : 0));
    } else {
      *carry = (value & 1) != 0;
      value = static_cast<T>((value >> 1) | (in ? T{1} << (kBits<T> - 1) : 0));
    }
  }
  return value;
}

// count is masked and not 0. `source` is SHLD's and SHRD's second operand.
template <Shift kShift, typename T>
[[gnu::always_inline]] inline T ComputeShift(T value, T source, unsigned count, uint64_t& flag_a, uint64_t& flag_b,
                                             uint64_t& flag_kind) {
  using Signed = std::make_signed_t<T>;
  T result;
  bool carry, overflow;
  if constexpr (kShift == Shift::kShl) {
    const uint64_t wide = static_cast<uint64_t>(value) << (count - 1);
    carry = ((wide >> (kBits<T> - 1)) & 1) != 0;
    result = static_cast<T>(wide << 1);
    overflow = TopBit(result) != carry;
  } else if constexpr (kShift == Shift::kShr) {
    const uint64_t wide = static_cast<uint64_t>(value) >> (count - 1);
    carry = (wide & 1) != 0;
    result = static_cast<T>(wide >> 1);
    overflow = SecondBit(result);
  } else if constexpr (kShift == Shift::kSar) {
    const int64_t wide = int64_t{static_cast<Signed>(value)} >> (count - 1);
    carry = (wide & 1) != 0;
    result = static_cast<T>(wide >> 1);
    overflow = false;
  } else if constexpr (kShift == Shift::kRol) {
    const unsigned by = count % kBits<T>;
    result = static_cast<T>((value << by) | (value >> ((kBits<T> - by) % kBits<T>)));
    carry = (result & 1) != 0;
    overflow = TopBit(result) != carry;
  } else if constexpr (kShift == Shift::kRor) {
    const unsigned by = count % kBits<T>;
    result = static_cast<T>((value >> by) | (value << ((kBits<T> - by) % kBits<T>)));
    carry = TopBit(result);
    overflow = carry != SecondBit(result);
  } else if constexpr (kShift == Shift::kRcl || kShift == Shift::kRcr) {
    carry = CarryOf(flag_a, flag_b, flag_kind);
    result = RotateThroughCarry < T, kShift == Shift::kRcl > (value, count, &carry);
    overflow = kShift == Shift::kRcl ? TopBit(result) != carry : TopBit(result) != SecondBit(result);
  } else if constexpr (sizeof(T) == 2) {
    // A count above 16 is undefined; CPUs shift through value:source:value.
    const uint64_t wide = kShift == Shift::kShld ? uint64_t{value} << 32 | uint64_t{source} << 16 | value
                                                 : uint64_t{value} << 32 | uint64_t{source} << 16 | value;
    if constexpr (kShift == Shift::kShld) {
      result = static_cast<T>((wide << count) >> 32);
      carry = ((wide >> (48 - count)) & 1) != 0;
    } else {
      result = static_cast<T>(wide >> count);
      carry = ((wide >> (count - 1)) & 1) != 0;
    }
    overflow = TopBit(static_cast<T>(result ^ value));
  } else if constexpr (kShift == Shift::kShld) {
    result = static_cast<T>((value << count) | (source >> (kBits<T> - count)));
    carry = ((value >> (kBits<T> - count)) & 1) != 0;
    overflow = TopBit(static_cast<T>(result ^ value));
  } else {
    result = static_cast<T>((value >> count) | (source << (kBits<T> - count)));
    carry = ((value >> (count - 1)) & 1) != 0;
    overflow = TopBit(static_cast<T>(result ^ value));
  }
  const uint64_t bits = (carry ? kFlagCF : 0) | (overflow ? kFlagOF : 0);
  if constexpr (IsRotate(kShift)) {
    flag_a = (MaterializeFlags(flag_a, flag_b, flag_kind) & ~(kFlagCF | kFlagOF)) | bits;
    flag_kind = kFlagWord<FlagKind::kExplicit>;
  } else {
    flag_a = FlagOperand(result);
    flag_b = bits;
    flag_kind = kFlagWord<FlagKind::kResult, T>;
  }
  return result;
}

template <typename T, bool kByCl>
[[gnu::always_inline]] inline unsigned CountOf(const CpuState* state, const Op* op) {
  return (kByCl ? static_cast<unsigned>(state->gpr[kRcx]) : unsigned{op->immediate8}) & kCountMask<T>;
}
template <Shift kShift, typename T>
[[gnu::always_inline]] inline T SourceOf(const CpuState* state, uint8_t number) {
  if constexpr (kShift == Shift::kShld || kShift == Shift::kShrd) {
    return ReadRegister<T>(state, number);
  } else {
    return 0;
  }
}

template <Shift kShift, typename T, bool kByCl>
REMORA_CHAINED void ShiftReg(REMORA_PARAMS) {
  const unsigned count = CountOf<T, kByCl>(state, op);
  const T value = ReadRegister<T>(state, op->dst);
  if (count == 0) [[unlikely]] {
    WriteRegister<T>(state, op->dst, value);  // a 32-bit operand is still zero-extended
    REMORA_TAIL Next(REMORA_ARGS);
  }
  const T source = SourceOf<kShift, T>(state, op->src);
  WriteRegister<T>(state, op->dst, ComputeShift<kShift, T>(value, source, count, flag_a, flag_b, flag_kind));
  REMORA_TAIL Next(REMORA_ARGS);
}

template <Shift kShift, typename T, bool kByCl>
REMORA_CHAINED void ShiftMem(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<AddressKind::kAny>(state, op);
  const unsigned count = CountOf<T, kByCl>(state, op);
  T value;
  if (!context->ProbeWrite(address, sizeof(T)) || !context->Load(address, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  if (count == 0) REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
  const T source = SourceOf<kShift, T>(state, op->dst);
  context->Store(address, ComputeShift<kShift, T>(value, source, count, flag_a, flag_b, flag_kind));
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

template <Shift kShift>
bool Set(Lowering* lowering) {
  Op& op = *lowering->op;
  // The count is the last visible operand: an immediate, or CL.
  const DecodedOperand& last = lowering->in.operands[lowering->in.info.operand_count_visible - 1];
  const bool by_cl = last.type == ZYDIS_OPERAND_TYPE_REGISTER;
  const bool memory = op.has_memory != 0;
  const auto pick = [&]<typename T>() -> Handler {
    if (memory) return by_cl ? &ShiftMem<kShift, T, true> : &ShiftMem<kShift, T, false>;
    return by_cl ? &ShiftReg<kShift, T, true> : &ShiftReg<kShift, T, false>;
  };
  if constexpr (kShift == Shift::kShld || kShift == Shift::kShrd) {
    op.handler = ByWideSize(op.size, pick);
  } else {
    op.handler = BySize(op.size, pick);
  }
  const bool count_known = !by_cl && (op.immediate8 & (op.size == 8 ? 63 : 31)) != 0;
  lowering->flags = !count_known       ? KnownFlags::kUnknown
                    : IsRotate(kShift) ? KnownFlags::kExplicit
                                       : KnownFlags::kResult;
  return op.handler != nullptr;
}

}  // namespace

bool LowerShift(Lowering* lowering) {
  switch (lowering->in.info.mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
      return Set<Shift::kShl>(lowering);
    case ZYDIS_MNEMONIC_SHR:
      return Set<Shift::kShr>(lowering);
    case ZYDIS_MNEMONIC_SAR:
      return Set<Shift::kSar>(lowering);
    case ZYDIS_MNEMONIC_ROL:
      return Set<Shift::kRol>(lowering);
    case ZYDIS_MNEMONIC_ROR:
      return Set<Shift::kRor>(lowering);
    case ZYDIS_MNEMONIC_RCL:
      return Set<Shift::kRcl>(lowering);
    case ZYDIS_MNEMONIC_RCR:
      return Set<Shift::kRcr>(lowering);
    case ZYDIS_MNEMONIC_SHLD:
      return Set<Shift::kShld>(lowering);
    case ZYDIS_MNEMONIC_SHRD:
      return Set<Shift::kShrd>(lowering);
    default:
      return false;
  }
}

}  // namespace remora::cpu
