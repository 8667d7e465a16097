#ifndef REMORA_CPU_VECTOR_CHAIN_H_
#define REMORA_CPU_VECTOR_CHAIN_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/chain.h"
#include "cpu/guest_access.h"
#include "cpu/lower.h"
#include "cpu/sse_operands.h"
#include "mm/tlb.h"

// What chained handlers of SSE instructions are written with.
//
// They do what is common, and hand everything else (a TLB miss, an operand across two pages or misaligned, a number
// that is not ordinary) to the plain handler that the op carries too: CallPlain starts the instruction anew. So these
// have no slow form of their own, no stack frame, and no part in how a fault looks.
//
// They write whole registers of 16 bytes, also where only a lane changes: a load that is wider than the store before it
// would have to wait until that store has left the CPU.

namespace remora::cpu {

// Where the second operand is.
enum class Source : uint8_t { kRegister, kBase, kBaseIndex, kAny };

inline constexpr AddressKind AddressKindFor(Source source) {
  return source == Source::kBase        ? AddressKind::kBase
         : source == Source::kBaseIndex ? AddressKind::kBaseIndex
                                        : AddressKind::kAny;
}

// The low bytes of vector register `number`.
template <typename T>
[[gnu::always_inline]] inline T ReadVector(const CpuState* state, uint8_t number) {
  T value;
  std::memcpy(&value, state->vector[number].bytes.data(), sizeof(T));
  return value;
}
template <typename V>
[[gnu::always_inline]] inline void WriteVector(CpuState* state, uint8_t number, V value) {
  static_assert(sizeof(V) == 16);
  std::memcpy(state->vector[number].bytes.data(), &value, 16);
}
// The lowest lane; the others stay.
template <typename T>
[[gnu::always_inline]] inline void WriteLowLane(CpuState* state, uint8_t number, T value) {
  auto lanes = ReadVector<Vec<T, 16>>(state, number);
  lanes[0] = value;
  WriteVector(state, number, lanes);
}

// False: to be done by CallPlain. Sixteen bytes in memory have to be aligned, unless kUnaligned.
template <typename T, Source kSource, bool kUnaligned = sizeof(T) != 16>
[[gnu::always_inline]] inline bool ReadSource(const CpuState* state, const Op* op, const mm::Tlb* tlb, T* value) {
  if constexpr (kSource == Source::kRegister) {
    *value = ReadVector<T>(state, op->src);
    return true;
  } else {
    const uint64_t address = OperandAddress<AddressKindFor(kSource)>(state, op);
    if (!kUnaligned && address % sizeof(T) != 0) [[unlikely]]
      return false;
    const std::byte* host = ProbeGuest<mm::Access::kRead, sizeof(T)>(tlb, address);
    if (host == nullptr) [[unlikely]]
      return false;
    CopyFromGuest(value, host, sizeof(T));
    return true;
  }
}

template <typename T, AddressKind kKind, bool kUnaligned = sizeof(T) != 16>
[[gnu::always_inline]] inline bool WriteMemory(const CpuState* state, const Op* op, const mm::Tlb* tlb, T value) {
  const uint64_t address = OperandAddress<kKind>(state, op);
  if (!kUnaligned && address % sizeof(T) != 0) [[unlikely]]
    return false;
  std::byte* host = ProbeGuest<mm::Access::kWrite, sizeof(T)>(tlb, address);
  if (host == nullptr) [[unlikely]]
    return false;
  CopyToGuest(host, &value, sizeof(T));
  return true;
}

template <typename F>
Handler BySource(const Op& op, F f) {
  if (!op.has_memory) return f.template operator()<Source::kRegister>();
  switch (AddressKindOf(op)) {
    case AddressKind::kBase:
      return f.template operator()<Source::kBase>();
    case AddressKind::kBaseIndex:
      return f.template operator()<Source::kBaseIndex>();
    case AddressKind::kAny:
      return f.template operator()<Source::kAny>();
  }
  return nullptr;
}

// The chained handler of an instruction that LowerSse has lowered, or null: then op->plain does it all.
Handler FindChainedVector(const DecodedInstruction& instruction, const Op& op);  // moves, lanes, shuffles
Handler FindChainedFloat(const DecodedInstruction& instruction, const Op& op);   // arithmetic, comparison, conversion

}  // namespace remora::cpu

#endif  // REMORA_CPU_VECTOR_CHAIN_H_
