#include "cpu/soft_float.h"

#include <bit>
#include <utility>

namespace remora::cpu {
namespace {

using uint128 = unsigned __int128;

constexpr uint64_t kTopBit = uint64_t{1} << 63;
constexpr uint64_t kQuietBit = uint64_t{1} << 62;

Unpacked Zero(bool sign) { return {.cls = FloatClass::kZero, .sign = sign}; }
Unpacked Infinity(bool sign) { return {.cls = FloatClass::kInfinity, .sign = sign}; }
Unpacked Invalid(FloatEnvironment& env) {
  env.flags |= kInvalid;
  return DefaultNan();
}

// Right shift that keeps whether anything was lost in bit 0.
uint128 ShiftRightSticky(uint128 value, int count) {
  if (count <= 0) return value;
  if (count > 127) return value != 0;
  return (value >> count) | ((value << (128 - count)) != 0);
}

uint128 Wide(uint64_t high, uint64_t low) { return (uint128{high} << 64) | low; }

// Whether a magnitude is to be rounded away from zero. `half` is the first bit lost, `rest` all others.
bool RoundsAway(Rounding rounding, bool sign, bool odd, bool half, bool rest) {
  switch (rounding) {
    case Rounding::kNearest:
      return half && (rest || odd);
    case Rounding::kDown:
      return sign && (half || rest);
    case Rounding::kUp:
      return !sign && (half || rest);
    case Rounding::kTruncate:
      return false;
  }
  return false;
}

struct Rounded {
  uint64_t significand = 0;  // as given, bits below the precision cleared
  bool carried = false;      // out of bit 63: the value is 2^64, significand 0
  bool inexact = false;
  bool away = false;
};

Rounded RoundSignificand(uint64_t high, uint64_t low, int precision, bool sign, Rounding rounding) {
  const int lost = 64 - precision;
  Rounded result;
  bool half, rest, odd;
  uint64_t unit;
  if (lost == 0) {
    half = low >> 63;
    rest = (low << 1) != 0;
    odd = high & 1;
    unit = 1;
  } else {
    unit = uint64_t{1} << lost;
    half = (high >> (lost - 1)) & 1;
    rest = (high & ((unit >> 1) - 1)) != 0 || low != 0;
    odd = (high & unit) != 0;
    high &= ~(unit - 1);
  }
  result.inexact = half || rest;
  result.away = RoundsAway(rounding, sign, odd, half, rest);
  result.significand = high;
  if (result.away) {
    result.significand = high + unit;
    result.carried = result.significand == 0;
  }
  return result;
}

Unpacked Finite(bool sign, int32_t exponent, uint64_t significand) {
  if (significand == 0) return Zero(sign);
  const int shift = std::countl_zero(significand);
  return {.cls = FloatClass::kFinite, .sign = sign, .exponent = exponent - shift, .significand = significand << shift};
}

Unpacked Nan(bool sign, uint64_t significand) {
  return {.cls = (significand & kQuietBit) ? FloatClass::kQuietNan : FloatClass::kSignalingNan,
          .sign = sign,
          .significand = significand};
}

Unpacked Quieted(Unpacked a, FloatEnvironment& env) {
  if (a.cls == FloatClass::kSignalingNan) env.flags |= kInvalid;
  a.cls = FloatClass::kQuietNan;
  a.significand |= kQuietBit;
  return a;
}

void FlushOperand(Unpacked& a, const FloatEnvironment& env) {
  if (env.denormals_are_zero && a.denormal) a = Zero(a.sign);
}

void RaiseDenormal(const Unpacked& a, FloatEnvironment& env) {
  if (a.denormal) env.flags |= kDenormal;
}

// True: *result is the answer, because an operand is no number.
bool NotNumbers(Unpacked& a, Unpacked& b, FloatEnvironment& env, Unpacked* result) {
  FlushOperand(a, env);
  FlushOperand(b, env);
  if (a.cls == FloatClass::kUnsupported || b.cls == FloatClass::kUnsupported) {
    *result = Invalid(env);
    return true;
  }
  if (a.IsNan() || b.IsNan()) {
    *result = PropagateNan(a, b, env);
    return true;
  }
  return false;
}

Unpacked AddNumbers(const Unpacked& a, const Unpacked& b, const FloatFormat& format, FloatEnvironment& env) {
  if (a.cls == FloatClass::kInfinity || b.cls == FloatClass::kInfinity) {
    if (a.cls == b.cls && a.sign != b.sign) return Invalid(env);
    RaiseDenormal(a, env);
    RaiseDenormal(b, env);
    return Infinity(a.cls == FloatClass::kInfinity ? a.sign : b.sign);
  }
  RaiseDenormal(a, env);
  RaiseDenormal(b, env);
  if (a.cls == FloatClass::kZero && b.cls == FloatClass::kZero)
    return Zero(a.sign == b.sign ? a.sign : env.rounding == Rounding::kDown);
  if (a.cls == FloatClass::kZero) return RoundExact(b.sign, b.exponent, b.significand, 0, format, env);
  if (b.cls == FloatClass::kZero) return RoundExact(a.sign, a.exponent, a.significand, 0, format, env);

  const Unpacked* large = &a;
  const Unpacked* small = &b;
  if (a.exponent < b.exponent || (a.exponent == b.exponent && a.significand < b.significand)) std::swap(large, small);
  // One bit of room at the top for the carry; 63 bits and a sticky one below.
  uint128 sum = uint128{large->significand} << 63;
  const uint128 addend = ShiftRightSticky(uint128{small->significand} << 63, large->exponent - small->exponent);
  if (large->sign == small->sign)
    sum += addend;
  else
    sum -= addend;
  if (sum == 0) return Zero(env.rounding == Rounding::kDown);
  const uint64_t top = static_cast<uint64_t>(sum >> 64);
  const int shift = top != 0 ? std::countl_zero(top) : 64 + std::countl_zero(static_cast<uint64_t>(sum));
  sum <<= shift;
  return RoundExact(large->sign, large->exponent + 1 - shift, static_cast<uint64_t>(sum >> 64),
                    static_cast<uint64_t>(sum), format, env);
}

}  // namespace

Unpacked DefaultNan() { return {.cls = FloatClass::kQuietNan, .sign = true, .significand = kTopBit | kQuietBit}; }

Unpacked Unpack32(uint32_t bits) {
  const bool sign = bits >> 31;
  const int field = (bits >> 23) & 0xff;
  const uint64_t fraction = uint64_t{bits & 0x7fffff} << 40;
  if (field == 0xff) return fraction == 0 ? Infinity(sign) : Nan(sign, kTopBit | fraction);
  if (field != 0) return Finite(sign, field - 127, kTopBit | fraction);
  Unpacked result = Finite(sign, -126, fraction);
  result.denormal = fraction != 0;
  return result;
}

Unpacked Unpack64(uint64_t bits) {
  const bool sign = bits >> 63;
  const int field = (bits >> 52) & 0x7ff;
  const uint64_t fraction = (bits & ((uint64_t{1} << 52) - 1)) << 11;
  if (field == 0x7ff) return fraction == 0 ? Infinity(sign) : Nan(sign, kTopBit | fraction);
  if (field != 0) return Finite(sign, field - 1023, kTopBit | fraction);
  Unpacked result = Finite(sign, -1022, fraction);
  result.denormal = fraction != 0;
  return result;
}

Unpacked Unpack80(Float80 value) {
  const bool sign = value.sign_exponent >> 15;
  const int field = value.sign_exponent & 0x7fff;
  if (field == 0x7fff) {
    if ((value.significand & kTopBit) == 0) return {.cls = FloatClass::kUnsupported, .sign = sign};
    return value.significand == kTopBit ? Infinity(sign) : Nan(sign, value.significand);
  }
  if (field == 0) {
    Unpacked result = Finite(sign, -16382, value.significand);
    result.denormal = value.significand != 0;
    return result;
  }
  if ((value.significand & kTopBit) == 0) return {.cls = FloatClass::kUnsupported, .sign = sign};
  return Finite(sign, field - 16383, value.significand);
}

namespace {
// Where an unmasked exception leaves no result, what is packed (and dropped) may not fit the format.
uint64_t ShiftedOut(uint64_t significand, int count) { return count > 63 ? 0 : significand >> count; }
}  // namespace

uint32_t Pack32(const Unpacked& value) {
  const uint32_t sign = uint32_t{value.sign} << 31;
  switch (value.cls) {
    case FloatClass::kZero:
      return sign;
    case FloatClass::kInfinity:
      return sign | 0x7f800000;
    case FloatClass::kFinite:
      if (value.exponent < -126)
        return sign | static_cast<uint32_t>(ShiftedOut(value.significand, 40 - 126 - value.exponent));
      return sign | static_cast<uint32_t>(value.exponent + 127) << 23 |
             (static_cast<uint32_t>(value.significand >> 40) & 0x7fffff);
    default:
      return sign | 0x7f800000 | (static_cast<uint32_t>(value.significand >> 40) & 0x7fffff);
  }
}

uint64_t Pack64(const Unpacked& value) {
  const uint64_t sign = uint64_t{value.sign} << 63;
  const uint64_t fraction_mask = (uint64_t{1} << 52) - 1;
  switch (value.cls) {
    case FloatClass::kZero:
      return sign;
    case FloatClass::kInfinity:
      return sign | uint64_t{0x7ff} << 52;
    case FloatClass::kFinite:
      if (value.exponent < -1022) return sign | ShiftedOut(value.significand, 11 - 1022 - value.exponent);
      return sign | static_cast<uint64_t>(value.exponent + 1023) << 52 | ((value.significand >> 11) & fraction_mask);
    default:
      return sign | uint64_t{0x7ff} << 52 | ((value.significand >> 11) & fraction_mask);
  }
}

Float80 Pack80(const Unpacked& value) {
  const uint16_t sign = static_cast<uint16_t>(value.sign << 15);
  switch (value.cls) {
    case FloatClass::kZero:
      return {0, sign};
    case FloatClass::kInfinity:
      return {kTopBit, static_cast<uint16_t>(sign | 0x7fff)};
    case FloatClass::kFinite:
      if (value.exponent < -16382) return {value.significand >> (-16382 - value.exponent), sign};
      return {value.significand, static_cast<uint16_t>(sign | (value.exponent + 16383))};
    default:
      return {value.significand, static_cast<uint16_t>(sign | 0x7fff)};
  }
}

Unpacked FromInteger(int64_t value) {
  const bool sign = value < 0;
  return Finite(sign, 63, sign ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value));
}

