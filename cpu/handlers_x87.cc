// Loads, stores and arithmetic of the x87 unit where all is ordinary: see x87_ordinary.h for what that means,
// x87_unit.h for what else there is.

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "cpu/chain.h"
#include "cpu/guest_access.h"
#include "cpu/x87_chain.h"
#include "cpu/x87_ordinary.h"
#include "cpu/x87_unit.h"

namespace remora::cpu {
namespace {

using Arithmetic = X87Unit::Arithmetic;

// All exceptions masked (so that none is pending), rounding to nearest, 64 bits of precision.
[[gnu::always_inline]] inline bool IsDefault(const X87State& x87) {
  constexpr uint16_t kRoundingAndPrecision = 0x0f00, kNearestExtended = 0x0300;
  return (x87.control & (kRoundingAndPrecision | kAllFloatFlags)) == (kNearestExtended | kAllFloatFlags);
}
[[gnu::always_inline]] inline unsigned Physical(const X87State& x87, unsigned i) { return (x87.top + i) & 7; }
[[gnu::always_inline]] inline bool IsFull(const X87State& x87, unsigned physical) {
  return ((x87.valid >> physical) & 1) != 0;
}
[[gnu::always_inline]] inline Float80 Get(const X87State& x87, unsigned physical) {
  return {x87.registers[physical].significand, x87.registers[physical].sign_exponent};
}
[[gnu::always_inline]] inline void Put(X87State& x87, unsigned physical, Float80 value) {
  x87.registers[physical] = {value.significand, value.sign_exponent};
}
// FIP and FOP.
[[gnu::always_inline]] inline void Record(CpuState* state, const Op* op) {
  state->x87.last_ip = state->rip + op->offset;
  state->x87.last_opcode = static_cast<uint16_t>(op->src << 8 | op->immediate8);
}
[[gnu::always_inline]] inline void RecordWithMemory(CpuState* state, const Op* op) {
  Record(state, op);
  state->x87.last_data = OperandOffset<AddressKind::kAny>(state, op);
}
// What an instruction without an exception leaves in the status word.
[[gnu::always_inline]] inline void ClearC1(X87State& x87) { x87.status &= static_cast<uint16_t>(~kX87C1); }
[[gnu::always_inline]] inline void Tell(X87State& x87, const OrdinaryResult& result) {
  x87.status = static_cast<uint16_t>((x87.status & ~kX87C1) | (result.inexact ? kInexact : 0) |
                                     (result.rounded_up ? kX87C1 : 0));
}
// The register below ST(0) is free.
[[gnu::always_inline]] inline bool HasRoom(const X87State& x87) { return !IsFull(x87, Physical(x87, 7)); }
[[gnu::always_inline]] inline void Push(X87State& x87, Float80 value) {
  const unsigned physical = Physical(x87, 7);
  Put(x87, physical, value);
  x87.top = static_cast<uint8_t>(physical);
  x87.valid |= static_cast<uint8_t>(1 << physical);
}
[[gnu::always_inline]] inline void Pop(X87State& x87) {
  x87.valid &= static_cast<uint8_t>(~(1 << x87.top));
  x87.top = (x87.top + 1) & 7;
}

// --- operands in memory ---

struct Real80 {
  uint64_t significand;
  uint16_t sign_exponent;
};
// As many bytes as they have in memory. False: to be done by op->plain.
template <typename T>
[[gnu::always_inline]] inline bool LoadOperand(const CpuState* state, const Op* op, const mm::Tlb* tlb, T* value) {
  constexpr size_t kBytes = std::is_same_v<T, Real80> ? 10 : sizeof(T);
  const std::byte* host = ProbeGuest<mm::Access::kRead, kBytes>(tlb, OperandAddress<AddressKind::kAny>(state, op));
  if (host == nullptr) [[unlikely]]
    return false;
  CopyFromGuest(value, host, kBytes);
  return true;
}

// As a register has it. False: denormal, infinite or NaN.
[[gnu::always_inline]] inline bool Widen(double from, Float80* to) {
  const auto bits = std::bit_cast<uint64_t>(from);
  const auto sign = static_cast<uint16_t>(bits >> 63 << 15);
  const unsigned field = (bits >> 52) & 0x7ff;
  *to = {kSignificandTop | bits << 11, static_cast<uint16_t>(sign | (field + kBias80 - 1023))};
  if (field - 1 < 0x7fe) [[likely]]
    return true;
  *to = {0, sign};
  return bits << 1 == 0;
}
[[gnu::always_inline]] inline bool Widen(float from, Float80* to) {
  const auto bits = std::bit_cast<uint32_t>(from);
  const auto sign = static_cast<uint16_t>(bits >> 31 << 15);
  const unsigned field = (bits >> 23) & 0xff;
  *to = {kSignificandTop | uint64_t{bits} << 40, static_cast<uint16_t>(sign | (field + kBias80 - 127))};
  if (field - 1 < 0xfe) [[likely]]
    return true;
  *to = {0, sign};
  return bits << 1 == 0;
}
template <typename Integer>
  requires(std::is_integral_v<Integer>)
[[gnu::always_inline]] inline bool Widen(Integer from, Float80* to) {
  const bool negative = from < 0;
  const uint64_t magnitude =
      negative ? uint64_t{0} - static_cast<uint64_t>(int64_t{from}) : static_cast<uint64_t>(from);
  if (magnitude == 0) {
    *to = Float80();
    return true;
  }
  const int shift = std::countl_zero(magnitude);
  *to = {magnitude << shift, static_cast<uint16_t>((negative ? 0x8000 : 0) | (kBias80 + 63 - shift))};
  return true;
}
[[gnu::always_inline]] inline bool Widen(const Real80& from, Float80* to) {
  *to = {from.significand, from.sign_exponent};
  return true;
}

// FLD, FILD.
template <typename T>
REMORA_CHAINED void Load(REMORA_PARAMS) {
  T operand;
  Float80 value;
  if (!IsDefault(state->x87) || !HasRoom(state->x87) || !LoadOperand(state, op, tlb, &operand) ||
      !Widen(operand, &value)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  RecordWithMemory(state, op);
  ClearC1(state->x87);
  Push(state->x87, value);
  REMORA_TAIL Next(REMORA_ARGS);
}

// FSTP m80.
REMORA_CHAINED void Store80(REMORA_PARAMS) {
  const unsigned top = state->x87.top;
  std::byte* host = ProbeGuest<mm::Access::kWrite, 10>(tlb, OperandAddress<AddressKind::kAny>(state, op));
  if (!IsDefault(state->x87) || !IsFull(state->x87, top) || host == nullptr) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  const Float80 value = Get(state->x87, top);
  StoreGuest<uint64_t>(host, value.significand);
  StoreGuest<uint16_t>(host + 8, value.sign_exponent);
  RecordWithMemory(state, op);
  ClearC1(state->x87);
  Pop(state->x87);
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- arithmetic ---

template <Arithmetic kOperation>
[[gnu::always_inline]] inline bool Compute(Float80 a, Float80 b, OrdinaryResult* result) {
  if (!IsNormal80(a) || !IsNormal80(b)) [[unlikely]]
    return false;
  const auto negated = [](Float80 value) {
    return Float80{value.significand, static_cast<uint16_t>(value.sign_exponent ^ 0x8000)};
  };
  switch (kOperation) {
    case Arithmetic::kAdd:
      return AddOrdinary(a, b, result);
    case Arithmetic::kMultiply:
      return MultiplyOrdinary(a, b, result);
    case Arithmetic::kSubtract:
      return AddOrdinary(a, negated(b), result);
    case Arithmetic::kSubtractReverse:
      return AddOrdinary(b, negated(a), result);
    case Arithmetic::kDivide:
      return DivideOrdinary(a, b, result);
    case Arithmetic::kDivideReverse:
      return DivideOrdinary(b, a, result);
  }
  return false;
}

enum class Destination : uint8_t { kTop, kRegister, kRegisterAndPop };

template <Arithmetic kOperation, Destination kDestination>
REMORA_CHAINED void WithRegister(REMORA_PARAMS) {
  X87State& x87 = state->x87;
  const unsigned top = x87.top, other = Physical(x87, op->immediate8);
  const unsigned destination = kDestination == Destination::kTop ? top : other;
  OrdinaryResult result;
  if (!IsDefault(x87) || !IsFull(x87, top) || !IsFull(x87, other) ||
      !Compute<kOperation>(Get(x87, destination), Get(x87, destination == top ? other : top), &result)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  Record(state, op);
  Tell(x87, result);
  Put(x87, destination, result.value);
  if constexpr (kDestination == Destination::kRegisterAndPop) Pop(x87);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename T, Arithmetic kOperation>
REMORA_CHAINED void WithMemory(REMORA_PARAMS) {
  X87State& x87 = state->x87;
  T operand;
  Float80 value;
  OrdinaryResult result;
  if (!IsDefault(x87) || !IsFull(x87, x87.top) || !LoadOperand(state, op, tlb, &operand) || !Widen(operand, &value) ||
      !Compute<kOperation>(Get(x87, x87.top), value, &result)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  RecordWithMemory(state, op);
  Tell(x87, result);
  Put(x87, x87.top, result.value);
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- moves ---

enum class Move : uint8_t { kLoad, kExchange, kStore, kStoreAndPop };

template <Move kMove>
REMORA_CHAINED void MoveRegister(REMORA_PARAMS) {
  X87State& x87 = state->x87;
  const unsigned top = x87.top, other = Physical(x87, op->immediate8);
  constexpr bool kReadsTop = kMove != Move::kLoad, kReadsOther = kMove == Move::kLoad || kMove == Move::kExchange;
  if (!IsDefault(x87) || (kReadsTop && !IsFull(x87, top)) || (kReadsOther && !IsFull(x87, other)) ||
      (kMove == Move::kLoad && !HasRoom(x87))) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  Record(state, op);
  ClearC1(x87);
  if constexpr (kMove == Move::kLoad) {
    Push(x87, Get(x87, other));
  } else {
    const Float80 value = Get(x87, top);
    if constexpr (kMove == Move::kExchange) Put(x87, top, Get(x87, other));
    Put(x87, other, value);
    x87.valid |= static_cast<uint8_t>(1 << other);
    if constexpr (kMove == Move::kStoreAndPop) Pop(x87);
  }
  REMORA_TAIL Next(REMORA_ARGS);
}

// FLD1, FLDZ.
template <bool kOne>
REMORA_CHAINED void LoadConstant(REMORA_PARAMS) {
  if (!IsDefault(state->x87) || !HasRoom(state->x87)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  Record(state, op);
  ClearC1(state->x87);
  Push(state->x87, kOne ? Float80{kSignificandTop, kBias80} : Float80());
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- tables, by ModRM.reg ---

constexpr std::array<Handler, 8> kToTop = {&WithRegister<Arithmetic::kAdd, Destination::kTop>,
                                           &WithRegister<Arithmetic::kMultiply, Destination::kTop>,
                                           nullptr,
                                           nullptr,
                                           &WithRegister<Arithmetic::kSubtract, Destination::kTop>,
                                           &WithRegister<Arithmetic::kSubtractReverse, Destination::kTop>,
                                           &WithRegister<Arithmetic::kDivide, Destination::kTop>,
                                           &WithRegister<Arithmetic::kDivideReverse, Destination::kTop>};
// Where ST(i) is the destination, the subtractions and divisions swap their places.
template <Destination kDestination>
constexpr std::array<Handler, 8> kToRegister = {&WithRegister<Arithmetic::kAdd, kDestination>,
                                                &WithRegister<Arithmetic::kMultiply, kDestination>,
                                                nullptr,
                                                nullptr,
                                                &WithRegister<Arithmetic::kSubtractReverse, kDestination>,
                                                &WithRegister<Arithmetic::kSubtract, kDestination>,
                                                &WithRegister<Arithmetic::kDivideReverse, kDestination>,
                                                &WithRegister<Arithmetic::kDivide, kDestination>};
template <typename T>
constexpr std::array<Handler, 8> kWithMemory = {&WithMemory<T, Arithmetic::kAdd>,
                                                &WithMemory<T, Arithmetic::kMultiply>,
                                                nullptr,
                                                nullptr,
                                                &WithMemory<T, Arithmetic::kSubtract>,
                                                &WithMemory<T, Arithmetic::kSubtractReverse>,
                                                &WithMemory<T, Arithmetic::kDivide>,
                                                &WithMemory<T, Arithmetic::kDivideReverse>};

Handler FindMemoryForm(unsigned opcode, unsigned reg) {
  switch (opcode) {
    case 0xd8:
      return kWithMemory<float>[reg];
    case 0xd9:
      return reg == 0 ? &Load<float> : nullptr;
    case 0xda:
      return kWithMemory<int32_t>[reg];
    case 0xdb:
      return reg == 0 ? &Load<int32_t> : reg == 5 ? &Load<Real80> : reg == 7 ? &Store80 : nullptr;
    case 0xdc:
      return kWithMemory<double>[reg];
    case 0xdd:
      return reg == 0 ? &Load<double> : nullptr;
    case 0xde:
      return kWithMemory<int16_t>[reg];
    default:
      return reg == 0 ? &Load<int16_t> : reg == 5 ? &Load<int64_t> : nullptr;
  }
}

Handler FindRegisterForm(unsigned opcode, unsigned modrm) {
  const unsigned reg = (modrm >> 3) & 7;
  switch (opcode) {
    case 0xd8:
      return kToTop[reg];
    case 0xd9:
      return reg == 0        ? &MoveRegister<Move::kLoad>
             : reg == 1      ? &MoveRegister<Move::kExchange>
             : modrm == 0xe8 ? &LoadConstant<true>
             : modrm == 0xee ? &LoadConstant<false>
                             : nullptr;
    case 0xdc:
      return kToRegister<Destination::kRegister>[reg];
    case 0xdd:
      return reg == 2 ? &MoveRegister<Move::kStore> : reg == 3 ? &MoveRegister<Move::kStoreAndPop> : nullptr;
    case 0xde:
      return kToRegister<Destination::kRegisterAndPop>[reg];
    default:
      return nullptr;
  }
}

}  // namespace

Handler FindChainedX87(const Op& op) {
  const unsigned opcode = 0xd8u + op.src, modrm = op.immediate8;
  return op.has_memory ? FindMemoryForm(opcode, (modrm >> 3) & 7) : FindRegisterForm(opcode, modrm);
}

}  // namespace remora::cpu
