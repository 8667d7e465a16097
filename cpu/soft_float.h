#ifndef REMORA_CPU_SOFT_FLOAT_H_
#define REMORA_CPU_SOFT_FLOAT_H_

#include <cstdint>

namespace remora::cpu {

// Floating point in integers: what the interpreter falls back to where the host's own arithmetic cannot tell the
// guest's flags, and all of x87, whose 64-bit significands and precision control C++ has no portable type for.
//
// A number is unpacked into one form for binary32, binary64 and the x87 format, worked on exactly (128 bits and a
// sticky bit), and rounded once into its destination. Thread safety: pure functions.

// Exceptions, at the bit positions that MXCSR, the x87 status word and the x87 control word share.
enum FloatFlag : uint8_t {
  kInvalid = 0x01,
  kDenormal = 0x02,
  kZeroDivide = 0x04,
  kOverflow = 0x08,
  kUnderflow = 0x10,
  kInexact = 0x20,
};
inline constexpr uint8_t kAllFloatFlags = 0x3f;
// Found before an operation is carried out: where one is unmasked there is no result.
inline constexpr uint8_t kPreComputationFlags = kInvalid | kDenormal | kZeroDivide;

// The encoding of MXCSR.RC and of the x87 control word's RC.
enum class Rounding : uint8_t { kNearest = 0, kDown = 1, kUp = 2, kTruncate = 3 };

struct FloatFormat {
  int precision;     // significant bits, the leading one included
  int min_exponent;  // of the smallest normal number 1.0 * 2^min_exponent
  int max_exponent;
  int exponent_adjust;  // what an unmasked overflow or underflow subtracts or adds (x87 only)
};
inline constexpr FloatFormat kBinary32{24, -126, 127, 192};
inline constexpr FloatFormat kBinary64{53, -1022, 1023, 1536};
inline constexpr FloatFormat kExtended{64, -16382, 16383, 24576};

// How operations are to behave, and what they raised.
struct FloatEnvironment {
  Rounding rounding = Rounding::kNearest;
  uint8_t masks = kAllFloatFlags;   // set bit: the exception is masked
  bool flush_to_zero = false;       // MXCSR.FTZ
  bool denormals_are_zero = false;  // MXCSR.DAZ
  bool x87 = false;                 // NaN rules of x87, wrapped exponents for unmasked overflow and underflow
  uint8_t flags = 0;                // raised, FloatFlag bits
  bool rounded_up = false;          // the last inexact result is larger in magnitude than the exact one: C1

  bool Masked(uint8_t flag) const { return (masks & flag) != 0; }
};

enum class FloatClass : uint8_t { kZero, kFinite, kInfinity, kQuietNan, kSignalingNan, kUnsupported };

// Finite: significand * 2^(exponent - 63), bit 63 of the significand set. A NaN's significand is that of the x87 format
// (bit 63 set, bit 62 quiet).
struct Unpacked {
  FloatClass cls = FloatClass::kZero;
  bool sign = false;
  bool denormal = false;  // encoded as a denormal (operands only)
  int32_t exponent = 0;
  uint64_t significand = 0;

  bool IsNan() const { return cls == FloatClass::kQuietNan || cls == FloatClass::kSignalingNan; }
};

// An x87 register's value.
struct Float80 {
  uint64_t significand = 0;
  uint16_t sign_exponent = 0;
  friend constexpr bool operator==(const Float80&, const Float80&) = default;
};
inline constexpr Float80 kDefaultNan80{0xc000000000000000, 0xffff};
inline constexpr uint32_t kDefaultNan32 = 0xffc00000;
inline constexpr uint64_t kDefaultNan64 = 0xfff8000000000000;

Unpacked Unpack32(uint32_t bits);
Unpacked Unpack64(uint64_t bits);
Unpacked Unpack80(Float80 value);
// Exact: the value has been rounded to the format before.
uint32_t Pack32(const Unpacked& value);
uint64_t Pack64(const Unpacked& value);
Float80 Pack80(const Unpacked& value);
Unpacked DefaultNan();
Unpacked FromInteger(int64_t value);  // exact

// The operations. Operands that are NaN or unsupported are dealt with by the environment's rules; denormal operands
// raise kDenormal (or are zeros, with denormals_are_zero).
Unpacked Add(Unpacked a, Unpacked b, const FloatFormat& format, FloatEnvironment& env);
Unpacked Subtract(Unpacked a, Unpacked b, const FloatFormat& format, FloatEnvironment& env);
Unpacked Multiply(Unpacked a, Unpacked b, const FloatFormat& format, FloatEnvironment& env);
Unpacked Divide(Unpacked a, Unpacked b, const FloatFormat& format, FloatEnvironment& env);
// +-(a * b) +- c, rounded once. NaNs and infinities by SSE's rules.
Unpacked MultiplyAdd(Unpacked a, Unpacked b, Unpacked c, bool negate_product, bool negate_addend,
                     const FloatFormat& format, FloatEnvironment& env);
Unpacked SquareRoot(Unpacked a, const FloatFormat& format, FloatEnvironment& env);
// Into another format: FLD m32, FST m64, CVTSD2SS. A NaN is quieted (and raises kInvalid if it was signaling).
Unpacked Convert(Unpacked a, const FloatFormat& format, FloatEnvironment& env);
// To an integral value in the same format: FRNDINT.
Unpacked RoundToIntegral(Unpacked a, FloatEnvironment& env);
// To a signed integer of `bits` (16, 32, 64): out of range and NaN give the most negative number and kInvalid.
int64_t ToInteger(Unpacked a, int bits, Rounding rounding, FloatEnvironment& env);

// The NaN that an operation with these operands (of which one at least is a NaN) gives; raises kInvalid for a signaling
// one. x87: the larger significand; SSE: the first.
Unpacked PropagateNan(const Unpacked& a, const Unpacked& b, FloatEnvironment& env);

enum class Ordering : uint8_t { kLess, kEqual, kGreater, kUnordered };
// `quiet`: a quiet NaN raises nothing (FUCOM, UCOMISS, CMPEQPS).
Ordering Compare(Unpacked a, Unpacked b, bool quiet, FloatEnvironment& env);

// Rounds (-1)^sign * (high + low / 2^64) * 2^(exponent - 63) into `format`; bit 63 of high is set, bit 0 of low may
// stand for any number of non-zero bits below.
Unpacked RoundExact(bool sign, int32_t exponent, uint64_t high, uint64_t low, const FloatFormat& format,
                    FloatEnvironment& env);

}  // namespace remora::cpu

#endif  // REMORA_CPU_SOFT_FLOAT_H_