Unpacked PropagateNan(const Unpacked& a, const Unpacked& b, FloatEnvironment& env) {
  if (a.cls == FloatClass::kSignalingNan || b.cls == FloatClass::kSignalingNan) env.flags |= kInvalid;
  const Unpacked* chosen = &a;
  if (!a.IsNan()) {
    chosen = &b;
  } else if (b.IsNan() && env.x87) {
    // A quiet one before a signaling one, then the larger significand, then the positive one.
    if (a.cls != b.cls) {
      if (b.cls == FloatClass::kQuietNan) chosen = &b;
    } else if (a.significand != b.significand) {
      if (b.significand > a.significand) chosen = &b;
    } else if (a.sign && !b.sign) {
      chosen = &b;
    }
  }
  return Quieted(*chosen, env);
}

Unpacked RoundExact(bool sign, int32_t exponent, uint64_t high, uint64_t low, const FloatFormat& format,
                    FloatEnvironment& env) {
  bool tiny = false;
  if (exponent < format.min_exponent) {
    // Tininess is judged after rounding, as if the exponent had no lower end.
    const Rounded unbounded = RoundSignificand(high, low, format.precision, sign, env.rounding);
    tiny = !(unbounded.carried && exponent == format.min_exponent - 1);
    if (tiny && !env.Masked(kUnderflow)) {
      env.flags |= kUnderflow;
      if (unbounded.inexact) {
        env.flags |= kInexact;
        env.rounded_up = unbounded.away;
      }
      const int32_t carried = unbounded.carried ? 1 : 0;
      return {.cls = FloatClass::kFinite,
              .sign = sign,
              .exponent = exponent + carried + format.exponent_adjust,
              .significand = unbounded.carried ? kTopBit : unbounded.significand};
    }
    if (tiny && env.flush_to_zero) {
      env.flags |= kUnderflow | kInexact;
      return Zero(sign);
    }
    const uint128 shifted = ShiftRightSticky(Wide(high, low), format.min_exponent - exponent);
    high = static_cast<uint64_t>(shifted >> 64);
    low = static_cast<uint64_t>(shifted);
    exponent = format.min_exponent;
  }
  const Rounded rounded = RoundSignificand(high, low, format.precision, sign, env.rounding);
  uint64_t significand = rounded.significand;
  if (rounded.carried) {
    significand = kTopBit;
    ++exponent;
  }
  if (exponent > format.max_exponent) {
    env.flags |= kOverflow;
    if (!env.Masked(kOverflow)) {
      if (rounded.inexact) {
        env.flags |= kInexact;
        env.rounded_up = rounded.away;
      }
      return {.cls = FloatClass::kFinite,
              .sign = sign,
              .exponent = exponent - format.exponent_adjust,
              .significand = significand};
    }
    env.flags |= kInexact;
    const bool to_infinity = env.rounding == Rounding::kNearest || (env.rounding == Rounding::kDown && sign) ||
                             (env.rounding == Rounding::kUp && !sign);
    env.rounded_up = to_infinity;
    if (to_infinity) return Infinity(sign);
    return {.cls = FloatClass::kFinite,
            .sign = sign,
            .exponent = format.max_exponent,
            .significand = ~uint64_t{0} << (64 - format.precision)};
  }
  if (rounded.inexact) {
    env.flags |= kInexact;
    if (tiny) env.flags |= kUnderflow;
    env.rounded_up = rounded.away;
  }
  return Finite(sign, exponent, significand);
}

