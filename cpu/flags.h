#ifndef REMORA_CPU_FLAGS_H_
#define REMORA_CPU_FLAGS_H_

#include <cstdint>
#include <type_traits>

#include "cpu/cpu_state.h"

namespace remora::cpu {

// Lazy status flags: three words that say how the flags came to be, from which each flag is computed only when somebody
// asks. Operands are kept shifted left so that the operation's sign bit is bit 63: then one formula serves all widths,
// and only PF and AF need to know the shift.
//
//   kSub       a - b                 a, b operands
//   kAdd       a + b                 a, b operands
//   kResult    a = result            b = CF, AF, OF in rflags' positions; SF, ZF, PF follow from a
//   kExplicit  a = all six in rflags' positions
//
// The kind word: kind, and the shift in bits 8..15.
enum class FlagKind : uint8_t { kSub, kAdd, kResult, kExplicit };

template <typename T>
inline constexpr unsigned kFlagShift = 64 - 8 * sizeof(T);
template <FlagKind kKind, typename T = uint64_t>
inline constexpr uint64_t kFlagWord = static_cast<uint64_t>(kKind) | uint64_t{kFlagShift<T>} << 8;
template <typename T>
[[gnu::always_inline]] inline uint64_t FlagOperand(T value) {
  return static_cast<uint64_t>(static_cast<std::make_unsigned_t<T>>(value)) << kFlagShift<T>;
}

// Condition codes in the encoding's order.
enum Condition : uint8_t { kO, kNO, kB, kAE, kE, kNE, kBE, kA, kS, kNS, kP, kNP, kL, kGE, kLE, kG };

// PF of a byte, as a flag.
[[gnu::always_inline]] inline uint64_t ParityFlag(uint64_t value) {
  return (__builtin_popcount(static_cast<unsigned>(value) & 0xff) & 1) != 0 ? 0 : kFlagPF;
}

// One flag under a kind known at compile time.
template <FlagKind kKind>
struct FlagsOf {
  uint64_t a, b;
  uint64_t shift = 0;  // used by parity() alone

  [[gnu::always_inline]] uint64_t result() const {
    return kKind == FlagKind::kSub ? a - b : kKind == FlagKind::kAdd ? a + b : a;
  }
  [[gnu::always_inline]] bool carry() const {
    if constexpr (kKind == FlagKind::kSub) return a < b;
    if constexpr (kKind == FlagKind::kAdd) return a + b < a;
    if constexpr (kKind == FlagKind::kResult) return (b & kFlagCF) != 0;
    return (a & kFlagCF) != 0;
  }
  [[gnu::always_inline]] bool zero() const {
    if constexpr (kKind == FlagKind::kSub) return a == b;
    if constexpr (kKind == FlagKind::kExplicit) return (a & kFlagZF) != 0;
    return result() == 0;
  }
  [[gnu::always_inline]] bool sign() const {
    if constexpr (kKind == FlagKind::kExplicit) return (a & kFlagSF) != 0;
    return static_cast<int64_t>(result()) < 0;
  }
  [[gnu::always_inline]] bool overflow() const {
    if constexpr (kKind == FlagKind::kSub) return static_cast<int64_t>((a ^ b) & (a ^ (a - b))) < 0;
    if constexpr (kKind == FlagKind::kAdd) return static_cast<int64_t>((a ^ (a + b)) & (b ^ (a + b))) < 0;
    if constexpr (kKind == FlagKind::kResult) return (b & kFlagOF) != 0;
    return (a & kFlagOF) != 0;
  }
  [[gnu::always_inline]] bool less() const {
    if constexpr (kKind == FlagKind::kSub) return static_cast<int64_t>(a) < static_cast<int64_t>(b);
    return sign() != overflow();
  }
  [[gnu::always_inline]] bool parity() const {
    if constexpr (kKind == FlagKind::kExplicit) return (a & kFlagPF) != 0;
    return ParityFlag(result() >> shift) != 0;
  }
};

template <Condition kCondition, FlagKind kKind>
[[gnu::always_inline]] inline bool HoldsFor(uint64_t a, uint64_t b, uint64_t kind) {
  const FlagsOf<kKind> flags{a, b, kind >> 8};
  if constexpr ((kCondition & 1) != 0) {
    return !HoldsFor<static_cast<Condition>(kCondition & ~1), kKind>(a, b, kind);
  } else {
    switch (kCondition) {
      case kO:
        return flags.overflow();
      case kB:
        return flags.carry();
      case kE:
        return flags.zero();
      case kBE:
        return kKind == FlagKind::kSub ? a <= b : flags.carry() || flags.zero();
      case kS:
        return flags.sign();
      case kP:
        return flags.parity();
      case kL:
        return flags.less();
      case kLE:
        return flags.less() || flags.zero();
      default:
        __builtin_unreachable();
    }
  }
}

// A condition under a kind known only now.
template <Condition kCondition>
[[gnu::always_inline]] inline bool Holds(uint64_t a, uint64_t b, uint64_t kind) {
  switch (static_cast<FlagKind>(kind & 3)) {
    case FlagKind::kSub:
      return HoldsFor<kCondition, FlagKind::kSub>(a, b, kind);
    case FlagKind::kAdd:
      return HoldsFor<kCondition, FlagKind::kAdd>(a, b, kind);
    case FlagKind::kResult:
      return HoldsFor<kCondition, FlagKind::kResult>(a, b, kind);
    case FlagKind::kExplicit:
      return HoldsFor<kCondition, FlagKind::kExplicit>(a, b, kind);
  }
  __builtin_unreachable();
}

[[gnu::always_inline]] inline bool CarryOf(uint64_t a, uint64_t b, uint64_t kind) { return Holds<kB>(a, b, kind); }

// All six, in rflags' positions.
uint64_t MaterializeFlags(uint64_t a, uint64_t b, uint64_t kind);

}  // namespace remora::cpu

#endif  // REMORA_CPU_FLAGS_H_
