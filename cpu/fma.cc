#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "cpu/sse_environment.h"
#include "cpu/sse_format.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// FMA3: a product and a sum, rounded once. F16C: conversions from and to binary16.

namespace remora::cpu {
namespace {

template <typename T>
BitsOf<T> FusedLane(uint32_t mxcsr, unsigned negations, BitsOf<T> a, BitsOf<T> b, BitsOf<T> c, uint8_t* flags) {
  constexpr uint32_t kKnown = kInexact | kInexact << 7;
  const bool negate_product = (negations & Fused::kNegateProduct) != 0;
  const bool negate_addend = (negations & Fused::kNegateAddend) != 0;
  // As in sse_arithmetic.h: where an inexact result is known to change nothing and nothing else can happen.
  if ((mxcsr & (kMxcsrRounding | kKnown)) == kKnown && IsOrdinary<T>(a) && IsOrdinary<T>(b) && IsOrdinary<T>(c))
      [[likely]] {
    const T x = std::bit_cast<T>(a), y = std::bit_cast<T>(b), z = std::bit_cast<T>(c);
    const auto result = std::bit_cast<BitsOf<T>>(std::fma(negate_product ? -x : x, y, negate_addend ? -z : z));
    if (IsInside<T>(result)) [[likely]]
      return result;
  }
  FloatEnvironment env = SseEnvironment(mxcsr);
  const BitsOf<T> result = Traits<T>::Pack(MultiplyAdd(Traits<T>::Unpack(a), Traits<T>::Unpack(b), Traits<T>::Unpack(c),
                                                       negate_product, negate_addend, Traits<T>::kFormat, env));
  *flags |= env.flags;
  return result;
}

template <typename T>
BitsOf<T> Ordered(uint32_t mxcsr, unsigned control, BitsOf<T> first, BitsOf<T> second, BitsOf<T> third,
                  uint8_t* flags) {
  switch (control >> Fused::kOrderShift) {
    case Fused::k132:
      return FusedLane<T>(mxcsr, control, first, third, second, flags);
    case Fused::k213:
      return FusedLane<T>(mxcsr, control, second, first, third, flags);
    default:
      return FusedLane<T>(mxcsr, control, second, third, first, flags);
  }
}

template <typename T>
bool ScalarFused(HandlerEnv& env, const Op& op) {
  BitsOf<T> third;
  if (!LoadScalar<T>(env, op, SecondNumber<Form::kVex128>(op), &third)) return false;
  CpuState& state = env.state();
  uint8_t flags = 0;
  const BitsOf<T> result =
      Ordered<T>(state.mxcsr, op.immediate8, GetScalar<T>(state, op.dst), GetScalar<T>(state, op.src), third, &flags);
  if (!CommitSse(env, flags)) return false;
  ByteVec<16> whole = GetRegister<16>(state, op.dst);
  std::memcpy(&whole, &result, sizeof(T));
  SetLow16<Form::kVex128>(state, op.dst, whole);
  return true;
}

template <typename T>
struct PackedFused {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    Numbers<kForm, T> third;
    if (!LoadNumbers<kForm, T>(env, op, SecondNumber<kForm>(op), &third)) return false;
    CpuState& state = env.state();
    auto first = GetNumbers<kForm, T>(state, op.dst);
    const auto second = GetNumbers<kForm, T>(state, op.src);
    uint8_t flags = 0;
    for (size_t i = 0; i < first.size(); ++i) {
      const bool flip = (op.immediate8 & Fused::kAlternate) != 0 && (i & 1) != 0;
      first[i] = Ordered<T>(state.mxcsr, op.immediate8 ^ (flip ? Fused::kNegateAddend : 0), first[i], second[i],
                            third[i], &flags);
    }
    if (!CommitSse(env, flags)) return false;
    SetNumbers<kForm, T>(state, op.dst, first);
    return true;
  }
};

bool Skip(std::string_view* text, std::string_view part) {
  if (!text->starts_with(part)) return false;
  text->remove_prefix(part.size());
  return true;
}

PlainHandler FindFused(const VectorInstruction& in, Op* op) {
  std::string_view name = ZydisMnemonicGetString(in.in.info.mnemonic);
  unsigned control = 0;
  if (!Skip(&name, "vf")) return nullptr;
  if (Skip(&name, "maddsub"))
    control = Fused::kAlternate | Fused::kNegateAddend;
  else if (Skip(&name, "msubadd"))
    control = Fused::kAlternate;
  else if (Skip(&name, "madd"))
    control = 0;
  else if (Skip(&name, "msub"))
    control = Fused::kNegateAddend;
  else if (Skip(&name, "nmadd"))
    control = Fused::kNegateProduct;
  else if (Skip(&name, "nmsub"))
    control = Fused::kNegateProduct | Fused::kNegateAddend;
  else
    return nullptr;
  if (Skip(&name, "132"))
    control |= unsigned{Fused::k132} << Fused::kOrderShift;
  else if (Skip(&name, "213"))
    control |= unsigned{Fused::k213} << Fused::kOrderShift;
  else if (Skip(&name, "231"))
    control |= unsigned{Fused::k231} << Fused::kOrderShift;
  else
    return nullptr;
  op->immediate8 = static_cast<uint8_t>(control);
  if (name == "ss") return ScalarFused<float>;
  if (name == "sd") return ScalarFused<double>;
  if (name == "ps") return HandlerOf<PackedFused<float>>(in.form);
  return name == "pd" ? HandlerOf<PackedFused<double>>(in.form) : nullptr;
}

// --- F16C ---

// Exact. Denormals are numbers as others, whatever MXCSR says, and raise nothing.
uint32_t FromHalf(uint16_t half, uint8_t* flags) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16, field = (half >> 10) & 31u, fraction = half & 0x3ffu;
  if (field == 31) {
    if (fraction == 0) return sign | 0x7f800000;
    if ((fraction & 0x200) == 0) *flags |= kInvalid;
    return sign | 0x7fc00000 | fraction << 13;
  }
  if (field != 0) return sign | (field + 112) << 23 | fraction << 13;
  if (fraction == 0) return sign;
  const int shift = std::countl_zero(fraction) - 21;  // until bit 10 is set
  return sign | static_cast<uint32_t>(113 - shift) << 23 | ((fraction << shift) & 0x3ff) << 13;
}

