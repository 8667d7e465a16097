#ifndef REMORA_CPU_SSE_FORMAT_H_
#define REMORA_CPU_SSE_FORMAT_H_

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "cpu/handler_env.h"
#include "cpu/op.h"
#include "cpu/soft_float.h"
#include "cpu/sse_operands.h"

// float and double as SSE and AVX handlers see them: bit patterns, and what can be told from an exponent field.

namespace remora::cpu {

template <typename T>
struct Traits;
template <>
struct Traits<float> {
  using Bits = uint32_t;
  static constexpr int kFractionBits = 23;
  static constexpr Bits kMaxField = 0xff;
  static constexpr const FloatFormat& kFormat = kBinary32;
  static Unpacked Unpack(Bits bits) { return Unpack32(bits); }
  static Bits Pack(const Unpacked& value) { return Pack32(value); }
};
template <>
struct Traits<double> {
  using Bits = uint64_t;
  static constexpr int kFractionBits = 52;
  static constexpr Bits kMaxField = 0x7ff;
  static constexpr const FloatFormat& kFormat = kBinary64;
  static Unpacked Unpack(Bits bits) { return Unpack64(bits); }
  static Bits Pack(const Unpacked& value) { return Pack64(value); }
};

template <typename T>
using BitsOf = typename Traits<T>::Bits;

template <typename T>
inline BitsOf<T> Field(BitsOf<T> bits) {
  return (bits >> Traits<T>::kFractionBits) & Traits<T>::kMaxField;
}
template <typename T>
inline bool IsZero(BitsOf<T> bits) {
  return static_cast<BitsOf<T>>(bits << 1) == 0;
}
// Neither denormal nor infinite nor NaN.
template <typename T>
inline bool IsOrdinary(BitsOf<T> bits) {
  return Field<T>(bits) - 1 < Traits<T>::kMaxField - 1 || IsZero<T>(bits);
}
// A result that neither overflowed nor underflowed on the way: well inside the range of normal numbers.
template <typename T>
inline bool IsInside(BitsOf<T> bits) {
  return Field<T>(bits) - 2 < Traits<T>::kMaxField - 3;
}

// The lowest lane of register `number`, or memory.
template <typename T>
inline bool LoadScalar(HandlerEnv& env, const Op& op, unsigned number, BitsOf<T>* value) {
  if (op.has_memory) return env.Load(env.Address(op), value);
  std::memcpy(value, env.state().vector[number].bytes.data(), sizeof(T));
  return true;
}

template <typename T>
inline BitsOf<T> GetScalar(const CpuState& state, unsigned number) {
  BitsOf<T> value;
  std::memcpy(&value, state.vector[number].bytes.data(), sizeof(T));
  return value;
}
// The result of a scalar instruction: the first source's bytes around it.
template <Form kForm, typename T>
inline void SetScalar(CpuState& state, const Op& op, BitsOf<T> value) {
  ByteVec<16> whole = GetRegister<16>(state, FirstNumber<kForm>(op));
  std::memcpy(&whole, &value, sizeof(T));
  SetLow16<kForm>(state, op.dst, whole);
}

// All lanes of an operand.
template <Form kForm, typename T>
using Numbers = std::array<BitsOf<T>, kWidth<kForm> / sizeof(T)>;
template <Form kForm, typename T>
inline Numbers<kForm, T> GetNumbers(const CpuState& state, unsigned number) {
  return std::bit_cast<Numbers<kForm, T>>(GetWide<kForm>(state, number));
}
template <Form kForm, typename T>
inline void SetNumbers(CpuState& state, unsigned number, const Numbers<kForm, T>& numbers) {
  SetWide<kForm>(state, number, std::bit_cast<Wide<kForm>>(numbers));
}
template <Form kForm, typename T>
inline bool LoadNumbers(HandlerEnv& env, const Op& op, unsigned number, Numbers<kForm, T>* numbers) {
  Wide<kForm> value;
  if (!LoadWide<kForm>(env, op, number, &value)) return false;
  *numbers = std::bit_cast<Numbers<kForm, T>>(value);
  return true;
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_SSE_FORMAT_H_
