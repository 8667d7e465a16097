#ifndef REMORA_CPU_ALU_H_
#define REMORA_CPU_ALU_H_

#include <cstdint>

#include "cpu/flags.h"

namespace remora::cpu {

enum class Alu : uint8_t { kAdd, kOr, kAdc, kSbb, kAnd, kSub, kXor, kCmp, kTest };

constexpr bool WritesResult(Alu alu) { return alu != Alu::kCmp && alu != Alu::kTest; }
constexpr FlagKind FlagKindOf(Alu alu) {
  return alu == Alu::kAdd ? FlagKind::kAdd : alu == Alu::kSub || alu == Alu::kCmp ? FlagKind::kSub : FlagKind::kResult;
}

// Two-operand arithmetic: the result, and the lazy flags that follow from it.
template <Alu kAlu, typename T>
[[gnu::always_inline]] inline T Compute(T a, T b, uint64_t& flag_a, uint64_t& flag_b, uint64_t& flag_kind) {
  T result;
  if constexpr (kAlu == Alu::kAdd) {
    result = static_cast<T>(a + b);
    flag_a = FlagOperand(a);
    flag_b = FlagOperand(b);
  } else if constexpr (kAlu == Alu::kSub || kAlu == Alu::kCmp) {
    result = static_cast<T>(a - b);
    flag_a = FlagOperand(a);
    flag_b = FlagOperand(b);
  } else if constexpr (kAlu == Alu::kAdc || kAlu == Alu::kSbb) {
    constexpr bool kAdd = kAlu == Alu::kAdc;
    const T carry = CarryOf(flag_a, flag_b, flag_kind) ? 1 : 0;
    result = kAdd ? static_cast<T>(a + b + carry) : static_cast<T>(a - b - carry);
    const bool carry_out = kAdd ? (result < a || (carry != 0 && result == a)) : (a < b || (carry != 0 && a == b));
    constexpr T kTop = static_cast<T>(T{1} << (8 * sizeof(T) - 1));
    const T overflow = kAdd ? static_cast<T>((a ^ result) & (b ^ result)) : static_cast<T>((a ^ b) & (a ^ result));
    flag_a = FlagOperand(result);
    flag_b = (carry_out ? kFlagCF : 0) | ((overflow & kTop) != 0 ? kFlagOF : 0) |
             (static_cast<uint64_t>(a ^ b ^ result) & kFlagAF);
  } else {
    result = kAlu == Alu::kOr    ? static_cast<T>(a | b)
             : kAlu == Alu::kXor ? static_cast<T>(a ^ b)
                                 : static_cast<T>(a & b);
    flag_a = FlagOperand(result);
    flag_b = 0;
  }
  flag_kind = kFlagWord<FlagKindOf(kAlu), T>;
  return result;
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_ALU_H_
