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

// Operands of MMX and SSE instructions: registers of 8 or 16 bytes as compiler vectors, sources that are a register or
// memory, the transition that MMX registers ask for.

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

}  // namespace remora::cpu

#endif  // REMORA_CPU_SSE_OPERANDS_H_
