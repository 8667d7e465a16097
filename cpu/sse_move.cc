#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>

#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// MMX, SSE and AVX instructions that move: loads and stores of all widths, widening, masks, inserts, extracts.

namespace remora::cpu {
namespace {

// --- whole registers ---

template <bool kAligned>
struct MoveWhole {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    Wide<kForm> value;
    if (op.has_memory) {
      const uint64_t address = env.Address(op);
      if (kAligned && !env.CheckAligned(address, kWidth<kForm>)) return false;
      if (op.memory_first) return env.Store(address, GetWide<kForm>(state, op.dst));
      if (!env.Load(address, &value)) return false;
    } else {
      value = GetWide<kForm>(state, op.src);
    }
    SetWide<kForm>(state, op.dst, value);
    return true;
  }
};

// --- 4 or 8 bytes between any two places; registers wider than that are filled with zeros ---

enum class Place : uint8_t { kGeneral, kXmm, kMmx, kMemory };

template <typename T>
T Low(const CpuState& state, Place place, unsigned number) {
  T value;
  if (place == Place::kGeneral)
    std::memcpy(&value, &state.gpr[number], sizeof(T));
  else if (place == Place::kXmm)
    std::memcpy(&value, state.vector[number].bytes.data(), sizeof(T));
  else
    std::memcpy(&value, &state.x87.registers[number & 7].significand, sizeof(T));
  return value;
}

template <typename T, bool kVex>
void SetLow(CpuState& state, Place place, unsigned number, T value) {
  if (place == Place::kGeneral)
    state.gpr[number] = value;
  else if (place == Place::kXmm)
    SetLow16<kVex ? Form::kVex128 : Form::kSse>(state, number, std::bit_cast<ByteVec<16>>(Vec<uint64_t, 16>{value, 0}));
  else
    SetRegister<8>(state, number, std::bit_cast<ByteVec<8>>(uint64_t{value}));
}

template <typename T, Place kTo, Place kFrom, bool kVex = false>
bool MoveLow(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  constexpr bool kUsesMmx = kTo == Place::kMmx || kFrom == Place::kMmx;
  if (kUsesMmx && !MmxReady(env)) return false;
  if constexpr (kTo == Place::kMemory) {
    if (!env.Store(env.Address(op), Low<T>(state, kFrom, op.dst))) return false;
    if (kUsesMmx) EnterMmx(state);
    return true;
  } else {
    T value;
    if constexpr (kFrom == Place::kMemory) {
      if (!env.Load(env.Address(op), &value)) return false;
    } else {
      value = Low<T>(state, kFrom, op.src);
    }
    if (kUsesMmx) EnterMmx(state);
    SetLow<T, kVex>(state, kTo, op.dst, value);
    return true;
  }
}

template <typename T, Place kTo, bool kVex>
PlainHandler MoveLowFrom(Place from) {
  switch (from) {
    case Place::kGeneral:
      return MoveLow<T, kTo, Place::kGeneral, kVex>;
    case Place::kXmm:
      return MoveLow<T, kTo, Place::kXmm, kVex>;
    case Place::kMmx:
      return MoveLow<T, kTo, Place::kMmx, kVex>;
    case Place::kMemory:
      return MoveLow<T, kTo, Place::kMemory, kVex>;
  }
  return nullptr;
}

template <typename T>
PlainHandler FindMoveLow(Place to, Place from, bool vex) {
  switch (to) {
    case Place::kGeneral:
      return MoveLowFrom<T, Place::kGeneral, false>(from);
    case Place::kXmm:
      return vex ? MoveLowFrom<T, Place::kXmm, true>(from) : MoveLowFrom<T, Place::kXmm, false>(from);
    case Place::kMmx:
      return MoveLowFrom<T, Place::kMmx, false>(from);
    case Place::kMemory:
      return from == Place::kMemory ? nullptr : MoveLowFrom<T, Place::kMemory, false>(from);
  }
  return nullptr;
}

Place PlaceOf(const DecodedOperand& operand) {
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) return Place::kMemory;
  switch (ZydisRegisterGetClass(operand.reg.value)) {
    case ZYDIS_REGCLASS_XMM:
      return Place::kXmm;
    case ZYDIS_REGCLASS_MMX:
      return Place::kMmx;
    default:
      return Place::kGeneral;
  }
}

// --- parts of registers ---

using Quads = Vec<uint64_t, 16>;

Quads GetQuads(const CpuState& state, unsigned number) { return std::bit_cast<Quads>(GetRegister<16>(state, number)); }

