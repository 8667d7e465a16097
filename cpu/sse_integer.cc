#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// Integer arithmetic on lanes, for MMX (8 bytes) and SSE2 (16 bytes) from one source: compiler vectors, no intrinsics.

namespace remora::cpu {
namespace {

template <typename To, typename From>
To As(From from) {
  return std::bit_cast<To>(from);
}

// --- operations: Apply(a, b) on all lanes of the bytes a and b ---

template <typename T>
struct Plus {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<T, N>>(a) + As<Vec<T, N>>(b));
  }
};
template <typename T>
struct Minus {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<T, N>>(a) - As<Vec<T, N>>(b));
  }
};
template <typename T>
struct SaturatingPlus {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(__builtin_elementwise_add_sat(As<Vec<T, N>>(a), As<Vec<T, N>>(b)));
  }
};
template <typename T>
struct SaturatingMinus {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(__builtin_elementwise_sub_sat(As<Vec<T, N>>(a), As<Vec<T, N>>(b)));
  }
};
template <typename T>
struct Maximum {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(__builtin_elementwise_max(As<Vec<T, N>>(a), As<Vec<T, N>>(b)));
  }
};
template <typename T>
struct Minimum {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(__builtin_elementwise_min(As<Vec<T, N>>(a), As<Vec<T, N>>(b)));
  }
};
template <typename T>
struct Equal {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<T, N>>(a) == As<Vec<T, N>>(b));
  }
};
template <typename T>
struct Greater {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<T, N>>(a) > As<Vec<T, N>>(b));
  }
};
struct And {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return a & b;
  }
};
struct AndNot {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return ~a & b;
  }
};
struct Or {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return a | b;
  }
};
struct Xor {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return a ^ b;
  }
};

struct MultiplyLow {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>(As<Vec<uint16_t, N>>(a) * As<Vec<uint16_t, N>>(b));
  }
};
// PMULHW, PMULHUW: T is int16_t or uint16_t.
template <typename T>
struct MultiplyHigh {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    auto x = As<Vec<T, N>>(a), y = As<Vec<T, N>>(b);
    for (int i = 0; i < N / 2; ++i) x[i] = static_cast<T>((int64_t{x[i]} * y[i]) >> 16);
    return As<ByteVec<N>>(x);
  }
};
struct MultiplyEven {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return As<ByteVec<N>>((As<Vec<uint64_t, N>>(a) & 0xffffffff) * (As<Vec<uint64_t, N>>(b) & 0xffffffff));
  }
};
struct MultiplyAddPairs {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto x = As<Vec<int16_t, N>>(a), y = As<Vec<int16_t, N>>(b);
    Vec<uint32_t, N> sums;
    for (int i = 0; i < N / 4; ++i)
      sums[i] = static_cast<uint32_t>(x[2 * i] * y[2 * i]) + static_cast<uint32_t>(x[2 * i + 1] * y[2 * i + 1]);
    return As<ByteVec<N>>(sums);
  }
};
struct SumOfDifferences {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const ByteVec<N> differences = __builtin_elementwise_max(a, b) - __builtin_elementwise_min(a, b);
    // Pairs of bytes, then the four pairs of each quadword at once, by a multiplication that sums them at the top.
    auto x = As<Vec<uint64_t, N>>(differences);
    x = (x & 0x00ff00ff00ff00ff) + ((x >> 8) & 0x00ff00ff00ff00ff);
    return As<ByteVec<N>>((x * 0x0001000100010001) >> 48);
  }
};
template <typename T>
struct Average {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto x = As<Vec<T, N>>(a), y = As<Vec<T, N>>(b);
    // Rounded up without a wider type: half the difference is taken off the union.
    return As<ByteVec<N>>((x | y) - ((x ^ y) >> 1));
  }
};

// PUNPCKL (kHigh false) and PUNPCKH.
template <typename T, bool kHigh>
struct Interleave {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    constexpr int kLanes = N / sizeof(T);
    constexpr int kFrom = kHigh ? kLanes / 2 : 0;
    const auto x = As<Vec<T, N>>(a), y = As<Vec<T, N>>(b);
    Vec<T, N> result;
    for (int i = 0; i < kLanes / 2; ++i) {
      result[2 * i] = x[kFrom + i];
      result[2 * i + 1] = y[kFrom + i];
    }
    return As<ByteVec<N>>(result);
  }
};

