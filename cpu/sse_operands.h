#ifndef REMORA_CPU_SSE_OPERANDS_H_
#define REMORA_CPU_SSE_OPERANDS_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/cpu_state.h"
#include "cpu/handler_env.h"
#include "cpu/op.h"
#include "cpu/x87_unit.h"

// Operands of MMX, SSE and AVX instructions: registers of 8 or 16 bytes as compiler vectors, wider ones as parts of 16,
// sources that are a register or memory, the transition that MMX registers ask for.

namespace remora::cpu {

template <typename T, int kBytes>
using Vec [[gnu::vector_size(kBytes)]] = T;
template <int kBytes>
using ByteVec = Vec<uint8_t, kBytes>;

// kBytes 16: XMM. kBytes 8: MMX, which are the significands of the physical x87 registers.
template <int kBytes>
[[gnu::always_inline]] inline ByteVec<kBytes> GetRegister(const CpuState& state, unsigned number) {
  ByteVec<kBytes> value;
  if constexpr (kBytes == 16) {
    std::memcpy(&value, state.vector[number].bytes.data(), 16);
  } else {
    std::memcpy(&value, &state.x87.registers[number & 7].significand, 8);
  }
  return value;
}

template <int kBytes>
[[gnu::always_inline]] inline void SetRegister(CpuState& state, unsigned number, ByteVec<kBytes> value) {
  if constexpr (kBytes == 16) {
    std::memcpy(state.vector[number].bytes.data(), &value, 16);
  } else {
    X87Register& reg = state.x87.registers[number & 7];
    std::memcpy(&reg.significand, &value, 8);
    reg.sign_exponent = 0xffff;
  }
}

// How a vector instruction is encoded. The SSE form overwrites its first source and leaves what lies above 16 bytes as
// it was; its memory operands of 16 bytes have to be aligned. A VEX form has a destination of its own, clears what lies
// above its width, and reads memory wherever it is (but for VMOVAPS and the like).
enum class Form : uint8_t { kSse, kVex128, kVex256 };
template <Form kForm>
inline constexpr int kNumParts = kForm == Form::kVex256 ? 2 : 1;
template <Form kForm>
inline constexpr int kWidth = 16 * kNumParts<kForm>;

// The bytes of an operand as parts of 16, because that is how AVX works: nearly all its instructions do twice, side by
// side, what SSE's do. No part knows of the other.
template <Form kForm>
struct Wide {
  ByteVec<16> part[kNumParts<kForm>];
};

template <Form kForm>
[[gnu::always_inline]] inline Wide<kForm> GetWide(const CpuState& state, unsigned number) {
  Wide<kForm> value;
  std::memcpy(&value, state.vector[number].bytes.data(), sizeof(value));
  return value;
}
template <Form kForm>
[[gnu::always_inline]] inline void SetWide(CpuState& state, unsigned number, const Wide<kForm>& value) {
  std::byte* bytes = state.vector[number].bytes.data();
  std::memcpy(bytes, &value, sizeof(value));
  if constexpr (kForm != Form::kSse) std::memset(bytes + sizeof(value), 0, sizeof(VectorRegister) - sizeof(value));
}
// Sixteen bytes as the result of an instruction of this form; all above is zero in the VEX forms.
template <Form kForm>
[[gnu::always_inline]] inline void SetLow16(CpuState& state, unsigned number, ByteVec<16> value) {
  SetWide<kForm == Form::kSse ? Form::kSse : Form::kVex128>(state, number, {{value}});
}

// The registers of an instruction with two sources, of which the second may be memory.
template <Form kForm>
[[gnu::always_inline]] inline uint8_t FirstNumber(const Op& op) {
  return kForm == Form::kSse ? op.dst : op.src;
}
template <Form kForm>
[[gnu::always_inline]] inline uint8_t SecondNumber(const Op& op) {
  return kForm == Form::kSse ? op.src : ThirdRegister(op);
}

// What every MMX instruction does to the x87 unit: TOP becomes 0, all tags valid.
inline void EnterMmx(CpuState& state) {
  state.x87.top = 0;
  state.x87.valid = 0xff;
}

// The first thing an MMX instruction does: false where an x87 exception is pending.
inline bool MmxReady(HandlerEnv& env) {
  return X87Unit::Pending(env.state().x87) ? env.Raise(ExitReason::kX87Error) : true;
}

// The second operand: memory or register `op.src`. An XMM one in memory has to be aligned.
template <int kBytes>
[[gnu::always_inline]] inline bool LoadSource(HandlerEnv& env, const Op& op, ByteVec<kBytes>* value) {
  if (!op.has_memory) {
    *value = GetRegister<kBytes>(env.state(), op.src);
    return true;
  }
  const uint64_t address = env.Address(op);
  if constexpr (kBytes == 16) {
    return env.CheckAligned(address, 16) && env.Load(address, value);
  } else {
    // PUNPCKLBW mm, m32 reads four bytes only.
    *value = ByteVec<kBytes>{};
    return env.Read(address, value, op.size < kBytes ? op.size : kBytes);
  }
}

// Register `number`, or memory where there is such an operand.
template <Form kForm>
[[gnu::always_inline]] inline bool LoadWide(HandlerEnv& env, const Op& op, unsigned number, Wide<kForm>* value) {
  if (!op.has_memory) {
    *value = GetWide<kForm>(env.state(), number);
    return true;
  }
  const uint64_t address = env.Address(op);
  return (kForm != Form::kSse || env.CheckAligned(address, 16)) && env.Load(address, value);
}
// The second of two sources.
template <Form kForm>
[[gnu::always_inline]] inline bool LoadSecond(HandlerEnv& env, const Op& op, Wide<kForm>* value) {
  return LoadWide<kForm>(env, op, SecondNumber<kForm>(op), value);
}
// The only source.
template <Form kForm>
[[gnu::always_inline]] inline bool LoadOnly(HandlerEnv& env, const Op& op, Wide<kForm>* value) {
  return LoadWide<kForm>(env, op, op.src, value);
}

// f.template operator()<kForm>() of the form that is asked for: what it returns for kSse tells the type.
template <typename F>
[[gnu::always_inline]] inline auto ByForm(Form form, F f) {
  switch (form) {
    case Form::kVex128:
      return f.template operator()<Form::kVex128>();
    case Form::kVex256:
      return f.template operator()<Form::kVex256>();
    default:
      return f.template operator()<Form::kSse>();
  }
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_SSE_OPERANDS_H_