Unpacked Add(Unpacked a, Unpacked b, const FloatFormat& format, FloatEnvironment& env) {
  Unpacked result;
  if (NotNumbers(a, b, env, &result)) return result;
  return AddNumbers(a, b, format, env);
}

Unpacked Subtract(Unpacked a, Unpacked b, const FloatFormat& format, FloatEnvironment& env) {
  Unpacked result;
  if (NotNumbers(a, b, env, &result)) return result;
  b.sign = !b.sign;
  return AddNumbers(a, b, format, env);
}

Unpacked Multiply(Unpacked a, Unpacked b, const FloatFormat& format, FloatEnvironment& env) {
  Unpacked result;
  if (NotNumbers(a, b, env, &result)) return result;
  const bool sign = a.sign != b.sign;
  const bool any_zero = a.cls == FloatClass::kZero || b.cls == FloatClass::kZero;
  const bool any_infinity = a.cls == FloatClass::kInfinity || b.cls == FloatClass::kInfinity;
  if (any_zero && any_infinity) return Invalid(env);
  RaiseDenormal(a, env);
  RaiseDenormal(b, env);
  if (any_infinity) return Infinity(sign);
  if (any_zero) return Zero(sign);
  uint128 product = uint128{a.significand} * b.significand;
  int32_t exponent = a.exponent + b.exponent + 1;
  if ((product >> 127) == 0) {
    product <<= 1;
    --exponent;
  }
  return RoundExact(sign, exponent, static_cast<uint64_t>(product >> 64), static_cast<uint64_t>(product), format, env);
}

