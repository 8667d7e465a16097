#ifndef REMORA_CPU_X87_ORDINARY_H_
#define REMORA_CPU_X87_ORDINARY_H_

#include <bit>
#include <cstdint>
#include <utility>

#include "cpu/soft_float.h"

// x87 arithmetic where all is ordinary: operands and result are normal numbers (a difference may be zero), rounded to
// nearest with all 64 bits of precision. Then nothing can be raised but inexact. The same that cpu/soft_float.h
// computes for all cases, short enough to be inlined into chained handlers. Thread safety: pure functions.

namespace remora::cpu {

// A result, and what is to be told of it.
struct OrdinaryResult {
  Float80 value;
  bool inexact = false;
  bool rounded_up = false;  // in magnitude: C1
};

inline constexpr uint64_t kSignificandTop = uint64_t{1} << 63;
inline constexpr int kBias80 = 16383;

// Neither zero nor denormal, infinite, NaN or unsupported.
[[gnu::always_inline]] inline bool IsNormal80(Float80 value) {
  return static_cast<int64_t>(value.significand) < 0 && (value.sign_exponent & 0x7fffu) - 1 < 0x7ffe;
}

// Rounds (high + low / 2^64) with bit 63 of high set; `exponent` is the biased one. False: it is too near an end.
[[gnu::always_inline]] inline bool RoundOrdinary(unsigned sign, int exponent, uint64_t high, uint64_t low,
                                                 OrdinaryResult* result) {
  if (static_cast<unsigned>(exponent - 1) >= 0x7ffd) [[unlikely]]
    return false;
  const bool up = low > kSignificandTop - (high & 1);
  const uint64_t significand = high + up;
  const bool carried = significand == 0;
  result->inexact = low != 0;
  result->rounded_up = up;
  result->value = {carried ? kSignificandTop : significand,
                   static_cast<uint16_t>(sign << 15 | static_cast<unsigned>(exponent + carried))};
  return true;
}

// a + b, of normal numbers.
[[gnu::always_inline]] inline bool AddOrdinary(Float80 a, Float80 b, OrdinaryResult* result) {
  using uint128 = unsigned __int128;
  int distance = (a.sign_exponent & 0x7fff) - (b.sign_exponent & 0x7fff);
  if (distance < 0 || (distance == 0 && a.significand < b.significand)) {
    std::swap(a, b);
    distance = -distance;
  }
  // One bit of room at the top for the carry. What is shifted out counts as one bit at the bottom.
  const uint128 large = uint128{a.significand} << 63;
  uint128 small = uint128{b.significand} << 63;
  if (distance > 63) {
    small = distance > 126 ? 1 : (small >> distance) | ((small << (128 - distance)) != 0 ? 1 : 0);
  } else {
    small >>= distance;
  }
  const unsigned sign = a.sign_exponent >> 15;
  const bool subtract = sign != static_cast<unsigned>(b.sign_exponent >> 15);
  uint128 sum = subtract ? large - small : large + small;
  if (sum == 0) {
    *result = OrdinaryResult();
    return true;
  }
  const auto top = static_cast<uint64_t>(sum >> 64);
  const int shift = top != 0 ? std::countl_zero(top) : 64 + std::countl_zero(static_cast<uint64_t>(sum));
  sum <<= shift;
  return RoundOrdinary(sign, (a.sign_exponent & 0x7fff) + 1 - shift, static_cast<uint64_t>(sum >> 64),
                       static_cast<uint64_t>(sum), result);
}

// a * b, of normal numbers.
[[gnu::always_inline]] inline bool MultiplyOrdinary(Float80 a, Float80 b, OrdinaryResult* result) {
  unsigned __int128 product = static_cast<unsigned __int128>(a.significand) * b.significand;
  int exponent = (a.sign_exponent & 0x7fff) + (b.sign_exponent & 0x7fff) - kBias80 + 1;
  if (static_cast<int64_t>(product >> 64) >= 0) {
    product <<= 1;
    --exponent;
  }
  return RoundOrdinary((a.sign_exponent ^ b.sign_exponent) >> 15, exponent, static_cast<uint64_t>(product >> 64),
                       static_cast<uint64_t>(product), result);
}

// The quotient of (high, 0) by a divisor that is larger than `high`, and the remainder.
[[gnu::always_inline]] inline uint64_t DivideWide(uint64_t high, uint64_t low, uint64_t divisor, uint64_t* remainder) {
#if defined(__x86_64__)
  uint64_t quotient;
  __asm__("divq %4" : "=a"(quotient), "=d"(*remainder) : "a"(low), "d"(high), "r"(divisor) : "cc");
  return quotient;
#else
  const unsigned __int128 dividend = static_cast<unsigned __int128>(high) << 64 | low;
  *remainder = static_cast<uint64_t>(dividend % divisor);
  return static_cast<uint64_t>(dividend / divisor);
#endif
}

// a / b, of normal numbers.
[[gnu::always_inline]] inline bool DivideOrdinary(Float80 a, Float80 b, OrdinaryResult* result) {
  int exponent = (a.sign_exponent & 0x7fff) - (b.sign_exponent & 0x7fff) + kBias80;
  uint64_t high = a.significand, low = 0;
  if (high >= b.significand) {
    low = high << 63;
    high >>= 1;
  } else {
    --exponent;
  }
  uint64_t rest;
  const uint64_t quotient = DivideWide(high, low, b.significand, &rest);
  // The bits behind the quotient: whether they are more than half a unit, half, less, or none.
  const uint64_t half = b.significand - rest;
  const uint64_t behind = rest == 0 ? 0 : rest > half ? kSignificandTop + 1 : rest == half ? kSignificandTop : 1;
  return RoundOrdinary((a.sign_exponent ^ b.sign_exponent) >> 15, exponent, quotient, behind, result);
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_X87_ORDINARY_H_
