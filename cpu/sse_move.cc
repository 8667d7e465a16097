#include <bit>
#include <cstdint>
#include <cstring>

#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// MMX and SSE instructions that move and rearrange: loads and stores of all widths, shuffles, masks, inserts, extracts.

namespace remora::cpu {
namespace {

// --- whole registers ---

template <bool kAligned>
bool MoveWhole(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  if (!op.has_memory) {
    SetRegister<16>(state, op.dst, GetRegister<16>(state, op.src));
    return true;
  }
  const uint64_t address = env.Address(op);
  if (kAligned && !env.CheckAligned(address, 16)) return false;
  if (op.memory_first) return env.Store(address, GetRegister<16>(state, op.dst));
  ByteVec<16> value;
  if (!env.Load(address, &value)) return false;
  SetRegister<16>(state, op.dst, value);
  return true;
}

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

template <typename T>
void SetLow(CpuState& state, Place place, unsigned number, T value) {
  if (place == Place::kGeneral)
    state.gpr[number] = value;
  else if (place == Place::kXmm)
    SetRegister<16>(state, number, std::bit_cast<ByteVec<16>>(Vec<uint64_t, 16>{value, 0}));
  else
    SetRegister<8>(state, number, std::bit_cast<ByteVec<8>>(uint64_t{value}));
}

template <typename T, Place kTo, Place kFrom>
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
    SetLow<T>(state, kTo, op.dst, value);
    return true;
  }
}

template <typename T, Place kTo>
PlainHandler MoveLowFrom(Place from) {
  switch (from) {
    case Place::kGeneral:
      return MoveLow<T, kTo, Place::kGeneral>;
    case Place::kXmm:
      return MoveLow<T, kTo, Place::kXmm>;
    case Place::kMmx:
      return MoveLow<T, kTo, Place::kMmx>;
    case Place::kMemory:
      return MoveLow<T, kTo, Place::kMemory>;
  }
  return nullptr;
}

template <typename T>
PlainHandler FindMoveLow(Place to, Place from) {
  switch (to) {
    case Place::kGeneral:
      return MoveLowFrom<T, Place::kGeneral>(from);
    case Place::kXmm:
      return MoveLowFrom<T, Place::kXmm>(from);
    case Place::kMmx:
      return MoveLowFrom<T, Place::kMmx>(from);
    case Place::kMemory:
      return from == Place::kMemory ? nullptr : MoveLowFrom<T, Place::kMemory>(from);
  }
  return nullptr;
}

Place PlaceOf(const ZydisDecodedOperand& operand) {
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

// MOVSS, MOVSD: a load clears the rest, a move between registers keeps it.
template <typename T>
bool MoveScalar(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  if (op.has_memory)
    return op.memory_first ? MoveLow<T, Place::kMemory, Place::kXmm>(env, op)
                           : MoveLow<T, Place::kXmm, Place::kMemory>(env, op);
  std::memcpy(state.vector[op.dst].bytes.data(), state.vector[op.src].bytes.data(), sizeof(T));
  return true;
}

// The quadword at kOffset of a register and memory.
template <int kOffset>
bool MoveHalf(HandlerEnv& env, const Op& op) {
  std::byte* half = env.state().vector[op.dst].bytes.data() + kOffset;
  return op.memory_first ? env.Write(env.Address(op), half, 8) : env.Read(env.Address(op), half, 8);
}

bool MoveHighToLow(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  std::memcpy(state.vector[op.dst].bytes.data(), state.vector[op.src].bytes.data() + 8, 8);
  return true;
}
bool MoveLowToHigh(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  uint64_t value;
  std::memcpy(&value, state.vector[op.src].bytes.data(), 8);
  std::memcpy(state.vector[op.dst].bytes.data() + 8, &value, 8);
  return true;
}

// --- sign masks ---

template <typename T, int kBytes>
bool SignMask(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  if (kBytes == 8 && !MmxReady(env)) return false;
  uint64_t mask = 0;
  if constexpr (sizeof(T) == 1) {
    // Eight sign bits at once: the multiplication brings each to its place in the top byte.
    const auto value = std::bit_cast<Vec<uint64_t, kBytes>>(GetRegister<kBytes>(state, op.src));
    for (unsigned i = 0; i < kBytes / 8; ++i)
      mask |= (((value[i] & 0x8080808080808080) >> 7) * 0x0102040810204080 >> 56) << (8 * i);
  } else {
    const auto value = std::bit_cast<Vec<T, kBytes>>(GetRegister<kBytes>(state, op.src));
    for (unsigned i = 0; i < kBytes / sizeof(T); ++i) mask |= static_cast<uint64_t>(value[i] < 0) << i;
  }
  if (kBytes == 8) EnterMmx(state);
  state.gpr[op.dst] = mask;
  return true;
}

template <int kBytes>
bool ExtractWord(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  if (kBytes == 8 && !MmxReady(env)) return false;
  const auto value = std::bit_cast<Vec<uint16_t, kBytes>>(GetRegister<kBytes>(state, op.src));
  if (kBytes == 8) EnterMmx(state);
  state.gpr[op.dst] = value[op.immediate8 & (kBytes / 2 - 1)];
  return true;
}

template <int kBytes>
bool InsertWord(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  if (kBytes == 8 && !MmxReady(env)) return false;
  uint16_t word;
  if (!op.has_memory)
    word = static_cast<uint16_t>(state.gpr[op.src]);
  else if (!env.Load(env.Address(op), &word))
    return false;
  if (kBytes == 8) EnterMmx(state);
  auto value = std::bit_cast<Vec<uint16_t, kBytes>>(GetRegister<kBytes>(state, op.dst));
  value[op.immediate8 & (kBytes / 2 - 1)] = word;
  SetRegister<kBytes>(state, op.dst, std::bit_cast<ByteVec<kBytes>>(value));
  return true;
}

// --- shuffles ---

// Four lanes of `a` chosen by two bits each, into lanes kFirst.. of `to`.
template <typename V>
V Choose(V to, V a, unsigned control, int first) {
  for (int i = 0; i < 4; ++i) to[first + i] = a[first + ((control >> (2 * i)) & 3)];
  return to;
}

template <typename T, int kFirst>
bool Shuffle(HandlerEnv& env, const Op& op) {
  ByteVec<16> source;
  if (!LoadSource<16>(env, op, &source)) return false;
  const auto value = std::bit_cast<Vec<T, 16>>(source);
  SetRegister<16>(env.state(), op.dst, std::bit_cast<ByteVec<16>>(Choose(value, value, op.immediate8, kFirst)));
  return true;
}

bool ShuffleMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  ByteVec<8> source;
  if (!LoadSource<8>(env, op, &source)) return false;
  EnterMmx(env.state());
  const auto value = std::bit_cast<Vec<uint16_t, 8>>(source);
  SetRegister<8>(env.state(), op.dst, std::bit_cast<ByteVec<8>>(Choose(value, value, op.immediate8, 0)));
  return true;
}