Unpacked Divide(Unpacked a, Unpacked b, const FloatFormat& format, FloatEnvironment& env) {
  Unpacked result;
  if (NotNumbers(a, b, env, &result)) return result;
  const bool sign = a.sign != b.sign;
  if (a.cls == FloatClass::kInfinity) {
    if (b.cls == FloatClass::kInfinity) return Invalid(env);
    RaiseDenormal(b, env);
    return Infinity(sign);
  }
  if (b.cls == FloatClass::kInfinity) {
    RaiseDenormal(a, env);
    return Zero(sign);
  }
  if (b.cls == FloatClass::kZero) {
    if (a.cls == FloatClass::kZero) return Invalid(env);
    env.flags |= kZeroDivide;
    return Infinity(sign);
  }
  RaiseDenormal(a, env);
  RaiseDenormal(b, env);
  if (a.cls == FloatClass::kZero) return Zero(sign);
  int32_t exponent = a.exponent - b.exponent;
  uint128 dividend = uint128{a.significand} << 64;
  // The quotient shall have its top bit at 63.
  if (a.significand >= b.significand)
    dividend >>= 1;
  else
    --exponent;
  const uint64_t high = static_cast<uint64_t>(dividend / b.significand);
  const uint64_t remainder = static_cast<uint64_t>(dividend % b.significand);
  // Of what lies below only the first bit and whether more follows count.
  uint64_t low = 0;
  if (remainder != 0) {
    const uint64_t rest = b.significand - remainder;  // 2 * remainder compared with the divisor, without overflow
    low = remainder > rest ? kTopBit | 1 : remainder == rest ? kTopBit : 1;
  }
  return RoundExact(sign, exponent, high, low, format, env);
}

