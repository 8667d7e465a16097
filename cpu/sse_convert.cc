#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cpu/sse_environment.h"
#include "cpu/sse_format.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// SSE and AVX conversions between integers, float and double, MMX forms included. Fast paths as in sse_float.cc: the
// host's arithmetic where nothing but inexact can be raised.

namespace remora::cpu {
namespace {

// --- one lane ---

template <typename T, typename Integer, bool kTruncate>
Integer FloatToInteger(uint32_t mxcsr, BitsOf<T> bits, uint8_t* flags) {
  if (kTruncate && IsOrdinary<T>(bits)) [[likely]] {
    const T value = std::bit_cast<T>(bits);
    constexpr T kLimit = static_cast<T>(uint64_t{1} << (8 * sizeof(Integer) - 2)) * 2;
    if (std::abs(value) < kLimit) {
      const auto integer = static_cast<Integer>(value);
      if (static_cast<T>(integer) != value) *flags |= kInexact;
      return integer;
    }
  }
  FloatEnvironment env = SseEnvironment(mxcsr);
  const auto integer = static_cast<Integer>(
      ToInteger(Traits<T>::Unpack(bits), 8 * sizeof(Integer), kTruncate ? Rounding::kTruncate : env.rounding, env));
  *flags |= env.flags;
  return integer;
}

template <typename Integer, typename T>
BitsOf<T> IntegerToFloat(uint32_t mxcsr, Integer value, uint8_t* flags) {
  const uint64_t magnitude =
      value < 0 ? uint64_t{0} - static_cast<uint64_t>(int64_t{value}) : static_cast<uint64_t>(int64_t{value});
  const bool exact =
      magnitude == 0 || std::bit_width(magnitude) - std::countr_zero(magnitude) <= Traits<T>::kFractionBits + 1;
  if (exact) [[likely]]
    return std::bit_cast<BitsOf<T>>(static_cast<T>(value));
  FloatEnvironment env = SseEnvironment(mxcsr);
  const BitsOf<T> result = Traits<T>::Pack(Convert(FromInteger(value), Traits<T>::kFormat, env));
  *flags |= env.flags;
  return result;
}

template <typename From, typename To>
BitsOf<To> FloatToFloat(uint32_t mxcsr, BitsOf<From> bits, uint8_t* flags) {
  if (IsOrdinary<From>(bits) && (mxcsr & kMxcsrRounding) == 0) [[likely]] {
    const auto result = static_cast<To>(std::bit_cast<From>(bits));
    const auto result_bits = std::bit_cast<BitsOf<To>>(result);
    if (IsInside<To>(result_bits) || IsZero<From>(bits)) {
      if (static_cast<From>(result) != std::bit_cast<From>(bits)) *flags |= kInexact;
      return result_bits;
    }
  }
  FloatEnvironment env = SseEnvironment(mxcsr);
  const BitsOf<To> result = Traits<To>::Pack(Convert(Traits<From>::Unpack(bits), Traits<To>::kFormat, env));
  *flags |= env.flags;
  return result;
}

// --- scalars and general registers ---

template <typename Integer, typename T>
struct GeneralToScalar {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    Integer value;
    if (!op.has_memory)
      value = static_cast<Integer>(state.gpr[SecondNumber<kForm>(op)]);
    else if (!env.Load(env.Address(op), &value))
      return false;
    uint8_t flags = 0;
    const BitsOf<T> result = IntegerToFloat<Integer, T>(state.mxcsr, value, &flags);
    if (!CommitSse(env, flags)) return false;
    SetScalar<kForm, T>(state, op, result);
    return true;
  }
};

template <typename T, typename Integer, bool kTruncate>
bool ScalarToGeneral(HandlerEnv& env, const Op& op) {
  BitsOf<T> source;
  if (!LoadScalar<T>(env, op, op.src, &source)) return false;
  CpuState& state = env.state();
  uint8_t flags = 0;
  const Integer result = FloatToInteger<T, Integer, kTruncate>(state.mxcsr, source, &flags);
  if (!CommitSse(env, flags)) return false;
  state.gpr[op.dst] = static_cast<std::make_unsigned_t<Integer>>(result);
  return true;
}

template <typename From, typename To>
struct ScalarToScalar {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    BitsOf<From> source;
    if (!LoadScalar<From>(env, op, SecondNumber<kForm>(op), &source)) return false;
    uint8_t flags = 0;
    const BitsOf<To> result = FloatToFloat<From, To>(env.state().mxcsr, source, &flags);
    if (!CommitSse(env, flags)) return false;
    SetScalar<kForm, To>(env.state(), op, result);
    return true;
  }
};