bool ShuffleSingles(HandlerEnv& env, const Op& op) {
  ByteVec<16> source;
  if (!LoadSource<16>(env, op, &source)) return false;
  const auto a = std::bit_cast<Vec<uint32_t, 16>>(GetRegister<16>(env.state(), op.dst));
  const auto b = std::bit_cast<Vec<uint32_t, 16>>(source);
  const unsigned control = op.immediate8;
  const Vec<uint32_t, 16> result = {a[control & 3], a[(control >> 2) & 3], b[(control >> 4) & 3], b[control >> 6]};
  SetRegister<16>(env.state(), op.dst, std::bit_cast<ByteVec<16>>(result));
  return true;
}

bool ShuffleDoubles(HandlerEnv& env, const Op& op) {
  ByteVec<16> source;
  if (!LoadSource<16>(env, op, &source)) return false;
  const auto a = std::bit_cast<Vec<uint64_t, 16>>(GetRegister<16>(env.state(), op.dst));
  const auto b = std::bit_cast<Vec<uint64_t, 16>>(source);
  const Vec<uint64_t, 16> result = {a[op.immediate8 & 1], b[(op.immediate8 >> 1) & 1]};
  SetRegister<16>(env.state(), op.dst, std::bit_cast<ByteVec<16>>(result));
  return true;
}

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

}  // namespace

PlainHandler FindSseMove(const DecodedInstruction& instruction, bool mmx, Op* op) {
  const ZydisDecodedOperand* operands = instruction.operands;
  switch (instruction.info.mnemonic) {
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
      return MoveWhole<true>;
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
      return MoveWhole<false>;
    case ZYDIS_MNEMONIC_MOVD:
      return FindMoveLow<uint32_t>(PlaceOf(operands[0]), PlaceOf(operands[1]));
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVNTQ:
    case ZYDIS_MNEMONIC_MOVQ2DQ:
    case ZYDIS_MNEMONIC_MOVDQ2Q:
      return FindMoveLow<uint64_t>(PlaceOf(operands[0]), PlaceOf(operands[1]));
    case ZYDIS_MNEMONIC_MOVNTI:
      return op->size == 8 ? MoveLow<uint64_t, Place::kMemory, Place::kGeneral>
                           : MoveLow<uint32_t, Place::kMemory, Place::kGeneral>;
    case ZYDIS_MNEMONIC_MOVSS:
      return MoveScalar<uint32_t>;
    case ZYDIS_MNEMONIC_MOVSD:
      return MoveScalar<uint64_t>;
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
      return MoveHalf<0>;
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
      return MoveHalf<8>;
    case ZYDIS_MNEMONIC_MOVHLPS:
      return MoveHighToLow;
    case ZYDIS_MNEMONIC_MOVLHPS:
      return MoveLowToHigh;
    case ZYDIS_MNEMONIC_MOVMSKPS:
      return SignMask<int32_t, 16>;
    case ZYDIS_MNEMONIC_MOVMSKPD:
      return SignMask<int64_t, 16>;
    case ZYDIS_MNEMONIC_PMOVMSKB:
      return mmx ? SignMask<int8_t, 8> : SignMask<int8_t, 16>;
    case ZYDIS_MNEMONIC_PEXTRW:
      return mmx ? ExtractWord<8> : ExtractWord<16>;
    case ZYDIS_MNEMONIC_PINSRW:
      return mmx ? InsertWord<8> : InsertWord<16>;
    case ZYDIS_MNEMONIC_PSHUFD:
      return Shuffle<uint32_t, 0>;
    case ZYDIS_MNEMONIC_PSHUFLW:
      return Shuffle<uint16_t, 0>;
    case ZYDIS_MNEMONIC_PSHUFHW:
      return Shuffle<uint16_t, 4>;
    case ZYDIS_MNEMONIC_PSHUFW:
      return ShuffleMmx;
    case ZYDIS_MNEMONIC_SHUFPS:
      return ShuffleSingles;
    case ZYDIS_MNEMONIC_SHUFPD:
      return ShuffleDoubles;
    case ZYDIS_MNEMONIC_MASKMOVDQU:
      UseRdiAsAddress(instruction, op);
      return MaskedStore<16>;
    case ZYDIS_MNEMONIC_MASKMOVQ:
      UseRdiAsAddress(instruction, op);
      return MaskedStore<8>;
    default:
      return nullptr;
  }
}

}  // namespace remora::cpu
