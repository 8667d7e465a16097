// Moves, integer lanes and shuffles of XMM registers. See vector_chain.h for what they leave to sse_move.cc and
// sse_integer.cc.

#include <bit>

#include "cpu/sse_lanes.h"
#include "cpu/vector_chain.h"

namespace remora::cpu {
namespace {

using Quads = Vec<uint64_t, 16>;

// --- whole registers ---

template <Source kSource, bool kUnaligned>
REMORA_CHAINED void LoadWhole(REMORA_PARAMS) {
  Quads value;
  if (!ReadSource<Quads, kSource, kUnaligned>(state, op, tlb, &value)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteVector(state, op->dst, value);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <AddressKind kKind, bool kUnaligned>
REMORA_CHAINED void StoreWhole(REMORA_PARAMS) {
  if (!WriteMemory<Quads, kKind, kUnaligned>(state, op, tlb, ReadVector<Quads>(state, op->dst))) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <bool kUnaligned>
Handler MoveWhole(const Op& op) {
  if (op.has_memory && op.memory_first)
    return ByAddressKind(op, []<AddressKind kKind>() -> Handler { return &StoreWhole<kKind, kUnaligned>; });
  return BySource(op, []<Source kSource>() -> Handler { return &LoadWhole<kSource, kUnaligned>; });
}

// --- 4 or 8 bytes; the rest becomes zero ---

template <typename T, Source kSource>
REMORA_CHAINED void LoadLow(REMORA_PARAMS) {
  T value;
  if (!ReadSource<T, kSource>(state, op, tlb, &value)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteVector(state, op->dst, Quads{value, 0});
  REMORA_TAIL Next(REMORA_ARGS);
}
template <typename T, AddressKind kKind>
REMORA_CHAINED void StoreLow(REMORA_PARAMS) {
  if (!WriteMemory<T, kKind>(state, op, tlb, ReadVector<T>(state, op->dst))) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  REMORA_TAIL Next(REMORA_ARGS);
}
// MOVSS, MOVSD between registers: the rest stays.
template <typename T>
REMORA_CHAINED void MergeLow(REMORA_PARAMS) {
  WriteLowLane<T>(state, op->dst, ReadVector<T>(state, op->src));
  REMORA_TAIL Next(REMORA_ARGS);
}
template <typename T>
REMORA_CHAINED void GeneralToLow(REMORA_PARAMS) {
  WriteVector(state, op->dst, Quads{ReadRegister<T>(state, op->src), 0});
  REMORA_TAIL Next(REMORA_ARGS);
}
template <typename T>
REMORA_CHAINED void LowToGeneral(REMORA_PARAMS) {
  WriteRegister<T>(state, op->dst, ReadVector<T>(state, op->src));
  REMORA_TAIL Next(REMORA_ARGS);
}

// Between an XMM register and memory, or two XMM registers where kBetween is not null.
template <typename T>
Handler MoveLow(const Op& op, Handler between) {
  if (!op.has_memory) return between;
  if (op.memory_first) return ByAddressKind(op, []<AddressKind kKind>() -> Handler { return &StoreLow<T, kKind>; });
  return BySource(op, []<Source kSource>() -> Handler { return &LoadLow<T, kSource>; });
}

// MOVD, MOVQ: also to and from general registers.
template <typename T>
Handler MoveLowOrGeneral(const DecodedInstruction& instruction, const Op& op) {
  const auto is_general = [&](int i) {
    const ZydisDecodedOperand& operand = instruction.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    const ZydisRegisterClass in_class = ZydisRegisterGetClass(operand.reg.value);
    return in_class == ZYDIS_REGCLASS_GPR32 || in_class == ZYDIS_REGCLASS_GPR64;
  };
  if (is_general(0)) return &LowToGeneral<T>;
  if (is_general(1)) return &GeneralToLow<T>;
  return MoveLow<T>(op, &LoadLow<T, Source::kRegister>);
}

// --- halves ---

template <int kHalf>
REMORA_CHAINED void LoadHalf(REMORA_PARAMS) {
  uint64_t value;
  if (!ReadSource<uint64_t, Source::kAny>(state, op, tlb, &value)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  auto quads = ReadVector<Quads>(state, op->dst);
  quads[kHalf] = value;
  WriteVector(state, op->dst, quads);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <int kHalf>
REMORA_CHAINED void StoreHalf(REMORA_PARAMS) {
  const uint64_t value = ReadVector<Quads>(state, op->dst)[kHalf];
  if (!WriteMemory<uint64_t, AddressKind::kAny>(state, op, tlb, value)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  REMORA_TAIL Next(REMORA_ARGS);
}
// MOVHLPS (kTo 0, kFrom 1), MOVLHPS.
template <int kTo, int kFrom>
REMORA_CHAINED void MoveHalf(REMORA_PARAMS) {
  auto quads = ReadVector<Quads>(state, op->dst);
  quads[kTo] = ReadVector<Quads>(state, op->src)[kFrom];
  WriteVector(state, op->dst, quads);
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- lanes ---

template <typename Operation, Source kSource>
REMORA_CHAINED void OnLanes(REMORA_PARAMS) {
  ByteVec<16> source;
  if (!ReadSource<ByteVec<16>, kSource>(state, op, tlb, &source)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteVector(state, op->dst, Operation::template Apply<16>(ReadVector<ByteVec<16>>(state, op->dst), source));
  REMORA_TAIL Next(REMORA_ARGS);
}
template <typename Operation>
REMORA_CHAINED void ShiftByImmediate(REMORA_PARAMS) {
  WriteVector(state, op->dst, Operation::template By<16>(ReadVector<ByteVec<16>>(state, op->dst), op->immediate8));
  REMORA_TAIL Next(REMORA_ARGS);
}
template <bool kLeft>
REMORA_CHAINED void ShiftBytes(REMORA_PARAMS) {
  const auto value = ReadVector<unsigned __int128>(state, op->dst);
  const unsigned bits = 8u * op->immediate8;
  const unsigned __int128 shifted = kLeft ? value << (bits & 127) : value >> (bits & 127);
  WriteVector(state, op->dst, bits > 127 ? 0 : shifted);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename Operation>
Handler Lanes(const Op& op) {
  if (!op.has_memory) return &OnLanes<Operation, Source::kRegister>;
  return &OnLanes<Operation, Source::kAny>;
}

Handler FindLanes(ZydisMnemonic mnemonic, const Op& op) {
  using namespace lanes;  // NOLINT: the operations of the table
  switch (mnemonic) {
#define REMORA_LANES(mnemonic, ...) \
  case ZYDIS_MNEMONIC_##mnemonic:   \
    return Lanes<__VA_ARGS__>(op);
#define REMORA_XMM_LANES REMORA_LANES
#define REMORA_LANE_SHIFTS REMORA_LANES
#include "cpu/sse_lanes.inc"
#undef REMORA_LANES
#undef REMORA_XMM_LANES
#undef REMORA_LANE_SHIFTS
    default:
      return nullptr;
  }
}
Handler FindShift(ZydisMnemonic mnemonic) {
  using namespace lanes;  // NOLINT: the operations of the table
  switch (mnemonic) {
#define REMORA_LANES(...)
#define REMORA_XMM_LANES(...)
#define REMORA_LANE_SHIFTS(mnemonic, ...) \
  case ZYDIS_MNEMONIC_##mnemonic:         \
    return &ShiftByImmediate<__VA_ARGS__>;
#include "cpu/sse_lanes.inc"
#undef REMORA_LANES
#undef REMORA_XMM_LANES
#undef REMORA_LANE_SHIFTS
    case ZYDIS_MNEMONIC_PSLLDQ:
      return &ShiftBytes<true>;
    case ZYDIS_MNEMONIC_PSRLDQ:
      return &ShiftBytes<false>;
    default:
      return nullptr;
  }
}

// --- masks and shuffles, register forms ---

template <typename T>
REMORA_CHAINED void SignMask(REMORA_PARAMS) {
  constexpr int kLanes = 16 / sizeof(T);
  using Bools = bool __attribute__((ext_vector_type(kLanes)));
  const auto negative = __builtin_convertvector(ReadVector<Vec<T, 16>>(state, op->src) < 0, Bools);
  unsigned mask = 0;
  if constexpr (kLanes == 16) {
    mask = std::bit_cast<uint16_t>(negative);
  } else {
    for (int i = 0; i < kLanes; ++i) mask |= static_cast<unsigned>(negative[i]) << i;
  }
  state->gpr[op->dst] = mask;
  REMORA_TAIL Next(REMORA_ARGS);
}

// One lane by a number known only now: from memory, so that the vector needs no copy on the stack.
template <typename T>
[[gnu::always_inline]] inline T LaneOf(const CpuState* state, uint8_t number, unsigned lane) {
  T value;
  std::memcpy(&value, state->vector[number].bytes.data() + lane * sizeof(T), sizeof(T));
  return value;
}

// PSHUFD (both halves from `src`), SHUFPS.
template <bool kOneSource>
REMORA_CHAINED void ShuffleFour(REMORA_PARAMS) {
  const unsigned control = op->immediate8;
  const uint8_t low = kOneSource ? op->src : op->dst;
  const Vec<uint32_t, 16> result = {
      LaneOf<uint32_t>(state, low, control & 3), LaneOf<uint32_t>(state, low, (control >> 2) & 3),
      LaneOf<uint32_t>(state, op->src, (control >> 4) & 3), LaneOf<uint32_t>(state, op->src, control >> 6)};
  WriteVector(state, op->dst, result);
  REMORA_TAIL Next(REMORA_ARGS);
}
REMORA_CHAINED void ShuffleTwo(REMORA_PARAMS) {
  const unsigned control = op->immediate8;
  const Quads result = {LaneOf<uint64_t>(state, op->dst, control & 1),
                        LaneOf<uint64_t>(state, op->src, (control >> 1) & 1)};
  WriteVector(state, op->dst, result);
  REMORA_TAIL Next(REMORA_ARGS);
}
// PSHUFLW, PSHUFHW: one half's words.
template <int kHalf>
REMORA_CHAINED void ShuffleWords(REMORA_PARAMS) {
  const unsigned control = op->immediate8;
  auto quads = ReadVector<Quads>(state, op->src);
  const uint64_t from = quads[kHalf];
  uint64_t to = 0;
  for (unsigned i = 0; i < 4; ++i) to |= ((from >> (((control >> (2 * i)) & 3) * 16)) & 0xffff) << (16 * i);
  quads[kHalf] = to;
  WriteVector(state, op->dst, quads);
  REMORA_TAIL Next(REMORA_ARGS);
}
REMORA_CHAINED void ExtractWord(REMORA_PARAMS) {
  state->gpr[op->dst] = LaneOf<uint16_t>(state, op->src, op->immediate8 & 7);
  REMORA_TAIL Next(REMORA_ARGS);
}

}  // namespace

Handler FindChainedVector(const DecodedInstruction& instruction, const Op& op) {
  // MMX registers are the plain handlers' business.
  for (int i = 0; i < instruction.info.operand_count_visible; ++i) {
    const ZydisDecodedOperand& operand = instruction.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MMX)
      return nullptr;
  }
  const ZydisMnemonic mnemonic = instruction.info.mnemonic;
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
      return MoveWhole<false>(op);
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
      return MoveWhole<true>(op);
    case ZYDIS_MNEMONIC_MOVD:
      return MoveLowOrGeneral<uint32_t>(instruction, op);
    case ZYDIS_MNEMONIC_MOVQ:
      return MoveLowOrGeneral<uint64_t>(instruction, op);
    case ZYDIS_MNEMONIC_MOVSS:
      return MoveLow<uint32_t>(op, &MergeLow<uint32_t>);
    case ZYDIS_MNEMONIC_MOVSD:
      return MoveLow<uint64_t>(op, &MergeLow<uint64_t>);
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
      return op.memory_first ? &StoreHalf<0> : &LoadHalf<0>;
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
      return op.memory_first ? &StoreHalf<1> : &LoadHalf<1>;
    case ZYDIS_MNEMONIC_MOVHLPS:
      return &MoveHalf<0, 1>;
    case ZYDIS_MNEMONIC_MOVLHPS:
      return &MoveHalf<1, 0>;
    case ZYDIS_MNEMONIC_MOVMSKPS:
      return &SignMask<int32_t>;
    case ZYDIS_MNEMONIC_MOVMSKPD:
      return &SignMask<int64_t>;
    case ZYDIS_MNEMONIC_PMOVMSKB:
      return &SignMask<int8_t>;
    case ZYDIS_MNEMONIC_PEXTRW:
      return &ExtractWord;
    case ZYDIS_MNEMONIC_PSHUFD:
      return op.has_memory ? nullptr : &ShuffleFour<true>;
    case ZYDIS_MNEMONIC_SHUFPS:
      return op.has_memory ? nullptr : &ShuffleFour<false>;
    case ZYDIS_MNEMONIC_SHUFPD:
      return op.has_memory ? nullptr : &ShuffleTwo;
    case ZYDIS_MNEMONIC_PSHUFLW:
      return op.has_memory ? nullptr : &ShuffleWords<0>;
    case ZYDIS_MNEMONIC_PSHUFHW:
      return op.has_memory ? nullptr : &ShuffleWords<1>;
    default:
      break;
  }
  const bool immediate =
      instruction.info.operand_count_visible == 2 && instruction.operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  return immediate ? FindShift(mnemonic) : FindLanes(mnemonic, op);
}

}  // namespace remora::cpu
