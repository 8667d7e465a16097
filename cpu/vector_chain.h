#ifndef REMORA_CPU_VECTOR_CHAIN_H_
#define REMORA_CPU_VECTOR_CHAIN_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/chain.h"
#include "cpu/guest_access.h"
#include "cpu/lower.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"
#include "mm/tlb.h"

// What chained handlers of SSE and AVX instructions are written with.
//
// They do what is common, and hand everything else (a TLB miss, an operand across two pages or misaligned, a number
// that is not ordinary) to the plain handler that the op carries too: CallPlain starts the instruction anew. So these
// have no slow form of their own, no stack frame, and no part in how a fault looks.
//
// They write whole registers of 16 bytes (or 32), also where only a lane changes: a load that is wider than the store
// before it would have to wait until that store has left the CPU.

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
// Sixteen bytes as the result of an instruction of this form.
template <Form kForm, typename V>
[[gnu::always_inline]] inline void WriteVector(CpuState* state, uint8_t number, V value) {
  static_assert(sizeof(V) == 16);
  SetLow16<kForm>(*state, number, std::bit_cast<ByteVec<16>>(value));
}
// As many bytes as the form has.
template <Form kForm, typename V>
[[gnu::always_inline]] inline void WriteWide(CpuState* state, uint8_t number, const V& value) {
  SetWide<kForm>(*state, number, std::bit_cast<Wide<kForm>>(value));
}
// The lowest lane of the result; the others are the first source's.
template <Form kForm, typename T>
[[gnu::always_inline]] inline void WriteLowLane(CpuState* state, const Op* op, T value) {
  auto lanes = ReadVector<Vec<T, 16>>(state, FirstNumber<kForm>(*op));
  lanes[0] = value;
  WriteVector<kForm>(state, op->dst, lanes);
}

// Register `number` or memory. False: to be done by CallPlain. SSE's sixteen bytes in memory have to be aligned, unless
// kUnaligned.
template <Form kForm, typename T, Source kSource, bool kUnaligned = kForm != Form::kSse || sizeof(T) != 16>
[[gnu::always_inline]] inline bool ReadSource(const CpuState* state, const Op* op, const mm::Tlb* tlb, uint8_t number,
                                              T* value) {
  if constexpr (kSource == Source::kRegister) {
    *value = ReadVector<T>(state, number);
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
// The second of two sources.
template <Form kForm, typename T, Source kSource>
[[gnu::always_inline]] inline bool ReadSecond(const CpuState* state, const Op* op, const mm::Tlb* tlb, T* value) {
  return ReadSource<kForm, T, kSource>(state, op, tlb, SecondNumber<kForm>(*op), value);
}

template <typename T, AddressKind kKind, bool kUnaligned = true>
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

// The same for VEX forms, of which there are many: two handlers have to do.
template <Form kForm, typename F>
Handler BySourceOf(const Op& op, F f) {
  if constexpr (kForm == Form::kSse) return BySource(op, f);
  return op.has_memory ? f.template operator()<Source::kAny>() : f.template operator()<Source::kRegister>();
}

// The chained handler of an instruction that LowerSse has lowered, or null: then op->plain does it all.
Handler FindChainedVector(const VectorInstruction& instruction, const Op& op);  // moves, lanes, shuffles
Handler FindChainedFloat(const VectorInstruction& instruction, const Op& op);   // arithmetic, comparison, conversion
Handler FindChainedFma(const VectorInstruction& instruction, const Op& op);     // its scalar forms

}  // namespace remora::cpu

#endif  // REMORA_CPU_VECTOR_CHAIN_H_
