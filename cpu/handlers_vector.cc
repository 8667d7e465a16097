// Moves, integer lanes and shuffles of XMM registers. See vector_chain.h for what they leave to sse_move.cc and
// sse_integer.cc.

#include <bit>

#include "cpu/sse4_lanes.h"
#include "cpu/sse_lanes.h"
#include "cpu/vector_chain.h"

namespace remora::cpu {
namespace {

using Quads = Vec<uint64_t, 16>;

// --- whole registers ---

template <Form kForm, Source kSource, bool kUnaligned>
REMORA_CHAINED void LoadWhole(REMORA_PARAMS) {
  Wide<kForm> value;
  if (!ReadSource<kForm, Wide<kForm>, kSource, kUnaligned>(state, op, tlb, op->src, &value)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteWide<kForm>(state, op->dst, value);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <Form kForm, AddressKind kKind, bool kUnaligned>
REMORA_CHAINED void StoreWhole(REMORA_PARAMS) {
  using Value = Wide<kForm>;
  if (!WriteMemory<Value, kKind, kUnaligned>(state, op, tlb, ReadVector<Value>(state, op->dst))) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <bool kUnaligned>
Handler MoveWhole(Form form, const Op& op) {
  return ByForm(form, [&]<Form kForm>() -> Handler {
    if (op.has_memory && op.memory_first)
      return ByAddressKind(op, []<AddressKind kKind>() -> Handler { return &StoreWhole<kForm, kKind, kUnaligned>; });
    return BySource(op, []<Source kSource>() -> Handler { return &LoadWhole<kForm, kSource, kUnaligned>; });
  });
}

// --- 4 or 8 bytes; the rest becomes zero ---

template <Form kForm, typename T, Source kSource>
REMORA_CHAINED void LoadLow(REMORA_PARAMS) {
  T value;
  if (!ReadSource<kForm, T, kSource>(state, op, tlb, op->src, &value)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  WriteVector<kForm>(state, op->dst, Quads{value, 0});
  REMORA_TAIL Next(REMORA_ARGS);
}
template <typename T, AddressKind kKind>
REMORA_CHAINED void StoreLow(REMORA_PARAMS) {
  if (!WriteMemory<T, kKind>(state, op, tlb, ReadVector<T>(state, op->dst))) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  REMORA_TAIL Next(REMORA_ARGS);
}
// MOVSS, MOVSD between registers: the rest stays.
template <Form kForm, typename T>
REMORA_CHAINED void MergeLow(REMORA_PARAMS) {
  WriteLowLane<kForm, T>(state, op, ReadVector<T>(state, SecondNumber<kForm>(*op)));
  REMORA_TAIL Next(REMORA_ARGS);
}
template <Form kForm, typename T>
REMORA_CHAINED void GeneralToLow(REMORA_PARAMS) {
  WriteVector<kForm>(state, op->dst, Quads{ReadRegister<T>(state, op->src), 0});
  REMORA_TAIL Next(REMORA_ARGS);
}
template <typename T>
REMORA_CHAINED void LowToGeneral(REMORA_PARAMS) {
  WriteRegister<T>(state, op->dst, ReadVector<T>(state, op->src));
  REMORA_TAIL Next(REMORA_ARGS);
}

// Between an XMM register and memory, or two XMM registers where kBetween is not null.
template <Form kForm, typename T>
Handler MoveLow(const Op& op, Handler between) {
  if (!op.has_memory) return between;
  if (op.memory_first) return ByAddressKind(op, []<AddressKind kKind>() -> Handler { return &StoreLow<T, kKind>; });
  return BySource(op, []<Source kSource>() -> Handler { return &LoadLow<kForm, T, kSource>; });
}
template <typename T>
Handler MoveScalar(Form form, const Op& op) {
  return ByForm(form, [&]<Form kForm>() -> Handler { return MoveLow<kForm, T>(op, &MergeLow<kForm, T>); });
}

// MOVD, MOVQ: also to and from general registers.
template <typename T>
Handler MoveLowOrGeneral(const VectorInstruction& in, const Op& op) {
  const auto is_general = [&](int i) {
    const DecodedOperand& operand = in.in.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    const ZydisRegisterClass in_class = ZydisRegisterGetClass(operand.reg.value);
    return in_class == ZYDIS_REGCLASS_GPR32 || in_class == ZYDIS_REGCLASS_GPR64;
  };
  if (is_general(0)) return &LowToGeneral<T>;
  return ByForm(in.form, [&]<Form kForm>() -> Handler {
    if (is_general(1)) return &GeneralToLow<kForm, T>;
    return MoveLow<kForm, T>(op, &LoadLow<kForm, T, Source::kRegister>);
  });
}

// --- halves ---

template <Form kForm, int kHalf>
REMORA_CHAINED void LoadHalf(REMORA_PARAMS) {
  uint64_t value;
  if (!ReadSource<kForm, uint64_t, Source::kAny>(state, op, tlb, 0, &value)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  auto quads = ReadVector<Quads>(state, FirstNumber<kForm>(*op));
  quads[kHalf] = value;
  WriteVector<kForm>(state, op->dst, quads);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <int kHalf>
REMORA_CHAINED void StoreHalf(REMORA_PARAMS) {
  const uint64_t value = ReadVector<Quads>(state, op->dst)[kHalf];
  if (!WriteMemory<uint64_t, AddressKind::kAny>(state, op, tlb, value)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <int kHalf>
Handler MoveHalf(Form form, const Op& op) {
  if (op.memory_first) return &StoreHalf<kHalf>;
  return ByForm(form, []<Form kForm>() -> Handler { return &LoadHalf<kForm, kHalf>; });
}
// MOVHLPS (kTo 0, kFrom 1), MOVLHPS.
template <Form kForm, int kTo, int kFrom>
REMORA_CHAINED void MoveBetweenHalves(REMORA_PARAMS) {
  auto quads = ReadVector<Quads>(state, FirstNumber<kForm>(*op));
  quads[kTo] = ReadVector<Quads>(state, SecondNumber<kForm>(*op))[kFrom];
  WriteVector<kForm>(state, op->dst, quads);
  REMORA_TAIL Next(REMORA_ARGS);
}

// --- lanes ---

template <Form kForm, typename Operation, Source kSource>
REMORA_CHAINED void OnLanes(REMORA_PARAMS) {
  Wide<kForm> b;
  if (!ReadSecond<kForm, Wide<kForm>, kSource>(state, op, tlb, &b)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  auto a = ReadVector<Wide<kForm>>(state, FirstNumber<kForm>(*op));
#pragma clang loop unroll(full)
  for (int i = 0; i < kNumParts<kForm>; ++i) a.part[i] = Operation::template Apply<16>(a.part[i], b.part[i]);
  WriteWide<kForm>(state, op->dst, a);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <Form kForm, typename Operation>
REMORA_CHAINED void ShiftByImmediate(REMORA_PARAMS) {
  auto a = ReadVector<Wide<kForm>>(state, FirstNumber<kForm>(*op));
#pragma clang loop unroll(full)
  for (auto& part : a.part) part = Operation::template By<16>(part, op->immediate8);
  WriteWide<kForm>(state, op->dst, a);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <Form kForm, typename Operation, Source kSource>
REMORA_CHAINED void ShiftByCount(REMORA_PARAMS) {
  ByteVec<16> count;
  if (!ReadSecond<kForm, ByteVec<16>, kSource>(state, op, tlb, &count)) [[unlikely]]
    REMORA_TAIL CallPlain<false>(REMORA_ARGS);
  auto a = ReadVector<Wide<kForm>>(state, FirstNumber<kForm>(*op));
#pragma clang loop unroll(full)
  for (auto& part : a.part) part = Operation::template Apply<16>(part, count);
  WriteWide<kForm>(state, op->dst, a);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <bool kLeft>
struct ShiftBytes {
  template <int N>
  [[gnu::always_inline]] static ByteVec<N> By(ByteVec<N> a, uint64_t count) {
    const auto value = std::bit_cast<unsigned __int128>(a);
    const unsigned bits = 8u * static_cast<unsigned>(count);
    const unsigned __int128 shifted = kLeft ? value << (bits & 127) : value >> (bits & 127);
    return std::bit_cast<ByteVec<N>>(bits > 127 ? 0 : shifted);
  }
};

template <typename Operation>
Handler Lanes(Form form, const Op& op) {
  return ByForm(form, [&]<Form kForm>() -> Handler {
    return op.has_memory ? &OnLanes<kForm, Operation, Source::kAny> : &OnLanes<kForm, Operation, Source::kRegister>;
  });
}
template <typename Operation>
Handler CountedShift(Form form, const Op& op) {
  return ByForm(form, [&]<Form kForm>() -> Handler {
    return op.has_memory ? &ShiftByCount<kForm, Operation, Source::kAny>
                         : &ShiftByCount<kForm, Operation, Source::kRegister>;
  });
}
template <typename Operation>
Handler ImmediateShift(Form form) {
  return ByForm(form, []<Form kForm>() -> Handler { return &ShiftByImmediate<kForm, Operation>; });
}

Handler FindLanes(const VectorInstruction& in, const Op& op) {
  using namespace lanes;  // NOLINT: the operations of the table
  switch (in.mnemonic) {
#define REMORA_LANES(mnemonic, ...) \
  case ZYDIS_MNEMONIC_##mnemonic:   \
    return Lanes<__VA_ARGS__>(in.form, op);
#define REMORA_XMM_LANES REMORA_LANES
#define REMORA_LANE_SHIFTS(mnemonic, ...) \
  case ZYDIS_MNEMONIC_##mnemonic:         \
    return CountedShift<__VA_ARGS__>(in.form, op);
#include "cpu/sse_lanes.inc"
    default:
      return nullptr;
  }
}
Handler FindShift(const VectorInstruction& in) {
  using namespace lanes;  // NOLINT: the operations of the table
  switch (in.mnemonic) {
#define REMORA_LANE_SHIFTS(mnemonic, ...) \
  case ZYDIS_MNEMONIC_##mnemonic:         \
    return ImmediateShift<__VA_ARGS__>(in.form);
#include "cpu/sse_lanes.inc"
    case ZYDIS_MNEMONIC_PSLLDQ:
      return ImmediateShift<ShiftBytes<true>>(in.form);
    case ZYDIS_MNEMONIC_PSRLDQ:
      return ImmediateShift<ShiftBytes<false>>(in.form);
    default:
      return nullptr;
  }
}

// --- masks and shuffles, register forms ---

template <typename T>
[[gnu::always_inline]] inline unsigned SignsOf(ByteVec<16> value) {
  constexpr int kLanes = 16 / sizeof(T);
  using Bools = bool __attribute__((ext_vector_type(kLanes)));
  const auto negative = __builtin_convertvector(std::bit_cast<Vec<T, 16>>(value) < 0, Bools);
  if constexpr (kLanes == 16) return std::bit_cast<uint16_t>(negative);
  unsigned mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= static_cast<unsigned>(negative[i]) << i;
  return mask;
}
template <Form kForm, typename T>
REMORA_CHAINED void SignMask(REMORA_PARAMS) {
  const auto value = ReadVector<Wide<kForm>>(state, op->src);
  unsigned mask = SignsOf<T>(value.part[0]);
  if constexpr (kForm == Form::kVex256) mask |= SignsOf<T>(value.part[1]) << (16 / sizeof(T));
  state->gpr[op->dst] = mask;
  REMORA_TAIL Next(REMORA_ARGS);
}
template <typename T>
Handler SignMaskOf(Form form) {
  return ByForm(form, []<Form kForm>() -> Handler { return &SignMask<kForm, T>; });
}

// One lane by a number known only now: from memory, so that the vector needs no copy on the stack.
template <typename T>
[[gnu::always_inline]] inline T LaneOf(const CpuState* state, uint8_t number, unsigned lane) {
  T value;
  std::memcpy(&value, state->vector[number].bytes.data() + lane * sizeof(T), sizeof(T));
  return value;
}

// PSHUFD, VPERMILPS (one source), SHUFPS.
template <Form kForm, bool kOneSource>
REMORA_CHAINED void ShuffleFour(REMORA_PARAMS) {
  const unsigned control = op->immediate8;
  const uint8_t low = kOneSource ? op->src : FirstNumber<kForm>(*op);
  const uint8_t high = kOneSource ? op->src : SecondNumber<kForm>(*op);
  Wide<kForm> result;
#pragma clang loop unroll(full)
  for (unsigned i = 0; i < kNumParts<kForm>; ++i)
    result.part[i] = std::bit_cast<ByteVec<16>>(Vec<uint32_t, 16>{
        LaneOf<uint32_t>(state, low, 4 * i + (control & 3)), LaneOf<uint32_t>(state, low, 4 * i + ((control >> 2) & 3)),
        LaneOf<uint32_t>(state, high, 4 * i + ((control >> 4) & 3)),
        LaneOf<uint32_t>(state, high, 4 * i + (control >> 6))});
  WriteWide<kForm>(state, op->dst, result);
  REMORA_TAIL Next(REMORA_ARGS);
}
template <Form kForm>
REMORA_CHAINED void ShuffleTwo(REMORA_PARAMS) {
  const unsigned control = op->immediate8;
  Wide<kForm> result;
#pragma clang loop unroll(full)
  for (unsigned i = 0; i < kNumParts<kForm>; ++i)
    result.part[i] = std::bit_cast<ByteVec<16>>(
        Quads{LaneOf<uint64_t>(state, FirstNumber<kForm>(*op), 2 * i + ((control >> (2 * i)) & 1)),
              LaneOf<uint64_t>(state, SecondNumber<kForm>(*op), 2 * i + ((control >> (2 * i + 1)) & 1))});
  WriteWide<kForm>(state, op->dst, result);
  REMORA_TAIL Next(REMORA_ARGS);
}
// PSHUFLW, PSHUFHW: one half's words.
template <Form kForm, int kHalf>
REMORA_CHAINED void ShuffleWords(REMORA_PARAMS) {
  const unsigned control = op->immediate8;
  auto value = ReadVector<Wide<kForm>>(state, op->src);
#pragma clang loop unroll(full)
  for (auto& part : value.part) {
    auto quads = std::bit_cast<Quads>(part);
    const uint64_t from = quads[kHalf];
    uint64_t to = 0;
    for (unsigned i = 0; i < 4; ++i) to |= ((from >> (((control >> (2 * i)) & 3) * 16)) & 0xffff) << (16 * i);
    quads[kHalf] = to;
    part = std::bit_cast<ByteVec<16>>(quads);
  }
  WriteWide<kForm>(state, op->dst, value);
  REMORA_TAIL Next(REMORA_ARGS);
}
REMORA_CHAINED void ExtractWord(REMORA_PARAMS) {
  state->gpr[op->dst] = LaneOf<uint16_t>(state, op->src, op->immediate8 & 7);
  REMORA_TAIL Next(REMORA_ARGS);
}

// VZEROUPPER, which ends every function that has used YMM registers.
REMORA_CHAINED void ZeroUpper(REMORA_PARAMS) {
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; ++i) std::memset(state->vector[i].bytes.data() + 16, 0, 48);
  REMORA_TAIL Next(REMORA_ARGS);
}

// Handlers of registers only.
Handler FindShuffle(const VectorInstruction& in, const Op& op) {
  if (op.has_memory) return nullptr;
  switch (in.mnemonic) {
#define REMORA_CASE(name, ...) \
  case ZYDIS_MNEMONIC_##name:  \
    return ByForm(in.form, []<Form kForm>() -> Handler { return &__VA_ARGS__; });
    REMORA_CASE(MOVHLPS, MoveBetweenHalves<kForm, 0, 1>)
    REMORA_CASE(MOVLHPS, MoveBetweenHalves<kForm, 1, 0>)
    REMORA_CASE(PSHUFD, ShuffleFour<kForm, true>)
    REMORA_CASE(SHUFPS, ShuffleFour<kForm, false>)
    REMORA_CASE(SHUFPD, ShuffleTwo<kForm>)
    REMORA_CASE(PSHUFLW, ShuffleWords<kForm, 0>)
    REMORA_CASE(PSHUFHW, ShuffleWords<kForm, 1>)
#undef REMORA_CASE
    case ZYDIS_MNEMONIC_PEXTRW:
      return &ExtractWord;
    case ZYDIS_MNEMONIC_MOVMSKPS:
      return SignMaskOf<int32_t>(in.form);
    case ZYDIS_MNEMONIC_MOVMSKPD:
      return SignMaskOf<int64_t>(in.form);
    case ZYDIS_MNEMONIC_PMOVMSKB:
      return SignMaskOf<int8_t>(in.form);
    default:
      return nullptr;
  }
}

}  // namespace

Handler FindChainedVector(const VectorInstruction& in, const Op& op) {
  // MMX registers are the plain handlers' business.
  for (int i = 0; i < in.in.info.operand_count_visible; ++i) {
    const DecodedOperand& operand = in.in.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MMX)
      return nullptr;
  }
  switch (in.mnemonic) {
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTDQA:
      return MoveWhole<false>(in.form, op);
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
      return MoveWhole<true>(in.form, op);
    case ZYDIS_MNEMONIC_VZEROUPPER:
      return &ZeroUpper;
    case ZYDIS_MNEMONIC_MOVD:
      return MoveLowOrGeneral<uint32_t>(in, op);
    case ZYDIS_MNEMONIC_MOVQ:
      return MoveLowOrGeneral<uint64_t>(in, op);
    case ZYDIS_MNEMONIC_MOVSS:
      return MoveScalar<uint32_t>(in.form, op);
    case ZYDIS_MNEMONIC_MOVSD:
      return MoveScalar<uint64_t>(in.form, op);
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
      return MoveHalf<0>(in.form, op);
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
      return MoveHalf<1>(in.form, op);
    default:
      break;
  }
  if (in.last_is_immediate)
    if (const Handler shift = FindShift(in)) return shift;
  if (const Handler shuffle = FindShuffle(in, op)) return shuffle;
  return FindLanes(in, op);
}

}  // namespace remora::cpu
