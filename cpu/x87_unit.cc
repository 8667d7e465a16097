#include "cpu/x87_unit.h"

#include <bit>
#include <cstring>
#include <utility>

namespace remora::cpu {
namespace {

constexpr uint16_t kConditions = kX87C0 | kX87C1 | kX87C2 | kX87C3;
constexpr uint64_t kTopBit = uint64_t{1} << 63;

// Precision control: single, reserved, double, extended. All with the register's exponent range.
constexpr FloatFormat kPrecisions[4] = {
    {24, -16382, 16383, 24576}, {64, -16382, 16383, 24576}, {53, -16382, 16383, 24576}, {64, -16382, 16383, 24576}};

}  // namespace

X87Unit::X87Unit(X87State& state) : state_(state) {
  env_.x87 = true;
  env_.rounding = static_cast<Rounding>((state.control >> 10) & 3);
  env_.masks = state.control & kAllFloatFlags;
}

const FloatFormat& X87Unit::PrecisionFormat() const { return kPrecisions[(state_.control >> 8) & 3]; }

void X87Unit::Set(unsigned i, Float80 value) {
  const unsigned physical = Physical(i);
  state_.registers[physical] = {value.significand, value.sign_exponent};
  state_.valid |= static_cast<uint8_t>(1 << physical);
}

void X87Unit::Push(Float80 value) {
  state_.top = (state_.top - 1) & 7;
  Set(0, value);
}

void X87Unit::Pop(int count) {
  for (; count > 0; --count) {
    state_.valid &= static_cast<uint8_t>(~(1 << state_.top));
    state_.top = (state_.top + 1) & 7;
  }
}

void X87Unit::UpdateSummary() {
  if (state_.status & ~state_.control & kAllFloatFlags)
    state_.status |= kX87ErrorSummary | kX87Busy;
  else
    state_.status &= static_cast<uint16_t>(~(kX87ErrorSummary | kX87Busy));
}

void X87Unit::SetConditions(uint16_t conditions) {
  state_.status = static_cast<uint16_t>((state_.status & ~kConditions) | conditions);
}

bool X87Unit::StackFault(int kind) {
  state_.status =
      static_cast<uint16_t>((state_.status & ~kX87C1) | kInvalid | kX87StackFault | (kind == kOverflowed ? kX87C1 : 0));
  UpdateSummary();
  return env_.Masked(kInvalid);
}

bool X87Unit::Commit() {
  state_.status &= static_cast<uint16_t>(~kX87C1);
  const uint8_t before_result = env_.flags & ~env_.masks & kPreComputationFlags;
  if (before_result != 0) env_.flags &= kPreComputationFlags;
  state_.status |= env_.flags;
  if ((env_.flags & kInexact) && env_.rounded_up) state_.status |= kX87C1;
  UpdateSummary();
  return before_result == 0;
}

bool X87Unit::CommitStore() {
  const uint8_t forbidden = env_.flags & ~env_.masks & (kOverflow | kUnderflow);
  if (forbidden != 0) {
    // Nothing has been rounded: the source is still there.
    env_.flags &= static_cast<uint8_t>(~kInexact);
    Commit();
    return false;
  }
  return Commit();
}

// --- loads ---

void X87Unit::LoadExact(Float80 value) {
  if (!IsEmpty(7)) {
    if (StackFault(kOverflowed)) Push(kDefaultNan80);
    return;
  }
  state_.status &= static_cast<uint16_t>(~kX87C1);
  Push(value);
}

void X87Unit::Load(Unpacked value) {
  if (!IsEmpty(7)) {
    if (StackFault(kOverflowed)) Push(kDefaultNan80);
    return;
  }
  const Unpacked loaded = Convert(value, kExtended, env_);
  Commit();
  // A denormal is loaded even where DE is unmasked: it can be represented.
  if (env_.Masked(kInvalid) || !(env_.flags & kInvalid)) Push(Pack80(loaded));
}

void X87Unit::LoadRegister(unsigned i) {
  if (IsEmpty(i) || !IsEmpty(7)) {
    if (StackFault(IsEmpty(i) ? kUnderflowed : kOverflowed)) Push(kDefaultNan80);
    return;
  }
  state_.status &= static_cast<uint16_t>(~kX87C1);
  Push(Get(i));
}

void X87Unit::LoadConstant(Constant constant) {
  // Truncated significands, and whether round-to-nearest goes up; all are irrational but the first and the last.
  struct Entry {
    uint64_t significand;
    uint16_t exponent;
    bool nearest_is_up;
  };
  static constexpr Entry kTable[] = {{kTopBit, 0x3fff, false},
                                     {0xd49a784bcd1b8afe, 0x4000, false},
                                     {0xb8aa3b295c17f0bb, 0x3fff, true},
                                     {0xc90fdaa22168c234, 0x4000, true},
                                     {0x9a209a84fbcff798, 0x3ffd, true},
                                     {0xb17217f7d1cf79ab, 0x3ffe, true},
                                     {0, 0, false}};
  const Entry& entry = kTable[static_cast<int>(constant)];
  uint64_t significand = entry.significand;
  if (constant != Constant::kOne && constant != Constant::kZero &&
      (env_.rounding == Rounding::kUp || (env_.rounding == Rounding::kNearest && entry.nearest_is_up)))
    ++significand;
  LoadExact({significand, entry.exponent});
}

// --- stores ---

bool X87Unit::Store32(uint32_t* value, bool pop) {
  if (IsEmpty(0)) {
    if (!StackFault(kUnderflowed)) return false;
    *value = kDefaultNan32;
  } else {
    Unpacked source = Value(0);
    source.denormal = false;  // no DE in stores
    const Unpacked result = Convert(source, kBinary32, env_);
    if (!CommitStore()) return false;
    *value = Pack32(result);
  }
  Pop(pop);
  return true;
}

bool X87Unit::Store64(uint64_t* value, bool pop) {
  if (IsEmpty(0)) {
    if (!StackFault(kUnderflowed)) return false;
    *value = kDefaultNan64;
  } else {
    Unpacked source = Value(0);
    source.denormal = false;
    const Unpacked result = Convert(source, kBinary64, env_);
    if (!CommitStore()) return false;
    *value = Pack64(result);
  }
  Pop(pop);
  return true;
}

bool X87Unit::Store80(Float80* value) {
  if (IsEmpty(0)) {
    if (!StackFault(kUnderflowed)) return false;
    *value = kDefaultNan80;
  } else {
    state_.status &= static_cast<uint16_t>(~kX87C1);
    *value = Get(0);
  }
  Pop(1);
  return true;
}

bool X87Unit::StoreInteger(int bits, bool truncate, int64_t* value, bool pop) {
  if (IsEmpty(0)) {
    if (!StackFault(kUnderflowed)) return false;
    *value = static_cast<int64_t>(~uint64_t{0} << (bits - 1));
  } else {
    *value = ToInteger(Value(0), bits, truncate ? Rounding::kTruncate : env_.rounding, env_);
    if (!Commit()) return false;
  }
  Pop(pop);
  return true;
}

bool X87Unit::StoreBcd(std::array<uint8_t, 10>* value) {
  static constexpr std::array<uint8_t, 10> kIndefinite = {0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff};
  static constexpr int64_t kLargest = 999'999'999'999'999'999;
  if (IsEmpty(0)) {
    if (!StackFault(kUnderflowed)) return false;
    *value = kIndefinite;
    Pop(1);
    return true;
  }
  const Unpacked source = Value(0);
  int64_t number = ToInteger(source, 64, env_.rounding, env_);
  if (!(env_.flags & kInvalid) && (number > kLargest || number < -kLargest)) env_.flags = kInvalid;
  if (!Commit()) return false;
  if (env_.flags & kInvalid) {
    *value = kIndefinite;
  } else {
    if (number < 0) number = -number;
    for (int i = 0; i < 9; ++i) {
      const int pair = static_cast<int>(number % 100);
      number /= 100;
      (*value)[i] = static_cast<uint8_t>((pair / 10) << 4 | pair % 10);
    }
    (*value)[9] = source.sign ? 0x80 : 0;
  }
  Pop(1);
  return true;
}

void X87Unit::StoreRegister(unsigned i, bool pop) {
  if (IsEmpty(0)) {
    if (!StackFault(kUnderflowed)) return;
    Set(i, kDefaultNan80);
  } else {
    state_.status &= static_cast<uint16_t>(~kX87C1);
    Set(i, Get(0));
  }
  Pop(pop);
}

void X87Unit::StoreRegisterUnchecked(unsigned i) {
  state_.status &= static_cast<uint16_t>(~kX87C1);
  if (!IsEmpty(0)) Set(i, Get(0));
  Pop(1);
}

// --- arithmetic ---

Unpacked X87Unit::Compute(Arithmetic operation, const Unpacked& a, const Unpacked& b) {
  const FloatFormat& format = PrecisionFormat();
  switch (operation) {
    case Arithmetic::kAdd:
      return Add(a, b, format, env_);
    case Arithmetic::kMultiply:
      return Multiply(a, b, format, env_);
    case Arithmetic::kSubtract:
      return Subtract(a, b, format, env_);
    case Arithmetic::kSubtractReverse:
      return Subtract(b, a, format, env_);
    case Arithmetic::kDivide:
      return Divide(a, b, format, env_);
    case Arithmetic::kDivideReverse:
      return Divide(b, a, format, env_);
  }
  return a;
}

void X87Unit::ArithmeticToTop(Arithmetic operation, unsigned source) {
  if (IsEmpty(0) || IsEmpty(source)) {
    if (StackFault(kUnderflowed)) Set(0, kDefaultNan80);
    return;
  }
  const Unpacked result = Compute(operation, Value(0), Value(source));
  if (Commit()) Set(0, Pack80(result));
}

void X87Unit::ArithmeticToRegister(Arithmetic operation, unsigned destination, bool pop) {
  if (IsEmpty(0) || IsEmpty(destination)) {
    if (!StackFault(kUnderflowed)) return;
    Set(destination, kDefaultNan80);
    Pop(pop);
    return;
  }
  const Unpacked result = Compute(operation, Value(destination), Value(0));
  if (!Commit()) return;
  Set(destination, Pack80(result));
  Pop(pop);
}

void X87Unit::ArithmeticWithMemory(Arithmetic operation, Unpacked source) {
  if (IsEmpty(0)) {
    if (StackFault(kUnderflowed)) Set(0, kDefaultNan80);
    return;
  }
  const Unpacked result = Compute(operation, Value(0), source);
  if (Commit()) Set(0, Pack80(result));
}

void X87Unit::SquareRootTop() {
  if (IsEmpty(0)) {
    if (StackFault(kUnderflowed)) Set(0, kDefaultNan80);
    return;
  }
  const Unpacked result = SquareRoot(Value(0), PrecisionFormat(), env_);
  if (Commit()) Set(0, Pack80(result));
}

void X87Unit::RoundTop() {
  if (IsEmpty(0)) {
    if (StackFault(kUnderflowed)) Set(0, kDefaultNan80);
    return;
  }
  const Unpacked result = RoundToIntegral(Value(0), env_);
  if (Commit()) Set(0, Pack80(result));
}

void X87Unit::ChangeSign() {
  if (IsEmpty(0)) {
    if (StackFault(kUnderflowed)) Set(0, kDefaultNan80);
    return;
  }
  state_.status &= static_cast<uint16_t>(~kX87C1);
  state_.registers[Physical(0)].sign_exponent ^= 0x8000;
}

void X87Unit::AbsoluteValue() {
  if (IsEmpty(0)) {
    if (StackFault(kUnderflowed)) Set(0, kDefaultNan80);
    return;
  }
  state_.status &= static_cast<uint16_t>(~kX87C1);
  state_.registers[Physical(0)].sign_exponent &= 0x7fff;
}

void X87Unit::Scale() {
  if (IsEmpty(0) || IsEmpty(1)) {
    if (StackFault(kUnderflowed)) Set(0, kDefaultNan80);
    return;
  }
  const Unpacked a = Value(0), b = Value(1);
  Unpacked result = a;
  if (a.cls == FloatClass::kUnsupported || b.cls == FloatClass::kUnsupported) {
    env_.flags |= kInvalid;
    result = DefaultNan();
  } else if (a.IsNan() || b.IsNan()) {
    result = PropagateNan(a, b, env_);
  } else if (b.cls == FloatClass::kInfinity) {
    const bool to_zero = b.sign;
    if (a.cls == (to_zero ? FloatClass::kInfinity : FloatClass::kZero)) {
      env_.flags |= kInvalid;
      result = DefaultNan();
    } else {
      if (a.denormal) env_.flags |= kDenormal;
      result = {.cls = to_zero ? FloatClass::kZero : FloatClass::kInfinity, .sign = a.sign};
    }
  } else {
    if (a.denormal || b.denormal) env_.flags |= kDenormal;
    if (a.cls == FloatClass::kFinite) {
      int64_t steps = 0;
      if (b.cls == FloatClass::kFinite && b.exponent >= 0) {
        steps = b.exponent > 16 ? 0x20000 : static_cast<int64_t>(b.significand >> (63 - b.exponent));
        if (b.sign) steps = -steps;
      }
      result = RoundExact(a.sign, static_cast<int32_t>(a.exponent + steps), a.significand, 0, kExtended, env_);
    }
  }
  // Too far for a wrapped exponent: infinity or zero although the exception is unmasked.
  const bool too_large = result.cls == FloatClass::kFinite && result.exponent > 16383;
  if (too_large || (result.cls == FloatClass::kFinite && result.exponent < -16382 - 63)) {
    env_.flags |= kInexact;
    env_.rounded_up = too_large;
    result = {.cls = too_large ? FloatClass::kInfinity : FloatClass::kZero, .sign = result.sign};
  }
  if (Commit()) Set(0, Pack80(result));
}

void X87Unit::ExtractExponent() {
  if (IsEmpty(0) || !IsEmpty(7)) {
    if (StackFault(IsEmpty(0) ? kUnderflowed : kOverflowed)) {
      Set(0, kDefaultNan80);
      Push(kDefaultNan80);
    }
    return;
  }
  const Unpacked a = Value(0);
  Unpacked exponent, significand = a;
  if (a.cls == FloatClass::kUnsupported) {
    env_.flags |= kInvalid;
    exponent = significand = DefaultNan();
  } else if (a.IsNan()) {
    exponent = significand = PropagateNan(a, a, env_);
  } else if (a.cls == FloatClass::kInfinity) {
    exponent = {.cls = FloatClass::kInfinity, .sign = false};
  } else if (a.cls == FloatClass::kZero) {
    env_.flags |= kZeroDivide;
    exponent = {.cls = FloatClass::kInfinity, .sign = true};
  } else {
    if (a.denormal) env_.flags |= kDenormal;
    exponent = FromInteger(a.exponent);
    significand.exponent = 0;
  }
  if (!Commit()) return;
  Set(0, Pack80(exponent));
  Push(Pack80(significand));
}

void X87Unit::PartialRemainder(bool nearest) {
  if (IsEmpty(0) || IsEmpty(1)) {
    if (StackFault(kUnderflowed)) Set(0, kDefaultNan80);
    state_.status &= static_cast<uint16_t>(~kX87C2);
    return;
  }
  const Unpacked a = Value(0), b = Value(1);
  Unpacked result = a;
  uint64_t quotient = 0;
  bool partial = false;
  if (a.cls == FloatClass::kUnsupported || b.cls == FloatClass::kUnsupported) {
    env_.flags |= kInvalid;
    result = DefaultNan();
  } else if (a.IsNan() || b.IsNan()) {
    result = PropagateNan(a, b, env_);
  } else if (a.cls == FloatClass::kInfinity || b.cls == FloatClass::kZero) {
    env_.flags |= kInvalid;
    result = DefaultNan();
  } else {
    if (a.denormal || b.denormal) env_.flags |= kDenormal;
    if (a.cls == FloatClass::kFinite && b.cls == FloatClass::kFinite) {
      int distance = a.exponent - b.exponent;
      if (distance >= 64) {
        // One step: reduces the exponent by 32 to 63.
        partial = true;
        const int steps = (distance & 31) | 32;
        uint64_t rest = a.significand >= b.significand ? a.significand - b.significand : a.significand;
        for (int i = 0; i < steps; ++i) {
          const bool carry = rest >> 63;
          rest <<= 1;
          if (carry || rest >= b.significand) rest -= b.significand;
        }
        result = rest == 0 ? Unpacked{.cls = FloatClass::kZero, .sign = a.sign}
                           : RoundExact(a.sign, a.exponent - steps - std::countl_zero(rest),
                                        rest << std::countl_zero(rest), 0, kExtended, env_);
      } else if (distance >= (nearest ? -1 : 0)) {
        // Long division of significands; `rest` stays below the divisor, at the divisor's exponent in the end.
        uint64_t rest = a.significand;
        bool lost_half = false;  // distance -1: the dividend's last bit lies below the divisor's
        if (distance == -1) {
          lost_half = rest & 1;
          rest >>= 1;
        } else {
          if (rest >= b.significand) {
            rest -= b.significand;
            quotient = 1;
          }
          for (int i = 0; i < distance; ++i) {
            const bool carry = rest >> 63;
            rest <<= 1;
            quotient <<= 1;
            if (carry || rest >= b.significand) {
              rest -= b.significand;
              quotient |= 1;
            }
          }
        }
        bool negate = false;
        uint64_t low = lost_half ? kTopBit : 0;
        if (nearest) {
          // Compare the remainder with half the divisor.
          const unsigned __int128 twice = (static_cast<unsigned __int128>(rest) << 1) + (lost_half ? 1 : 0);
          const bool above = twice > b.significand || (twice == b.significand && (quotient & 1));
          if (above) {
            ++quotient;
            negate = true;
            const unsigned __int128 exact = (static_cast<unsigned __int128>(b.significand) << 64) -
                                            ((static_cast<unsigned __int128>(rest) << 64) | low);
            rest = static_cast<uint64_t>(exact >> 64);
            low = static_cast<uint64_t>(exact);
          }
        }
        if (rest == 0 && low == 0) {
          result = {.cls = FloatClass::kZero, .sign = a.sign};
        } else {
          const unsigned __int128 wide = (static_cast<unsigned __int128>(rest) << 64) | low;
          const int shift = rest != 0 ? std::countl_zero(rest) : 64 + std::countl_zero(low);
          const unsigned __int128 normal = wide << shift;
          result = RoundExact(a.sign != negate, b.exponent - shift, static_cast<uint64_t>(normal >> 64),
                              static_cast<uint64_t>(normal), kExtended, env_);
        }
      } else {
        result = RoundExact(a.sign, a.exponent, a.significand, 0, kExtended, env_);
      }
    } else if (a.cls == FloatClass::kFinite) {
      result = RoundExact(a.sign, a.exponent, a.significand, 0, kExtended, env_);
    }
  }
  const bool has_result = Commit();
  state_.status &= static_cast<uint16_t>(~kX87C2);
  if (!has_result) return;
  if (partial) {
    SetConditions(kX87C2);
  } else if (!(env_.flags & kInvalid) && !result.IsNan()) {
    uint16_t conditions = 0;
    if (quotient & 1) conditions |= kX87C1;
    if (quotient & 2) conditions |= kX87C3;
    if (quotient & 4) conditions |= kX87C0;
    SetConditions(conditions);
  }
  Set(0, Pack80(result));
}

// --- comparison ---

void X87Unit::SetOrdering(Ordering ordering) {
  static constexpr uint16_t kCodes[] = {kX87C0, kX87C3, 0, kX87C0 | kX87C2 | kX87C3};
  SetConditions(kCodes[static_cast<int>(ordering)]);
}

void X87Unit::CompareRegister(unsigned i, bool quiet, int pops) {
  Ordering ordering = Ordering::kUnordered;
  bool may_pop;
  if (IsEmpty(0) || IsEmpty(i)) {
    may_pop = StackFault(kUnderflowed);
  } else {
    ordering = Compare(Value(0), Value(i), quiet, env_);
    may_pop = Commit();
  }
  SetOrdering(ordering);
  if (may_pop) Pop(pops);
}

void X87Unit::CompareMemory(Unpacked source, int pops) {
  Ordering ordering = Ordering::kUnordered;
  bool may_pop;
  if (IsEmpty(0)) {
    may_pop = StackFault(kUnderflowed);
  } else {
    ordering = Compare(Value(0), source, false, env_);
    may_pop = Commit();
  }
  SetOrdering(ordering);
  if (may_pop) Pop(pops);
}

void X87Unit::CompareZero() { CompareMemory({.cls = FloatClass::kZero}, 0); }

uint64_t X87Unit::CompareToFlags(unsigned i, bool quiet, bool pop) {
  static constexpr uint64_t kCodes[] = {kFlagCF, kFlagZF, 0, kFlagCF | kFlagPF | kFlagZF};
  Ordering ordering = Ordering::kUnordered;
  bool may_pop;
  if (IsEmpty(0) || IsEmpty(i)) {
    may_pop = StackFault(kUnderflowed);
  } else {
    ordering = Compare(Value(0), Value(i), quiet, env_);
    const uint16_t c1 = state_.status & kX87C1;
    may_pop = Commit();
    state_.status |= c1;
  }
  if (may_pop) Pop(pop);
  return kCodes[static_cast<int>(ordering)];
}

void X87Unit::Examine() {
  const Float80 raw = Get(0);
  uint16_t conditions = (raw.sign_exponent & 0x8000) ? kX87C1 : 0;
  if (IsEmpty(0)) {
    conditions |= kX87C3 | kX87C0;
  } else {
    const Unpacked value = Unpack80(raw);
    switch (value.cls) {
      case FloatClass::kUnsupported:
        break;
      case FloatClass::kQuietNan:
      case FloatClass::kSignalingNan:
        conditions |= kX87C0;
        break;
      case FloatClass::kInfinity:
        conditions |= kX87C2 | kX87C0;
        break;
      case FloatClass::kZero:
        conditions |= kX87C3;
        break;
      case FloatClass::kFinite:
        conditions |= value.denormal ? kX87C3 | kX87C2 : kX87C2;
        break;
    }
  }
  SetConditions(conditions);
}

// --- stack and control ---

void X87Unit::Exchange(unsigned i) {
  if (IsEmpty(0) || IsEmpty(i)) {
    if (!StackFault(kUnderflowed)) return;
    if (IsEmpty(0)) Set(0, kDefaultNan80);
    if (IsEmpty(i)) Set(i, kDefaultNan80);
  } else {
    state_.status &= static_cast<uint16_t>(~kX87C1);
  }
  const Float80 top = Get(0), other = Get(i);
  Set(0, other);
  Set(i, top);
}

void X87Unit::ConditionalMove(unsigned i, bool condition) {
  if (IsEmpty(0) || IsEmpty(i)) {
    if (StackFault(kUnderflowed)) Set(0, kDefaultNan80);
    return;
  }
  if (condition) Set(0, Get(i));
}

void X87Unit::Free(unsigned i, bool pop) {
  state_.status &= static_cast<uint16_t>(~kX87C1);
  state_.valid &= static_cast<uint8_t>(~(1 << Physical(i)));
  Pop(pop);
}

void X87Unit::IncrementTop() {
  state_.status &= static_cast<uint16_t>(~kX87C1);
  state_.top = (state_.top + 1) & 7;
}

void X87Unit::DecrementTop() {
  state_.status &= static_cast<uint16_t>(~kX87C1);
  state_.top = (state_.top - 1) & 7;
}

void X87Unit::Initialize() {
  state_.control = 0x37f;
  state_.status = 0;
  state_.top = 0;
  state_.valid = 0;
  state_.last_opcode = 0;
  state_.last_ip = 0;
  state_.last_data = 0;
}

void X87Unit::ClearExceptions() {
  state_.status &= static_cast<uint16_t>(~(kAllFloatFlags | kX87StackFault | kX87ErrorSummary | kX87Busy));
}

void X87Unit::LoadControl(uint16_t control) {
  state_.control = (control & 0x1f3f) | 0x40;
  UpdateSummary();
}

void X87Unit::LoadStatus(uint16_t status) {
  state_.status = status & ~uint16_t{0x3800};
  state_.top = (status >> 11) & 7;
  UpdateSummary();
}

// --- environment images ---

uint16_t X87Unit::FullTagWord() const {
  uint16_t tags = 0;
  for (unsigned i = 0; i < 8; ++i) {
    unsigned tag = 3;
    if (state_.valid >> i & 1) {
      const X87Register& reg = state_.registers[i];
      const unsigned field = reg.sign_exponent & 0x7fff;
      if (field == 0)
        tag = reg.significand == 0 ? 1 : 2;
      else
        tag = field == 0x7fff || (reg.significand & kTopBit) == 0 ? 2 : 0;
    }
    tags |= static_cast<uint16_t>(tag << (2 * i));
  }
  return tags;
}

void X87Unit::StoreEnvironment(std::byte* image, bool wide) {
  if (wide) {
    const uint32_t words[7] = {0xffff0000u | state_.control,
                               0xffff0000u | StatusWord(),
                               0xffff0000u | FullTagWord(),
                               static_cast<uint32_t>(state_.last_ip),
                               static_cast<uint32_t>(state_.last_opcode & 0x7ff) << 16,
                               static_cast<uint32_t>(state_.last_data),
                               0xffff0000u};
    std::memcpy(image, words, sizeof(words));
  } else {
    const uint16_t words[7] = {state_.control,
                               StatusWord(),
                               FullTagWord(),
                               static_cast<uint16_t>(state_.last_ip),
                               0,
                               static_cast<uint16_t>(state_.last_data),
                               0};
    std::memcpy(image, words, sizeof(words));
  }
  LoadControl(state_.control | kAllFloatFlags);
}

void X87Unit::LoadEnvironment(const std::byte* image, bool wide) {
  uint32_t words[7];
  if (wide) {
    std::memcpy(words, image, sizeof(words));
  } else {
    uint16_t narrow[7];
    std::memcpy(narrow, image, sizeof(narrow));
    for (int i = 0; i < 7; ++i) words[i] = narrow[i];
  }
  state_.control = static_cast<uint16_t>((words[0] & 0x1f3f) | 0x40);
  LoadStatus(static_cast<uint16_t>(words[1]));
  state_.valid = 0;
  for (unsigned i = 0; i < 8; ++i)
    if ((words[2] >> (2 * i) & 3) != 3) state_.valid |= static_cast<uint8_t>(1 << i);
  state_.last_ip = words[3];
  state_.last_opcode = wide ? (words[4] >> 16) & 0x7ff : 0;
  state_.last_data = words[5];
}

void X87Unit::StoreRegisters(std::byte* image) const {
  for (unsigned i = 0; i < 8; ++i) {
    const Float80 value = Get(i);
    std::memcpy(image + 10 * i, &value.significand, 8);
    std::memcpy(image + 10 * i + 8, &value.sign_exponent, 2);
  }
}

void X87Unit::LoadRegisters(const std::byte* image) {
  for (unsigned i = 0; i < 8; ++i) {
    X87Register& reg = state_.registers[Physical(i)];
    std::memcpy(&reg.significand, image + 10 * i, 8);
    std::memcpy(&reg.sign_exponent, image + 10 * i + 8, 2);
  }
}

}  // namespace remora::cpu
