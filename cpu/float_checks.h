#ifndef REMORA_CPU_FLOAT_CHECKS_H_
#define REMORA_CPU_FLOAT_CHECKS_H_

#include <bit>
#include <cstdint>

#include "cpu/soft_float.h"
#include "cpu/sse_environment.h"
#include "cpu/sse_format.h"
#include "cpu/sse_operands.h"

// What the chained handlers of SSE and AVX arithmetic ask before they take the host's result for the guest's: whether
// MXCSR lets nothing but the number matter, and whether operands and result are far from where flags are raised.

namespace remora::cpu {

using Quads = Vec<uint64_t, 16>;

// Whether an inexact result would change nothing: the flag is set already, and masked.
[[gnu::always_inline]] inline bool InexactKnown(uint32_t mxcsr) {
  constexpr uint32_t kKnown = kInexact | kInexact << 7;
  return (mxcsr & kKnown) == kKnown;
}
[[gnu::always_inline]] inline bool RoundsToNearest(uint32_t mxcsr) { return (mxcsr & kMxcsrRounding) == 0; }

// What the fastest form asks of all lanes together: an operand's exponent field is not zero, and the result's is not
// near either end. Then none of them was zero, denormal, infinite or NaN, and nothing overflowed or underflowed.
template <typename T>
[[gnu::always_inline]] inline BitsOf<T> ExponentOf(BitsOf<T> bits) {
  return bits & (Traits<T>::kMaxField << Traits<T>::kFractionBits);
}
template <typename T>
[[gnu::always_inline]] inline bool FarFromEnds(BitsOf<T> bits) {
  constexpr BitsOf<T> kFour = BitsOf<T>{4} << Traits<T>::kFractionBits;
  constexpr BitsOf<T> kMask = (Traits<T>::kMaxField & ~BitsOf<T>{7}) << Traits<T>::kFractionBits;
  return ((bits + kFour) & kMask) != 0;
}
// The same of vectors, by comparing numbers: a host with SSE2 alone has no comparison of integers of 64 bits. All ones
// where a lane's magnitude is ...
template <typename T>
using Lanes = Vec<T, 16>;
// The number whose exponent field is `field` and whose fraction is zero.
template <typename T>
constexpr T WithField(BitsOf<T> field) {
  return std::bit_cast<T>(static_cast<BitsOf<T>>(field << Traits<T>::kFractionBits));
}
template <typename T>
[[gnu::always_inline]] inline Lanes<T> Magnitude(Lanes<T> lanes) {
  using Bits = Vec<BitsOf<T>, 16>;
  constexpr BitsOf<T> kSign = BitsOf<T>{1} << (8 * sizeof(T) - 1);
  return std::bit_cast<Lanes<T>>(std::bit_cast<Bits>(lanes) & ~kSign);
}
// ... zero or denormal.
template <typename T>
[[gnu::always_inline]] inline auto HasNoExponent(Lanes<T> lanes) {
  return Magnitude<T>(lanes) < WithField<T>(1);
}
// ... so small that it may have come about by underflow (or zero).
template <typename T>
[[gnu::always_inline]] inline auto NearLowEnd(Lanes<T> lanes) {
  return Magnitude<T>(lanes) < WithField<T>(4);
}
// ... so large that it may have come about by overflow, or NaN.
template <typename T>
[[gnu::always_inline]] inline auto NearHighEnd(Lanes<T> lanes) {
  return ~(Magnitude<T>(lanes) < WithField<T>(Traits<T>::kMaxField - 3));
}
// ... denormal (kFinite: or infinite or NaN).
template <typename T, bool kFinite>
[[gnu::always_inline]] inline auto Refused(Lanes<T> lanes) {
  auto refused = HasNoExponent<T>(lanes) & (lanes != 0);
  if constexpr (kFinite) refused |= ~(Magnitude<T>(lanes) < WithField<T>(Traits<T>::kMaxField));
  return refused;
}
template <typename V>
[[gnu::always_inline]] inline bool AnyLane(V mask) {
  const auto quads = std::bit_cast<Quads>(mask);
  return (quads[0] | quads[1]) != 0;
}
// Rounds to nearest, and InexactKnown.
[[gnu::always_inline]] inline bool NothingToTell(uint32_t mxcsr) {
  constexpr uint32_t kKnown = kInexact | kInexact << 7;
  return (mxcsr & (kMxcsrRounding | kKnown)) == kKnown;
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_FLOAT_CHECKS_H_