Unpacked MultiplyAdd(Unpacked a, Unpacked b, Unpacked c, bool negate_product, bool negate_addend,
                     const FloatFormat& format, FloatEnvironment& env) {
  FlushOperand(a, env);
  FlushOperand(b, env);
  FlushOperand(c, env);
  if (a.IsNan() || b.IsNan() || c.IsNan()) {
    const Unpacked quieted_c = c.IsNan() ? Quieted(c, env) : c;
    return a.IsNan() || b.IsNan() ? PropagateNan(a, b, env) : quieted_c;
  }
  const bool sign = (a.sign != b.sign) != negate_product;
  c.sign = c.sign != negate_addend;
  const bool product_zero = a.cls == FloatClass::kZero || b.cls == FloatClass::kZero;
  const bool product_infinite = a.cls == FloatClass::kInfinity || b.cls == FloatClass::kInfinity;
  if (product_zero && product_infinite) return Invalid(env);
  if (product_infinite && c.cls == FloatClass::kInfinity && c.sign != sign) return Invalid(env);
  RaiseDenormal(a, env);
  RaiseDenormal(b, env);
  RaiseDenormal(c, env);
  if (product_infinite) return Infinity(sign);
  if (c.cls == FloatClass::kInfinity) return c;
  if (product_zero) {
    if (c.cls == FloatClass::kZero) return Zero(sign == c.sign ? sign : env.rounding == Rounding::kDown);
    return RoundExact(c.sign, c.exponent, c.significand, 0, format, env);
  }
  uint128 product = uint128{a.significand} * b.significand;
  int32_t exponent = a.exponent + b.exponent + 1;
  if ((product >> 127) == 0) {
    product <<= 1;
    --exponent;
  }
  if (c.cls == FloatClass::kZero)
    return RoundExact(sign, exponent, static_cast<uint64_t>(product >> 64), static_cast<uint64_t>(product), format,
                      env);
  // One bit of room for the carry. The significands have no more than 53 bits, so nothing is lost by it, nor by the
  // one bit of alignment that a difference may come down from.
  product >>= 1;
  uint128 addend = uint128{c.significand} << 63;
  const bool product_larger = exponent != c.exponent ? exponent > c.exponent : product >= addend;
  const int distance = product_larger ? exponent - c.exponent : c.exponent - exponent;
  if (product_larger)
    addend = ShiftRightSticky(addend, distance);
  else
    product = ShiftRightSticky(product, distance);
  uint128 sum = sign == c.sign ? product + addend : product_larger ? product - addend : addend - product;
  if (sum == 0) return Zero(env.rounding == Rounding::kDown);
  const uint64_t top = static_cast<uint64_t>(sum >> 64);
  const int shift = top != 0 ? std::countl_zero(top) : 64 + std::countl_zero(static_cast<uint64_t>(sum));
  sum <<= shift;
  return RoundExact(product_larger ? sign : c.sign, (product_larger ? exponent : c.exponent) + 1 - shift,
                    static_cast<uint64_t>(sum >> 64), static_cast<uint64_t>(sum), format, env);
}

Unpacked SquareRoot(Unpacked a, const FloatFormat& format, FloatEnvironment& env) {
  FlushOperand(a, env);
  if (a.cls == FloatClass::kUnsupported) return Invalid(env);
  if (a.IsNan()) return Quieted(a, env);
  if (a.cls == FloatClass::kZero) return a;
  if (a.sign) return Invalid(env);
  if (a.cls == FloatClass::kInfinity) return a;
  RaiseDenormal(a, env);
  // The root of significand * 2^(exponent - 63), made so that the radicand has 127 or 128 bits and an even exponent.
  const bool odd = (a.exponent & 1) != 0;
  const uint128 radicand = odd ? uint128{a.significand} << 64 : uint128{a.significand} << 63;
  const int32_t exponent = (a.exponent - (odd ? 1 : 0)) / 2;
  uint64_t root = 0;
  for (uint64_t bit = kTopBit; bit != 0; bit >>= 1) {
    const uint64_t trial = root | bit;
    if (uint128{trial} * trial <= radicand) root = trial;
  }
  const uint128 rest = radicand - uint128{root} * root;
  // The root lies above root + 1/2 if and only if the rest exceeds root; it is never just there.
  const uint64_t low = rest == 0 ? 0 : rest > root ? kTopBit | 1 : 1;
  return RoundExact(false, exponent, root, low, format, env);
}

Unpacked Convert(Unpacked a, const FloatFormat& format, FloatEnvironment& env) {
  FlushOperand(a, env);
  if (a.cls == FloatClass::kUnsupported) return Invalid(env);
  if (a.IsNan()) return Quieted(a, env);
  if (a.cls != FloatClass::kFinite) return a;
  RaiseDenormal(a, env);
  return RoundExact(a.sign, a.exponent, a.significand, 0, format, env);
}