template <typename From, typename To>
struct Pack {
  // Lanes cut to To's range and narrowed: half as many bytes.
  template <int N>
  static Vec<To, N / 2> Saturated(ByteVec<N> from) {
    constexpr From kLow = std::numeric_limits<To>::min(), kHigh = std::numeric_limits<To>::max();
    const auto low = Vec<From, N>{} + kLow, high = Vec<From, N>{} + kHigh;
    const auto clamped = __builtin_elementwise_min(__builtin_elementwise_max(As<Vec<From, N>>(from), low), high);
    return __builtin_convertvector(clamped, Vec<To, N / 2>);
  }
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    struct Halves {
      Vec<To, N / 2> first, second;
    };
    return As<ByteVec<N>>(Halves{Saturated<N>(a), Saturated<N>(b)});
  }
};

// Shifts of all lanes by one count. T unsigned: left or logical right; signed: arithmetic right.
template <typename T, bool kLeft>
struct Shift {
  template <int N>
  static ByteVec<N> By(ByteVec<N> a, uint64_t count) {
    constexpr uint64_t kBits = 8 * sizeof(T);
    auto x = As<Vec<T, N>>(a);
    if (count >= kBits) {
      if constexpr (!std::is_signed_v<T>) return ByteVec<N>{};
      count = kBits - 1;
    }
    if constexpr (kLeft)
      x <<= static_cast<T>(count);
    else
      x >>= static_cast<T>(count);
    return As<ByteVec<N>>(x);
  }
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    return By<N>(a, As<Vec<uint64_t, N>>(b)[0]);
  }
};

// --- handlers ---

template <typename Operation>
bool BinaryXmm(HandlerEnv& env, const Op& op) {
  ByteVec<16> source;
  if (!LoadSource<16>(env, op, &source)) return false;
  CpuState& state = env.state();
  SetRegister<16>(state, op.dst, Operation::template Apply<16>(GetRegister<16>(state, op.dst), source));
  return true;
}

template <typename Operation>
bool BinaryMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  ByteVec<8> source;
  if (!LoadSource<8>(env, op, &source)) return false;
  CpuState& state = env.state();
  EnterMmx(state);
  SetRegister<8>(state, op.dst, Operation::template Apply<8>(GetRegister<8>(state, op.dst), source));
  return true;
}

template <typename Operation>
bool ShiftImmediateXmm(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  SetRegister<16>(state, op.dst, Operation::template By<16>(GetRegister<16>(state, op.dst), op.immediate8));
  return true;
}

template <typename Operation>
bool ShiftImmediateMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  CpuState& state = env.state();
  EnterMmx(state);
  SetRegister<8>(state, op.dst, Operation::template By<8>(GetRegister<8>(state, op.dst), op.immediate8));
  return true;
}

template <bool kLeft>
bool ShiftBytes(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  auto value = As<unsigned __int128>(GetRegister<16>(state, op.dst));
  if (op.immediate8 > 15)
    value = 0;
  else if (kLeft)
    value <<= 8 * op.immediate8;
  else
    value >>= 8 * op.immediate8;
  SetRegister<16>(state, op.dst, As<ByteVec<16>>(value));
  return true;
}

struct Row {
  ZydisMnemonic mnemonic;
  PlainHandler xmm, mmx;
};

template <typename Operation>
constexpr Row Both(ZydisMnemonic mnemonic) {
  return {mnemonic, BinaryXmm<Operation>, BinaryMmx<Operation>};
}
template <typename Operation>
constexpr Row XmmOnly(ZydisMnemonic mnemonic) {
  return {mnemonic, BinaryXmm<Operation>, nullptr};
}
template <typename Operation>
constexpr Row Immediate(ZydisMnemonic mnemonic) {
  return {mnemonic, ShiftImmediateXmm<Operation>, ShiftImmediateMmx<Operation>};
}