// --- packed ---

// Reads kLanes lanes of From from a register or memory. Of SSE's forms only a whole 16 bytes have to be aligned.
template <Form kForm, typename From, size_t kLanes>
bool LoadLanes(HandlerEnv& env, const Op& op, From (&lanes)[kLanes]) {
  if (!op.has_memory) {
    std::memcpy(lanes, env.state().vector[op.src].bytes.data(), sizeof(lanes));
    return true;
  }
  const uint64_t address = env.Address(op);
  if (kForm == Form::kSse && sizeof(lanes) == 16 && !env.CheckAligned(address, 16)) return false;
  return env.Read(address, lanes, sizeof(lanes));
}

// Fills the register's rest with zeros, to 16 bytes at least: the narrowing conversions do.
template <Form kForm, typename To, size_t kLanes>
void SetLanes(CpuState& state, unsigned number, const To (&lanes)[kLanes]) {
  Wide<kForm> value = {};
  std::memcpy(&value, lanes, sizeof(lanes));
  SetWide<kForm>(state, number, value);
}

template <typename T, bool kTruncate>
struct PackedToInteger {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    constexpr size_t kLanes = kWidth<kForm> / sizeof(T);
    BitsOf<T> from[kLanes];
    if (!LoadLanes<kForm>(env, op, from)) return false;
    int32_t to[kLanes];
    uint8_t flags = 0;
    for (size_t i = 0; i < kLanes; ++i)
      to[i] = FloatToInteger<T, int32_t, kTruncate>(env.state().mxcsr, from[i], &flags);
    if (!CommitSse(env, flags)) return false;
    SetLanes<kForm>(env.state(), op.dst, to);
    return true;
  }
};

template <typename T>
struct PackedFromInteger {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    constexpr size_t kLanes = kWidth<kForm> / sizeof(T);
    int32_t from[kLanes];
    if (!LoadLanes<kForm>(env, op, from)) return false;
    BitsOf<T> to[kLanes];
    uint8_t flags = 0;
    for (size_t i = 0; i < kLanes; ++i) to[i] = IntegerToFloat<int32_t, T>(env.state().mxcsr, from[i], &flags);
    if (!CommitSse(env, flags)) return false;
    SetLanes<kForm>(env.state(), op.dst, to);
    return true;
  }
};

template <typename From, typename To>
struct PackedToPacked {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    constexpr size_t kLanes = kWidth<kForm> / 8;  // of the wider type
    BitsOf<From> from[kLanes];
    if (!LoadLanes<kForm>(env, op, from)) return false;
    BitsOf<To> to[kLanes];
    uint8_t flags = 0;
    for (size_t i = 0; i < kLanes; ++i) to[i] = FloatToFloat<From, To>(env.state().mxcsr, from[i], &flags);
    if (!CommitSse(env, flags)) return false;
    SetLanes<kForm>(env.state(), op.dst, to);
    return true;
  }
};

// --- MMX ---

// CVTPS2PI, CVTTPS2PI, CVTPD2PI, CVTTPD2PI: two lanes.
template <typename T, bool kTruncate>
bool PackedToMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  BitsOf<T> from[2];
  if (!LoadLanes<Form::kSse>(env, op, from)) return false;
  CpuState& state = env.state();
  Vec<int32_t, 8> to;
  uint8_t flags = 0;
  for (int i = 0; i < 2; ++i) to[i] = FloatToInteger<T, int32_t, kTruncate>(state.mxcsr, from[i], &flags);
  EnterMmx(state);  // before an unmasked exception is seen
  if (!CommitSse(env, flags)) return false;
  SetRegister<8>(state, op.dst, std::bit_cast<ByteVec<8>>(to));
  return true;
}