Unpacked RoundToIntegral(Unpacked a, FloatEnvironment& env) {
  FlushOperand(a, env);
  if (a.cls == FloatClass::kUnsupported) return Invalid(env);
  if (a.IsNan()) return Quieted(a, env);
  if (a.cls != FloatClass::kFinite) return a;
  RaiseDenormal(a, env);
  if (a.exponent >= 63) return a;
  const int precision = a.exponent + 1;  // bits before the binary point
  if (precision <= 0) {
    const bool half = precision == 0;
    const bool rest = precision < 0 || (a.significand << 1) != 0;
    env.flags |= kInexact;
    env.rounded_up = RoundsAway(env.rounding, a.sign, false, half, rest);
    return env.rounded_up ? Finite(a.sign, 0, kTopBit) : Zero(a.sign);
  }
  const Rounded rounded = RoundSignificand(a.significand, 0, precision, a.sign, env.rounding);
  if (rounded.inexact) {
    env.flags |= kInexact;
    env.rounded_up = rounded.away;
  }
  return Finite(a.sign, a.exponent + (rounded.carried ? 1 : 0), rounded.carried ? kTopBit : rounded.significand);
}

int64_t ToInteger(Unpacked a, int bits, Rounding rounding, FloatEnvironment& env) {
  const int64_t indefinite = static_cast<int64_t>(~uint64_t{0} << (bits - 1));
  FlushOperand(a, env);
  if (a.cls == FloatClass::kZero) return 0;
  if (a.cls != FloatClass::kFinite || a.exponent >= bits) {
    env.flags |= kInvalid;
    return indefinite;
  }
  uint64_t magnitude = 0;
  bool inexact = false;
  bool away = false;
  if (a.exponent < 63) {
    const uint128 fixed = a.exponent >= -1 ? Wide(a.significand, 0) >> (63 - a.exponent) : uint128{1};
    magnitude = static_cast<uint64_t>(fixed >> 64);
    const uint64_t fraction = static_cast<uint64_t>(fixed);
    inexact = fraction != 0;
    away = RoundsAway(rounding, a.sign, magnitude & 1, fraction >> 63, (fraction << 1) != 0);
    if (away) ++magnitude;
  } else {
    magnitude = a.significand;
  }
  const uint64_t limit = (uint64_t{1} << (bits - 1)) - (a.sign ? 0 : 1);
  if (magnitude > limit) {
    env.flags |= kInvalid;
    return indefinite;
  }
  if (inexact) {
    env.flags |= kInexact;
    env.rounded_up = away;
  }
  return static_cast<int64_t>(a.sign ? uint64_t{0} - magnitude : magnitude);
}

Ordering Compare(Unpacked a, Unpacked b, bool quiet, FloatEnvironment& env) {
  FlushOperand(a, env);
  FlushOperand(b, env);
  if (a.cls == FloatClass::kUnsupported || b.cls == FloatClass::kUnsupported) {
    env.flags |= kInvalid;
    return Ordering::kUnordered;
  }
  if (a.IsNan() || b.IsNan()) {
    if (!quiet || a.cls == FloatClass::kSignalingNan || b.cls == FloatClass::kSignalingNan) env.flags |= kInvalid;
    return Ordering::kUnordered;
  }
  RaiseDenormal(a, env);
  RaiseDenormal(b, env);
  if (a.cls == FloatClass::kZero && b.cls == FloatClass::kZero) return Ordering::kEqual;
  // Magnitudes as ordered triples: infinities above all finite ones, zeros below.
  auto rank = [](const Unpacked& x) { return x.cls == FloatClass::kZero ? 0 : x.cls == FloatClass::kFinite ? 1 : 2; };
  if (a.sign != b.sign) return a.sign ? Ordering::kLess : Ordering::kGreater;
  int compared = rank(a) - rank(b);
  if (compared == 0 && a.cls == FloatClass::kFinite) {
    if (a.exponent != b.exponent)
      compared = a.exponent < b.exponent ? -1 : 1;
    else if (a.significand != b.significand)
      compared = a.significand < b.significand ? -1 : 1;
  }
  if (compared == 0) return Ordering::kEqual;
  return (compared < 0) != a.sign ? Ordering::kLess : Ordering::kGreater;
}

}  // namespace remora::cpu