constexpr Row kBinary[] = {
    Both<Plus<uint8_t>>(ZYDIS_MNEMONIC_PADDB),
    Both<Plus<uint16_t>>(ZYDIS_MNEMONIC_PADDW),
    Both<Plus<uint32_t>>(ZYDIS_MNEMONIC_PADDD),
    Both<Plus<uint64_t>>(ZYDIS_MNEMONIC_PADDQ),
    Both<SaturatingPlus<int8_t>>(ZYDIS_MNEMONIC_PADDSB),
    Both<SaturatingPlus<int16_t>>(ZYDIS_MNEMONIC_PADDSW),
    Both<SaturatingPlus<uint8_t>>(ZYDIS_MNEMONIC_PADDUSB),
    Both<SaturatingPlus<uint16_t>>(ZYDIS_MNEMONIC_PADDUSW),
    Both<Minus<uint8_t>>(ZYDIS_MNEMONIC_PSUBB),
    Both<Minus<uint16_t>>(ZYDIS_MNEMONIC_PSUBW),
    Both<Minus<uint32_t>>(ZYDIS_MNEMONIC_PSUBD),
    Both<Minus<uint64_t>>(ZYDIS_MNEMONIC_PSUBQ),
    Both<SaturatingMinus<int8_t>>(ZYDIS_MNEMONIC_PSUBSB),
    Both<SaturatingMinus<int16_t>>(ZYDIS_MNEMONIC_PSUBSW),
    Both<SaturatingMinus<uint8_t>>(ZYDIS_MNEMONIC_PSUBUSB),
    Both<SaturatingMinus<uint16_t>>(ZYDIS_MNEMONIC_PSUBUSW),
    Both<MultiplyLow>(ZYDIS_MNEMONIC_PMULLW),
    Both<MultiplyHigh<int16_t>>(ZYDIS_MNEMONIC_PMULHW),
    Both<MultiplyHigh<uint16_t>>(ZYDIS_MNEMONIC_PMULHUW),
    Both<MultiplyEven>(ZYDIS_MNEMONIC_PMULUDQ),
    Both<MultiplyAddPairs>(ZYDIS_MNEMONIC_PMADDWD),
    Both<SumOfDifferences>(ZYDIS_MNEMONIC_PSADBW),
    Both<Average<uint8_t>>(ZYDIS_MNEMONIC_PAVGB),
    Both<Average<uint16_t>>(ZYDIS_MNEMONIC_PAVGW),
    Both<Minimum<uint8_t>>(ZYDIS_MNEMONIC_PMINUB),
    Both<Minimum<int16_t>>(ZYDIS_MNEMONIC_PMINSW),
    Both<Maximum<uint8_t>>(ZYDIS_MNEMONIC_PMAXUB),
    Both<Maximum<int16_t>>(ZYDIS_MNEMONIC_PMAXSW),
    Both<And>(ZYDIS_MNEMONIC_PAND),
    Both<AndNot>(ZYDIS_MNEMONIC_PANDN),
    Both<Or>(ZYDIS_MNEMONIC_POR),
    Both<Xor>(ZYDIS_MNEMONIC_PXOR),
    Both<Equal<uint8_t>>(ZYDIS_MNEMONIC_PCMPEQB),
    Both<Equal<uint16_t>>(ZYDIS_MNEMONIC_PCMPEQW),
    Both<Equal<uint32_t>>(ZYDIS_MNEMONIC_PCMPEQD),
    Both<Greater<int8_t>>(ZYDIS_MNEMONIC_PCMPGTB),
    Both<Greater<int16_t>>(ZYDIS_MNEMONIC_PCMPGTW),
    Both<Greater<int32_t>>(ZYDIS_MNEMONIC_PCMPGTD),
    Both<Interleave<uint8_t, false>>(ZYDIS_MNEMONIC_PUNPCKLBW),
    Both<Interleave<uint16_t, false>>(ZYDIS_MNEMONIC_PUNPCKLWD),
    Both<Interleave<uint32_t, false>>(ZYDIS_MNEMONIC_PUNPCKLDQ),
    XmmOnly<Interleave<uint64_t, false>>(ZYDIS_MNEMONIC_PUNPCKLQDQ),
    Both<Interleave<uint8_t, true>>(ZYDIS_MNEMONIC_PUNPCKHBW),
    Both<Interleave<uint16_t, true>>(ZYDIS_MNEMONIC_PUNPCKHWD),
    Both<Interleave<uint32_t, true>>(ZYDIS_MNEMONIC_PUNPCKHDQ),
    XmmOnly<Interleave<uint64_t, true>>(ZYDIS_MNEMONIC_PUNPCKHQDQ),
    Both<Pack<int16_t, int8_t>>(ZYDIS_MNEMONIC_PACKSSWB),
    Both<Pack<int32_t, int16_t>>(ZYDIS_MNEMONIC_PACKSSDW),
    Both<Pack<int16_t, uint8_t>>(ZYDIS_MNEMONIC_PACKUSWB),
    Both<Shift<uint16_t, true>>(ZYDIS_MNEMONIC_PSLLW),
    Both<Shift<uint32_t, true>>(ZYDIS_MNEMONIC_PSLLD),
    Both<Shift<uint64_t, true>>(ZYDIS_MNEMONIC_PSLLQ),
    Both<Shift<uint16_t, false>>(ZYDIS_MNEMONIC_PSRLW),
    Both<Shift<uint32_t, false>>(ZYDIS_MNEMONIC_PSRLD),
    Both<Shift<uint64_t, false>>(ZYDIS_MNEMONIC_PSRLQ),
    Both<Shift<int16_t, false>>(ZYDIS_MNEMONIC_PSRAW),
    Both<Shift<int32_t, false>>(ZYDIS_MNEMONIC_PSRAD),
    // The bitwise and interleaving instructions of SSE's floating-point half do not look at numbers.
    XmmOnly<And>(ZYDIS_MNEMONIC_ANDPS),
    XmmOnly<And>(ZYDIS_MNEMONIC_ANDPD),
    XmmOnly<AndNot>(ZYDIS_MNEMONIC_ANDNPS),
    XmmOnly<AndNot>(ZYDIS_MNEMONIC_ANDNPD),
    XmmOnly<Or>(ZYDIS_MNEMONIC_ORPS),
    XmmOnly<Or>(ZYDIS_MNEMONIC_ORPD),
    XmmOnly<Xor>(ZYDIS_MNEMONIC_XORPS),
    XmmOnly<Xor>(ZYDIS_MNEMONIC_XORPD),
    XmmOnly<Interleave<uint32_t, false>>(ZYDIS_MNEMONIC_UNPCKLPS),
    XmmOnly<Interleave<uint64_t, false>>(ZYDIS_MNEMONIC_UNPCKLPD),
    XmmOnly<Interleave<uint32_t, true>>(ZYDIS_MNEMONIC_UNPCKHPS),
    XmmOnly<Interleave<uint64_t, true>>(ZYDIS_MNEMONIC_UNPCKHPD),
};