// MOVSS, MOVSD: a load clears the rest, a move between registers keeps the first source's.
template <typename T>
struct MoveScalar {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    if (op.has_memory)
      return op.memory_first ? MoveLow<T, Place::kMemory, Place::kXmm>(env, op) : MoveLow < T, Place::kXmm,
             Place::kMemory, kForm != Form::kSse > (env, op);
    ByteVec<16> value = GetRegister<16>(state, FirstNumber<kForm>(op));
    std::memcpy(&value, state.vector[SecondNumber<kForm>(op)].bytes.data(), sizeof(T));
    SetLow16<kForm>(state, op.dst, value);
    return true;
  }
};

// A quadword of a register and memory.
template <int kHalf>
struct MoveHalf {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    if (op.memory_first) return env.Write(env.Address(op), state.vector[op.dst].bytes.data() + 8 * kHalf, 8);
    uint64_t value;
    if (!env.Load(env.Address(op), &value)) return false;
    auto quads = GetQuads(state, FirstNumber<kForm>(op));
    quads[kHalf] = value;
    SetLow16<kForm>(state, op.dst, std::bit_cast<ByteVec<16>>(quads));
    return true;
  }
};
// MOVHLPS (kTo 0, kFrom 1), MOVLHPS.
template <int kTo, int kFrom>
struct MoveBetweenHalves {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    auto quads = GetQuads(state, FirstNumber<kForm>(op));
    quads[kTo] = GetQuads(state, SecondNumber<kForm>(op))[kFrom];
    SetLow16<kForm>(state, op.dst, std::bit_cast<ByteVec<16>>(quads));
    return true;
  }
};

// MOVDDUP: with SSE's width a memory operand is a quadword.
struct DuplicateQuad {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    Wide<kForm> value;
    if (kForm != Form::kVex256 && op.has_memory) {
      if (!env.Read(env.Address(op), &value, 8)) return false;
    } else if (!LoadOnly<kForm>(env, op, &value)) {
      return false;
    }
    for (auto& part : value.part) {
      const uint64_t low = std::bit_cast<Quads>(part)[0];
      part = std::bit_cast<ByteVec<16>>(Quads{low, low});
    }
    SetWide<kForm>(env.state(), op.dst, value);
    return true;
  }
};

// PMOVSX, PMOVZX: as many lanes of From as the result has of To.
template <typename From, typename To>
struct Widen {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    constexpr size_t kLanes = kWidth<kForm> / sizeof(To);
    From from[kLanes];
    if (op.has_memory) {
      if (!env.Load(env.Address(op), &from)) return false;
    } else {
      std::memcpy(from, env.state().vector[op.src].bytes.data(), sizeof(from));
    }
    To to[kLanes];
    for (size_t i = 0; i < kLanes; ++i) to[i] = static_cast<To>(from[i]);
    Wide<kForm> value;
    std::memcpy(&value, to, sizeof(value));
    SetWide<kForm>(env.state(), op.dst, value);
    return true;
  }
};

// --- sign masks, inserts, extracts ---

template <typename T, int kBytes>
uint64_t SignsOf(ByteVec<kBytes> value) {
  uint64_t mask = 0;
  if constexpr (sizeof(T) == 1) {
    // Eight sign bits at once: the multiplication brings each to its place in the top byte.
    const auto quads = std::bit_cast<Vec<uint64_t, kBytes>>(value);
    for (unsigned i = 0; i < kBytes / 8; ++i)
      mask |= (((quads[i] & 0x8080808080808080) >> 7) * 0x0102040810204080 >> 56) << (8 * i);
  } else {
    const auto lanes = std::bit_cast<Vec<T, kBytes>>(value);
    for (unsigned i = 0; i < kBytes / sizeof(T); ++i) mask |= static_cast<uint64_t>(lanes[i] < 0) << i;
  }
  return mask;
}

template <typename T>
struct SignMask {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    const auto value = GetWide<kForm>(state, op.src);
    uint64_t mask = 0;
    for (int i = 0; i < kNumParts<kForm>; ++i)
      mask |= SignsOf<T, 16>(value.part[i]) << (i * static_cast<int>(16 / sizeof(T)));
    state.gpr[op.dst] = mask;
    return true;
  }
};
bool SignMaskMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  CpuState& state = env.state();
  EnterMmx(state);
  state.gpr[op.dst] = SignsOf<int8_t, 8>(GetRegister<8>(state, op.src));
  return true;
}

bool ExtractWordMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  CpuState& state = env.state();
  EnterMmx(state);
  state.gpr[op.dst] = std::bit_cast<std::array<uint16_t, 4>>(GetRegister<8>(state, op.src))[op.immediate8 & 3];
  return true;
}
bool InsertWordMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  CpuState& state = env.state();
  auto word = static_cast<uint16_t>(state.gpr[op.has_memory ? 0 : op.src]);
  if (op.has_memory && !env.Load(env.Address(op), &word)) return false;
  EnterMmx(state);
  auto value = std::bit_cast<std::array<uint16_t, 4>>(GetRegister<8>(state, op.dst));
  value[op.immediate8 & 3] = word;
  SetRegister<8>(state, op.dst, std::bit_cast<ByteVec<8>>(value));
  return true;
}

