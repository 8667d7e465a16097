#include <bit>
#include <cmath>
#include <cstdint>

#include "cpu/sse_environment.h"
#include "cpu/sse_format.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// SSE and SSE2 conversions between integers, float and double, MMX forms included. Fast paths as in sse_float.cc: the
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
bool GeneralToScalar(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  Integer value;
  if (!op.has_memory)
    value = static_cast<Integer>(state.gpr[op.src]);
  else if (!env.Load(env.Address(op), &value))
    return false;
  uint8_t flags = 0;
  const BitsOf<T> result = IntegerToFloat<Integer, T>(state.mxcsr, value, &flags);
  if (!CommitSse(env, flags)) return false;
  SetScalar<T>(state, op.dst, result);
  return true;
}

template <typename T, typename Integer, bool kTruncate>
bool ScalarToGeneral(HandlerEnv& env, const Op& op) {
  BitsOf<T> source;
  if (!LoadScalar<T>(env, op, &source)) return false;
  CpuState& state = env.state();
  uint8_t flags = 0;
  const Integer result = FloatToInteger<T, Integer, kTruncate>(state.mxcsr, source, &flags);
  if (!CommitSse(env, flags)) return false;
  state.gpr[op.dst] = static_cast<std::make_unsigned_t<Integer>>(result);
  return true;
}

template <typename From, typename To>
bool ScalarToScalar(HandlerEnv& env, const Op& op) {
  BitsOf<From> source;
  if (!LoadScalar<From>(env, op, &source)) return false;
  uint8_t flags = 0;
  const BitsOf<To> result = FloatToFloat<From, To>(env.state().mxcsr, source, &flags);
  if (!CommitSse(env, flags)) return false;
  SetScalar<To>(env.state(), op.dst, result);
  return true;
}

// --- packed ---

// Reads kLanes lanes of From from a register or memory. Only a whole 16 bytes have to be aligned.
template <typename From, int kLanes>
bool LoadLanes(HandlerEnv& env, const Op& op, From (&lanes)[kLanes]) {
  if (!op.has_memory) {
    std::memcpy(lanes, env.state().vector[op.src].bytes.data(), sizeof(lanes));
    return true;
  }
  const uint64_t address = env.Address(op);
  if (sizeof(lanes) == 16 && !env.CheckAligned(address, 16)) return false;
  return env.Read(address, lanes, sizeof(lanes));
}

// Fills the register's rest with zeros: the narrowing conversions do.
template <typename To, int kLanes>
void SetLanes(CpuState& state, unsigned number, const To (&lanes)[kLanes]) {
  std::byte* bytes = state.vector[number].bytes.data();
  std::memcpy(bytes, lanes, sizeof(lanes));
  std::memset(bytes + sizeof(lanes), 0, 16 - sizeof(lanes));
}

template <typename T, bool kTruncate>
bool PackedToInteger(HandlerEnv& env, const Op& op) {
  constexpr int kLanes = 16 / sizeof(T);
  BitsOf<T> from[kLanes];
  if (!LoadLanes(env, op, from)) return false;
  int32_t to[kLanes];
  uint8_t flags = 0;
  for (int i = 0; i < kLanes; ++i) to[i] = FloatToInteger<T, int32_t, kTruncate>(env.state().mxcsr, from[i], &flags);
  if (!CommitSse(env, flags)) return false;
  SetLanes(env.state(), op.dst, to);
  return true;
}

template <typename T>
bool PackedFromInteger(HandlerEnv& env, const Op& op) {
  constexpr int kLanes = 16 / sizeof(T);
  int32_t from[kLanes];
  if (!LoadLanes(env, op, from)) return false;
  BitsOf<T> to[kLanes];
  uint8_t flags = 0;
  for (int i = 0; i < kLanes; ++i) to[i] = IntegerToFloat<int32_t, T>(env.state().mxcsr, from[i], &flags);
  if (!CommitSse(env, flags)) return false;
  SetLanes(env.state(), op.dst, to);
  return true;
}

template <typename From, typename To>
bool PackedToPacked(HandlerEnv& env, const Op& op) {
  BitsOf<From> from[2];
  if (!LoadLanes(env, op, from)) return false;
  BitsOf<To> to[2];
  uint8_t flags = 0;
  for (int i = 0; i < 2; ++i) to[i] = FloatToFloat<From, To>(env.state().mxcsr, from[i], &flags);
  if (!CommitSse(env, flags)) return false;
  SetLanes(env.state(), op.dst, to);
  return true;
}

// --- MMX ---

// CVTPS2PI, CVTTPS2PI, CVTPD2PI, CVTTPD2PI: two lanes.
template <typename T, bool kTruncate>
bool PackedToMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  BitsOf<T> from[2];
  if (!LoadLanes(env, op, from)) return false;
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

}  // namespace

PlainHandler FindSseConvert(const DecodedInstruction& instruction) {
  const bool wide_source = instruction.operands[1].size == 64;
  const bool wide_result = instruction.operands[0].size == 64;
  switch (instruction.info.mnemonic) {
    case ZYDIS_MNEMONIC_CVTSI2SS:
      return wide_source ? GeneralToScalar<int64_t, float> : GeneralToScalar<int32_t, float>;
    case ZYDIS_MNEMONIC_CVTSI2SD:
      return wide_source ? GeneralToScalar<int64_t, double> : GeneralToScalar<int32_t, double>;
    case ZYDIS_MNEMONIC_CVTSS2SI:
      return wide_result ? ScalarToGeneral<float, int64_t, false> : ScalarToGeneral<float, int32_t, false>;
    case ZYDIS_MNEMONIC_CVTTSS2SI:
      return wide_result ? ScalarToGeneral<float, int64_t, true> : ScalarToGeneral<float, int32_t, true>;
    case ZYDIS_MNEMONIC_CVTSD2SI:
      return wide_result ? ScalarToGeneral<double, int64_t, false> : ScalarToGeneral<double, int32_t, false>;
    case ZYDIS_MNEMONIC_CVTTSD2SI:
      return wide_result ? ScalarToGeneral<double, int64_t, true> : ScalarToGeneral<double, int32_t, true>;
    case ZYDIS_MNEMONIC_CVTSS2SD:
      return ScalarToScalar<float, double>;
    case ZYDIS_MNEMONIC_CVTSD2SS:
      return ScalarToScalar<double, float>;
    case ZYDIS_MNEMONIC_CVTPS2PD:
      return PackedToPacked<float, double>;
    case ZYDIS_MNEMONIC_CVTPD2PS:
      return PackedToPacked<double, float>;
    case ZYDIS_MNEMONIC_CVTDQ2PS:
      return PackedFromInteger<float>;
    case ZYDIS_MNEMONIC_CVTDQ2PD:
      return PackedFromInteger<double>;
    case ZYDIS_MNEMONIC_CVTPS2DQ:
      return PackedToInteger<float, false>;
    case ZYDIS_MNEMONIC_CVTTPS2DQ:
      return PackedToInteger<float, true>;
    case ZYDIS_MNEMONIC_CVTPD2DQ:
      return PackedToInteger<double, false>;
    case ZYDIS_MNEMONIC_CVTTPD2DQ:
      return PackedToInteger<double, true>;
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