constexpr Row kShiftImmediate[] = {
    Immediate<Shift<uint16_t, true>>(ZYDIS_MNEMONIC_PSLLW),  Immediate<Shift<uint32_t, true>>(ZYDIS_MNEMONIC_PSLLD),
    Immediate<Shift<uint64_t, true>>(ZYDIS_MNEMONIC_PSLLQ),  Immediate<Shift<uint16_t, false>>(ZYDIS_MNEMONIC_PSRLW),
    Immediate<Shift<uint32_t, false>>(ZYDIS_MNEMONIC_PSRLD), Immediate<Shift<uint64_t, false>>(ZYDIS_MNEMONIC_PSRLQ),
    Immediate<Shift<int16_t, false>>(ZYDIS_MNEMONIC_PSRAW),  Immediate<Shift<int32_t, false>>(ZYDIS_MNEMONIC_PSRAD),
    {ZYDIS_MNEMONIC_PSLLDQ, ShiftBytes<true>, nullptr},      {ZYDIS_MNEMONIC_PSRLDQ, ShiftBytes<false>, nullptr},
};

}  // namespace

PlainHandler FindSseInteger(const DecodedInstruction& instruction, bool mmx) {
  const bool immediate =
      instruction.info.operand_count_visible == 2 && instruction.operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  auto find = [&](const auto& rows) -> PlainHandler {
    for (const Row& row : rows)
      if (row.mnemonic == instruction.info.mnemonic) return mmx ? row.mmx : row.xmm;
    return nullptr;
  };
  return immediate ? find(kShiftImmediate) : find(kBinary);
}

}  // namespace remora::cpu