// PEXTRB and the like, EXTRACTPS: to memory, or to a whole general register. No vector register is written, so the
// forms are one.
template <typename T>
bool Extract(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  using Lanes = std::array<T, 16 / sizeof(T)>;
  const auto lanes = std::bit_cast<Lanes>(GetRegister<16>(state, op.has_memory ? op.dst : op.src));
  const T value = lanes[op.immediate8 & (std::tuple_size_v<Lanes> - 1)];
  if (op.has_memory) return env.Store(env.Address(op), value);
  state.gpr[op.dst] = value;
  return true;
}

template <typename T>
struct Insert {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    T value;
    if (!op.has_memory)
      value = static_cast<T>(state.gpr[SecondNumber<kForm>(op)]);
    else if (!env.Load(env.Address(op), &value))
      return false;
    using Lanes = std::array<T, 16 / sizeof(T)>;
    auto lanes = std::bit_cast<Lanes>(GetRegister<16>(state, FirstNumber<kForm>(op)));
    lanes[op.immediate8 & (std::tuple_size_v<Lanes> - 1)] = value;
    SetLow16<kForm>(state, op.dst, std::bit_cast<ByteVec<16>>(lanes));
    return true;
  }
};

// INSERTPS: one lane of the second source into one of the first's, then some cleared.
struct InsertSingle {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    using Lanes = std::array<uint32_t, 4>;
    uint32_t value;
    if (!op.has_memory)
      value = std::bit_cast<Lanes>(GetRegister<16>(state, SecondNumber<kForm>(op)))[op.immediate8 >> 6];
    else if (!env.Load(env.Address(op), &value))
      return false;
    auto lanes = std::bit_cast<Lanes>(GetRegister<16>(state, FirstNumber<kForm>(op)));
    lanes[(op.immediate8 >> 4) & 3] = value;
    for (unsigned i = 0; i < 4; ++i)
      if ((op.immediate8 >> i & 1) != 0) lanes[i] = 0;
    SetLow16<kForm>(state, op.dst, std::bit_cast<ByteVec<16>>(lanes));
    return true;
  }
};

// PTEST, VTESTPS, VTESTPD: ZF where no bit of kMask is in both, CF where the second source has none of its own.
template <uint64_t kMask>
struct Test {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    Wide<kForm> b;
    if (!LoadOnly<kForm>(env, op, &b)) return false;
    const auto a = GetWide<kForm>(state, op.dst);
    uint64_t both = 0, only_b = 0;
    for (int i = 0; i < kNumParts<kForm>; ++i) {
      const auto x = std::bit_cast<Quads>(a.part[i]), y = std::bit_cast<Quads>(b.part[i]);
      both |= (x[0] & y[0]) | (x[1] & y[1]);
      only_b |= (~x[0] & y[0]) | (~x[1] & y[1]);
    }
    state.rflags =
        (state.rflags & ~kStatusFlags) | ((both & kMask) == 0 ? kFlagZF : 0) | ((only_b & kMask) == 0 ? kFlagCF : 0);
    return true;
  }
};

// --- stores under a mask ---

// MASKMOVDQU, MASKMOVQ: the bytes of `dst` whose mask byte in `src` is negative, to DS:RDI. All bytes have to be
// writable, also those that are not stored (the SDM leaves that open; AMD's silicon wants it).
template <int kBytes>
bool MaskedStore(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  if (kBytes == 8) {
    if (!MmxReady(env)) return false;
    EnterMmx(state);
  }
  const auto value = GetRegister<kBytes>(state, op.dst);
  const auto mask = GetRegister<kBytes>(state, op.src);
  const uint64_t address = env.Address(op);
  if (!env.ProbeWrite(address, kBytes)) return false;
  for (int i = 0; i < kBytes; ++i) {
    const uint8_t byte = value[i];
    if ((mask[i] & 0x80) != 0 && !env.Store(address + i, byte)) return false;
  }
  return true;
}

void UseRdiAsAddress(const DecodedInstruction& instruction, Op* op) {
  const ZyanU64 attributes = instruction.info.attributes;
  op->base = kRdi;
  op->index = kNoRegister;
  op->displacement = 0;
  op->segment = (attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS) ? 1 : (attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS) ? 2 : 0;
  op->address32 = instruction.info.address_width == 32;
}

