#ifndef REMORA_CPU_SSE_ARITHMETIC_H_
#define REMORA_CPU_SSE_ARITHMETIC_H_

#include <bit>
#include <cstdint>

#include "cpu/soft_float.h"
#include "cpu/sse_format.h"

// The arithmetic of one SSE lane. The fast forms use the host's own arithmetic (round to nearest, everything masked),
// and only where the exponents of operands and result prove that no flag but inexact can be raised; inexact itself is
// either known to the caller or found in integers. They are the same for the chained handlers and for the plain ones.

namespace remora::cpu {

// The significand of a normal number, without trailing zeros.
template <typename T>
inline uint64_t OddSignificand(BitsOf<T> bits) {
  constexpr uint64_t kHidden = uint64_t{1} << Traits<T>::kFractionBits;
  const uint64_t significand = (bits & (kHidden - 1)) | kHidden;
  return significand >> std::countr_zero(significand);
}
// Whether the product of two normal numbers has few enough significant bits to be exact.
template <typename T>
inline bool ProductIsExact(BitsOf<T> a, BitsOf<T> b) {
  const uint64_t x = OddSignificand<T>(a), y = OddSignificand<T>(b);
  const int bits = std::bit_width(x) + std::bit_width(y);
  if (bits <= Traits<T>::kFractionBits + 1) return true;
  if (bits > Traits<T>::kFractionBits + 2) return false;
  return std::bit_width(x * y) <= Traits<T>::kFractionBits + 1;
}

// The lower half of a significand. Where it is zero in both factors the product has few enough bits to be exact: known
// for a whole vector at once, and true of what programs call integers.
template <typename T>
inline constexpr BitsOf<T> kLowHalf = (BitsOf<T>{1} << (Traits<T>::kFractionBits / 2 + 1)) - 1;

// Each operation: Host() is what the host makes of numbers or vectors of them; Lost(), of vectors of numbers none of
// which is infinite or NaN and their Host(), is all ones in each lane that may be inexact; Fast() answers false where
// it cannot tell all flags; Soft() is the whole truth.
struct AddOperation {
  static constexpr bool kCancels = true;  // two numbers that are not zero may give zero, exactly
  template <typename V>
  [[gnu::always_inline]] static V Host(V a, V b) {
    return a + b;
  }
  template <typename T, typename V>
  [[gnu::always_inline]] static auto Lost(V a, V b, V sum) {
    const V b_in_sum = sum - a;
    return (a - (sum - b_in_sum)) + (b - b_in_sum) != 0;
  }
  template <typename T>
  [[gnu::always_inline]] static bool Fast(BitsOf<T> a, BitsOf<T> b, bool inexact_known, BitsOf<T>* result,
                                          uint8_t* flags) {
    const T x = std::bit_cast<T>(a), y = std::bit_cast<T>(b);
    const T sum = x + y;
    *result = std::bit_cast<BitsOf<T>>(sum);
    if (!IsOrdinary<T>(a) || !IsOrdinary<T>(b) || !(IsInside<T>(*result) || IsZero<T>(*result))) return false;
    if (!inexact_known) {
      const T y_in_sum = sum - x;
      if ((x - (sum - y_in_sum)) + (y - y_in_sum) != 0) *flags |= kInexact;
    }
    return true;
  }
  static Unpacked Soft(const Unpacked& a, const Unpacked& b, const FloatFormat& format, FloatEnvironment& env) {
    return Add(a, b, format, env);
  }
};
struct SubtractOperation {
  static constexpr bool kCancels = true;
  template <typename V>
  [[gnu::always_inline]] static V Host(V a, V b) {
    return a - b;
  }
  template <typename T, typename V>
  [[gnu::always_inline]] static auto Lost(V a, V b, V difference) {
    return AddOperation::Lost<T, V>(a, -b, difference);
  }
  template <typename T>
  [[gnu::always_inline]] static bool Fast(BitsOf<T> a, BitsOf<T> b, bool inexact_known, BitsOf<T>* result,
                                          uint8_t* flags) {
    constexpr BitsOf<T> kSign = BitsOf<T>{1} << (8 * sizeof(T) - 1);
    return AddOperation::Fast<T>(a, b ^ kSign, inexact_known, result, flags);
  }
  static Unpacked Soft(const Unpacked& a, const Unpacked& b, const FloatFormat& format, FloatEnvironment& env) {
    return Subtract(a, b, format, env);
  }
};
struct MultiplyOperation {
  static constexpr bool kCancels = false;
  template <typename V>
  [[gnu::always_inline]] static V Host(V a, V b) {
    return a * b;
  }
  template <typename T, typename V>
  [[gnu::always_inline]] static auto Lost(V a, V b, V) {
    using Bits = Vec<BitsOf<T>, sizeof(V)>;
    return ((std::bit_cast<Bits>(a) | std::bit_cast<Bits>(b)) & kLowHalf<T>) != 0;
  }
  template <typename T>
  [[gnu::always_inline]] static bool Fast(BitsOf<T> a, BitsOf<T> b, bool inexact_known, BitsOf<T>* result,
                                          uint8_t* flags) {
    *result = std::bit_cast<BitsOf<T>>(std::bit_cast<T>(a) * std::bit_cast<T>(b));
    if (!IsOrdinary<T>(a) || !IsOrdinary<T>(b)) return false;
    if (IsZero<T>(a) || IsZero<T>(b)) return true;
    if (!IsInside<T>(*result)) return false;
    if (!inexact_known && !ProductIsExact<T>(a, b)) *flags |= kInexact;
    return true;
  }
  static Unpacked Soft(const Unpacked& a, const Unpacked& b, const FloatFormat& format, FloatEnvironment& env) {
    return Multiply(a, b, format, env);
  }
};
struct DivideOperation {
  static constexpr bool kCancels = false;
  template <typename V>
  [[gnu::always_inline]] static V Host(V a, V b) {
    return a / b;
  }
  template <typename T, typename V>
  [[gnu::always_inline]] static auto Lost(V a, V b, V quotient) {
    return MultiplyOperation::Lost<T, V>(quotient, b, a) | (quotient * b != a);
  }
  template <typename T>
  [[gnu::always_inline]] static bool Fast(BitsOf<T> a, BitsOf<T> b, bool inexact_known, BitsOf<T>* result,
                                          uint8_t* flags) {
    if (!IsOrdinary<T>(a) || !IsOrdinary<T>(b) || IsZero<T>(b)) return false;
    *result = std::bit_cast<BitsOf<T>>(std::bit_cast<T>(a) / std::bit_cast<T>(b));
    if (IsZero<T>(a)) return true;
    if (!IsInside<T>(*result)) return false;
    if (!inexact_known) {
      const bool exact =
          ProductIsExact<T>(*result, b) && std::bit_cast<T>(*result) * std::bit_cast<T>(b) == std::bit_cast<T>(a);
      if (!exact) *flags |= kInexact;
    }
    return true;
  }
  static Unpacked Soft(const Unpacked& a, const Unpacked& b, const FloatFormat& format, FloatEnvironment& env) {
    return Divide(a, b, format, env);
  }
};

// MIN, MAX: the second operand where either is a NaN, or where both are zeros.
template <bool kMax>
struct SelectOperation {
  template <typename T>
  [[gnu::always_inline]] static bool Fast(BitsOf<T> a, BitsOf<T> b, bool, BitsOf<T>* result, uint8_t*) {
    if (!IsOrdinary<T>(a) || !IsOrdinary<T>(b)) return false;
    const T x = std::bit_cast<T>(a), y = std::bit_cast<T>(b);
    *result = (kMax ? x > y : x < y) ? a : b;
    return true;
  }
  // Not an arithmetic result: a signaling NaN stays one.
  template <typename T>
  static BitsOf<T> Select(BitsOf<T> a, BitsOf<T> b, FloatEnvironment& env) {
    constexpr BitsOf<T> kSign = BitsOf<T>{1} << (8 * sizeof(T) - 1);
    const Ordering ordering = Compare(Traits<T>::Unpack(a), Traits<T>::Unpack(b), false, env);
    const BitsOf<T> chosen = ordering == (kMax ? Ordering::kGreater : Ordering::kLess) ? a : b;
    return env.denormals_are_zero && Field<T>(chosen) == 0 ? chosen & kSign : chosen;
  }
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_SSE_ARITHMETIC_H_
