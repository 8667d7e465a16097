#ifndef REMORA_CPU_SIMPLE_OPS_H_
#define REMORA_CPU_SIMPLE_OPS_H_

#include <cstdint>

#include "cpu/alu.h"
#include "cpu/chain.h"
#include "cpu/op.h"

// Instructions on general registers that can neither fail nor branch: what programs have most of between their accesses
// to memory. Two or three side by side are one handler (FuseSimple), since going from handler to handler takes as long
// as what they do.

namespace remora::cpu {

// What they do: to the registers, and to the flags in the chain's three words.
#define REMORA_SIMPLE                                                                                         \
  [[gnu::always_inline]] static void Do([[maybe_unused]] CpuState* state, [[maybe_unused]] const Op* op,      \
                                        [[maybe_unused]] uint64_t& flag_a, [[maybe_unused]] uint64_t& flag_b, \
                                        [[maybe_unused]] uint64_t& flag_kind)

template <typename T>
struct MoveRegister {
  REMORA_SIMPLE { WriteRegister<T>(state, op->dst, ReadRegister<T>(state, op->src)); }
};
template <typename T>
struct MoveImmediate {
  REMORA_SIMPLE { WriteRegister<T>(state, op->dst, static_cast<T>(op->immediate)); }
};
template <typename T, AddressKind kKind>
struct MoveAddress {
  REMORA_SIMPLE { WriteRegister<T>(state, op->dst, static_cast<T>(OperandOffset<kKind>(state, op))); }
};
template <Alu kAlu, typename T>
struct RegisterWithRegister {
  REMORA_SIMPLE {
    const T result =
        Compute<kAlu, T>(ReadRegister<T>(state, op->dst), ReadRegister<T>(state, op->src), flag_a, flag_b, flag_kind);
    if constexpr (WritesResult(kAlu)) WriteRegister<T>(state, op->dst, result);
  }
};
template <Alu kAlu, typename T>
struct RegisterWithImmediate {
  REMORA_SIMPLE {
    const T result =
        Compute<kAlu, T>(ReadRegister<T>(state, op->dst), static_cast<T>(op->immediate), flag_a, flag_b, flag_kind);
    if constexpr (WritesResult(kAlu)) WriteRegister<T>(state, op->dst, result);
  }
};
// XOR or SUB of a register with itself.
template <Alu kAlu, typename T>
struct ClearRegister {
  REMORA_SIMPLE {
    WriteRegister<T>(state, op->dst, 0);
    flag_a = 0;
    flag_b = 0;
    flag_kind = kFlagWord<FlagKindOf(kAlu), T>;
  }
};
#undef REMORA_SIMPLE

// Does them one after another.
template <typename First, typename... Others>
REMORA_CHAINED void Simple(REMORA_PARAMS) {
  First::Do(state, op, flag_a, flag_b, flag_kind);
  ((++op, Others::Do(state, op, flag_a, flag_b, flag_kind)), ...);
  REMORA_TAIL Next(REMORA_ARGS);
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_SIMPLE_OPS_H_