PlainHandler FindWiden(ZydisMnemonic mnemonic, Form form) {
  switch (mnemonic) {
#define REMORA_WIDEN(letters, from, to)                \
  case ZYDIS_MNEMONIC_PMOVSX##letters:                 \
    return HandlerOf<Widen<int##from, int##to>>(form); \
  case ZYDIS_MNEMONIC_PMOVZX##letters:                 \
    return HandlerOf<Widen<uint##from, uint##to>>(form);
    REMORA_WIDEN(BW, 8_t, 16_t)
    REMORA_WIDEN(BD, 8_t, 32_t)
    REMORA_WIDEN(BQ, 8_t, 64_t)
    REMORA_WIDEN(WD, 16_t, 32_t)
    REMORA_WIDEN(WQ, 16_t, 64_t)
    REMORA_WIDEN(DQ, 32_t, 64_t)
#undef REMORA_WIDEN
    default:
      return nullptr;
  }
}

}  // namespace

PlainHandler FindSseMove(const VectorInstruction& in, Op* op) {
  const DecodedOperand* operands = in.in.operands;
  const Form form = in.form;
  const bool vex = form != Form::kSse;
  switch (in.mnemonic) {
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTDQA:
      return HandlerOf<MoveWhole<true>>(form);
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
      return HandlerOf<MoveWhole<false>>(form);
    case ZYDIS_MNEMONIC_MOVD:
      return FindMoveLow<uint32_t>(PlaceOf(operands[0]), PlaceOf(operands[1]), vex);
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVNTQ:
    case ZYDIS_MNEMONIC_MOVQ2DQ:
    case ZYDIS_MNEMONIC_MOVDQ2Q:
      return FindMoveLow<uint64_t>(PlaceOf(operands[0]), PlaceOf(operands[1]), vex);
    case ZYDIS_MNEMONIC_MOVNTI:
      return op->size == 8 ? MoveLow<uint64_t, Place::kMemory, Place::kGeneral>
                           : MoveLow<uint32_t, Place::kMemory, Place::kGeneral>;
    case ZYDIS_MNEMONIC_MOVSS:
      return HandlerOf<MoveScalar<uint32_t>>(form);
    case ZYDIS_MNEMONIC_MOVSD:
      return HandlerOf<MoveScalar<uint64_t>>(form);
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
      return HandlerOf<MoveHalf<0>>(form);
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
      return HandlerOf<MoveHalf<1>>(form);
    case ZYDIS_MNEMONIC_MOVHLPS:
      return HandlerOf<MoveBetweenHalves<0, 1>>(form);
    case ZYDIS_MNEMONIC_MOVLHPS:
      return HandlerOf<MoveBetweenHalves<1, 0>>(form);
    case ZYDIS_MNEMONIC_MOVDDUP:
      return HandlerOf<DuplicateQuad>(form);
    case ZYDIS_MNEMONIC_MOVMSKPS:
      return HandlerOf<SignMask<int32_t>>(form);
    case ZYDIS_MNEMONIC_MOVMSKPD:
      return HandlerOf<SignMask<int64_t>>(form);
    case ZYDIS_MNEMONIC_PMOVMSKB:
      return in.mmx ? SignMaskMmx : HandlerOf<SignMask<int8_t>>(form);
    case ZYDIS_MNEMONIC_PEXTRB:
      return Extract<uint8_t>;
    case ZYDIS_MNEMONIC_PEXTRW:
      return in.mmx ? ExtractWordMmx : Extract<uint16_t>;
    case ZYDIS_MNEMONIC_PEXTRD:
    case ZYDIS_MNEMONIC_EXTRACTPS:
      return Extract<uint32_t>;
    case ZYDIS_MNEMONIC_PEXTRQ:
      return Extract<uint64_t>;
    case ZYDIS_MNEMONIC_PINSRB:
      return HandlerOf<Insert<uint8_t>>(form);
    case ZYDIS_MNEMONIC_PINSRW:
      return in.mmx ? InsertWordMmx : HandlerOf<Insert<uint16_t>>(form);
    case ZYDIS_MNEMONIC_PINSRD:
      return HandlerOf<Insert<uint32_t>>(form);
    case ZYDIS_MNEMONIC_PINSRQ:
      return HandlerOf<Insert<uint64_t>>(form);
    case ZYDIS_MNEMONIC_INSERTPS:
      return HandlerOf<InsertSingle>(form);
    case ZYDIS_MNEMONIC_PTEST:
      return HandlerOf<Test<~uint64_t{0}>>(form);
    case ZYDIS_MNEMONIC_VTESTPS:
      return HandlerOf<Test<0x8000000080000000>>(form);
    case ZYDIS_MNEMONIC_VTESTPD:
      return HandlerOf<Test<0x8000000000000000>>(form);
    case ZYDIS_MNEMONIC_MASKMOVDQU:
      UseRdiAsAddress(in.in, op);
      return MaskedStore<16>;
    case ZYDIS_MNEMONIC_MASKMOVQ:
      UseRdiAsAddress(in.in, op);
      return MaskedStore<8>;
    default:
      return FindWiden(in.mnemonic, form);
  }
}

}  // namespace remora::cpu