// CVTPI2PS keeps the upper half; CVTPI2PD fills the register. With a memory operand they are no MMX instructions.
template <typename T>
bool MmxToPacked(HandlerEnv& env, const Op& op) {
  if (!op.has_memory && !MmxReady(env)) return false;
  ByteVec<8> source;
  if (!LoadSource<8>(env, op, &source)) return false;
  CpuState& state = env.state();
  const auto from = std::bit_cast<Vec<int32_t, 8>>(source);
  BitsOf<T> to[2];
  uint8_t flags = 0;
  for (int i = 0; i < 2; ++i) to[i] = IntegerToFloat<int32_t, T>(state.mxcsr, from[i], &flags);
  if (!op.has_memory) EnterMmx(state);
  if (!CommitSse(env, flags)) return false;
  std::memcpy(state.vector[op.dst].bytes.data(), to, sizeof(to));
  return true;
}

template <typename T>
PlainHandler FromGeneral(const VectorInstruction& in) {
  // The last operand is the integer.
  const bool wide = in.in.operands[in.in.info.operand_count_visible - 1].size == 64;
  return wide ? HandlerOf<GeneralToScalar<int64_t, T>>(in.form) : HandlerOf<GeneralToScalar<int32_t, T>>(in.form);
}
template <typename T, bool kTruncate>
PlainHandler ToGeneral(const VectorInstruction& in) {
  return in.in.operands[0].size == 64 ? ScalarToGeneral<T, int64_t, kTruncate> : ScalarToGeneral<T, int32_t, kTruncate>;
}

}  // namespace

PlainHandler FindSseConvert(const VectorInstruction& in) {
  const Form form = in.form;
  switch (in.mnemonic) {
    case ZYDIS_MNEMONIC_CVTSI2SS:
      return FromGeneral<float>(in);
    case ZYDIS_MNEMONIC_CVTSI2SD:
      return FromGeneral<double>(in);
    case ZYDIS_MNEMONIC_CVTSS2SI:
      return ToGeneral<float, false>(in);
    case ZYDIS_MNEMONIC_CVTTSS2SI:
      return ToGeneral<float, true>(in);
    case ZYDIS_MNEMONIC_CVTSD2SI:
      return ToGeneral<double, false>(in);
    case ZYDIS_MNEMONIC_CVTTSD2SI:
      return ToGeneral<double, true>(in);
    case ZYDIS_MNEMONIC_CVTSS2SD:
      return HandlerOf<ScalarToScalar<float, double>>(form);
    case ZYDIS_MNEMONIC_CVTSD2SS:
      return HandlerOf<ScalarToScalar<double, float>>(form);
    case ZYDIS_MNEMONIC_CVTPS2PD:
      return HandlerOf<PackedToPacked<float, double>>(form);
    case ZYDIS_MNEMONIC_CVTPD2PS:
      return HandlerOf<PackedToPacked<double, float>>(form);
    case ZYDIS_MNEMONIC_CVTDQ2PS:
      return HandlerOf<PackedFromInteger<float>>(form);
    case ZYDIS_MNEMONIC_CVTDQ2PD:
      return HandlerOf<PackedFromInteger<double>>(form);
    case ZYDIS_MNEMONIC_CVTPS2DQ:
      return HandlerOf<PackedToInteger<float, false>>(form);
    case ZYDIS_MNEMONIC_CVTTPS2DQ:
      return HandlerOf<PackedToInteger<float, true>>(form);
    case ZYDIS_MNEMONIC_CVTPD2DQ:
      return HandlerOf<PackedToInteger<double, false>>(form);
    case ZYDIS_MNEMONIC_CVTTPD2DQ:
      return HandlerOf<PackedToInteger<double, true>>(form);
    case ZYDIS_MNEMONIC_CVTPS2PI:
      return PackedToMmx<float, false>;
    case ZYDIS_MNEMONIC_CVTTPS2PI:
      return PackedToMmx<float, true>;
    case ZYDIS_MNEMONIC_CVTPD2PI:
      return PackedToMmx<double, false>;
    case ZYDIS_MNEMONIC_CVTTPD2PI:
      return PackedToMmx<double, true>;
    case ZYDIS_MNEMONIC_CVTPI2PS:
      return MmxToPacked<float>;
    case ZYDIS_MNEMONIC_CVTPI2PD:
      return MmxToPacked<double>;
    default:
      return nullptr;
  }
}

}  // namespace remora::cpu