// FTZ does not count, DAZ does.
uint16_t ToHalf(uint32_t mxcsr, unsigned control, uint32_t single, uint8_t* flags) {
  constexpr FloatFormat kBinary16{11, -14, 15, 0};
  FloatEnvironment env = SseEnvironment(mxcsr);
  env.flush_to_zero = false;
  if ((control & 4) == 0) env.rounding = static_cast<Rounding>(control & 3);
  const Unpacked operand = Unpack32(single);
  const Unpacked value = Convert(operand, kBinary16, env);
  *flags |= env.flags;
  const unsigned sign = value.sign ? 0x8000 : 0;
  switch (value.cls) {
    case FloatClass::kZero:
      return static_cast<uint16_t>(sign);
    case FloatClass::kInfinity:
      return static_cast<uint16_t>(sign | 0x7c00);
    case FloatClass::kFinite: {
      const unsigned significand = static_cast<unsigned>(value.significand >> 53);  // eleven bits
      if (value.exponent < -14)
        return static_cast<uint16_t>(sign | (value.exponent < -25 ? 0 : significand >> (-14 - value.exponent)));
      return static_cast<uint16_t>(sign | static_cast<unsigned>(value.exponent + 15) << 10 | (significand & 0x3ff));
    }
    default:
      return static_cast<uint16_t>(sign | 0x7c00 | ((value.significand >> 53) & 0x3ff));
  }
}

struct HalvesToSingles {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    std::array<uint16_t, kWidth<kForm> / 4> from;
    if (!op.has_memory)
      std::memcpy(&from, env.state().vector[op.src].bytes.data(), sizeof(from));
    else if (!env.Load(env.Address(op), &from))
      return false;
    Numbers<kForm, float> to;
    uint8_t flags = 0;
    for (size_t i = 0; i < from.size(); ++i) to[i] = FromHalf(from[i], &flags);
    if (!CommitSse(env, flags)) return false;
    SetNumbers<kForm, float>(env.state(), op.dst, to);
    return true;
  }
};

// To a register or memory, with the register first or second.
struct SinglesToHalves {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    const auto from = GetNumbers<kForm, float>(state, op.has_memory ? op.dst : op.src);
    std::array<uint16_t, kWidth<kForm> / 4> to;
    uint8_t flags = 0;
    for (size_t i = 0; i < from.size(); ++i) to[i] = ToHalf(state.mxcsr, op.immediate8, from[i], &flags);
    // A fault comes before what the conversion has to tell.
    if (op.has_memory && flags != 0 && !env.ProbeWrite(env.Address(op), sizeof(to))) return false;
    if (!CommitSse(env, flags)) return false;
    if (op.has_memory) return env.Store(env.Address(op), to);
    ByteVec<16> value = {};
    std::memcpy(&value, &to, sizeof(to));
    SetLow16<Form::kVex128>(state, op.dst, value);
    return true;
  }
};

}  // namespace

PlainHandler FindFma(const VectorInstruction& in, Op* op) {
  switch (in.mnemonic) {
    case ZYDIS_MNEMONIC_VCVTPH2PS:
      return HandlerOf<HalvesToSingles>(in.form);
    case ZYDIS_MNEMONIC_VCVTPS2PH:
      return HandlerOf<SinglesToHalves>(in.form);
    default:
      return FindFused(in, op);
  }
}

}  // namespace remora::cpu
