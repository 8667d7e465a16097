#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cpu/lane_handlers.h"
#include "cpu/sse4_lanes.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// What AVX and AVX2 have and SSE has not: broadcasts, permutations across the 16-byte parts, masked moves, gathers,
// shifts by a count of each lane's own.

namespace remora::cpu {
namespace {

template <Form kForm, typename T>
using Lanes = std::array<T, kWidth<kForm> / sizeof(T)>;

template <Form kForm, typename T>
Lanes<kForm, T> GetLanes(const CpuState& state, unsigned number) {
  return std::bit_cast<Lanes<kForm, T>>(GetWide<kForm>(state, number));
}
template <Form kForm, typename T>
void SetLanes(CpuState& state, unsigned number, const Lanes<kForm, T>& lanes) {
  SetWide<kForm>(state, number, std::bit_cast<Wide<kForm>>(lanes));
}

constexpr Form kNarrow = Form::kVex128, kBroad = Form::kVex256;

// --- between the parts ---

// VBROADCASTSS, VPBROADCASTB, VBROADCASTI128 and their kin.
template <typename T>
struct Broadcast {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    T value;
    if (!op.has_memory)
      std::memcpy(&value, state.vector[op.src].bytes.data(), sizeof(T));
    else if (!env.Load(env.Address(op), &value))
      return false;
    Lanes<kForm, T> lanes;
    lanes.fill(value);
    SetLanes<kForm, T>(state, op.dst, lanes);
    return true;
  }
};

bool ExtractPart(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  const ByteVec<16> part = GetWide<kBroad>(state, op.has_memory ? op.dst : op.src).part[op.immediate8 & 1];
  if (op.has_memory) return env.Store(env.Address(op), part);
  SetLow16<kNarrow>(state, op.dst, part);
  return true;
}

bool InsertPart(HandlerEnv& env, const Op& op) {
  Wide<kNarrow> part;
  if (!LoadSecond<kNarrow>(env, op, &part)) return false;
  auto value = GetWide<kBroad>(env.state(), op.src);
  value.part[op.immediate8 & 1] = part.part[0];
  SetWide<kBroad>(env.state(), op.dst, value);
  return true;
}

// VPERM2F128, VPERM2I128: each part is one of four, or zero.
bool PermuteParts(HandlerEnv& env, const Op& op) {
  Wide<kBroad> b;
  if (!LoadSecond<kBroad>(env, op, &b)) return false;
  const auto a = GetWide<kBroad>(env.state(), op.src);
  Wide<kBroad> result;
  for (int i = 0; i < 2; ++i) {
    const unsigned control = op.immediate8 >> (4 * i);
    const ByteVec<16> chosen = (control & 2) != 0 ? b.part[control & 1] : a.part[control & 1];
    result.part[i] = (control & 8) != 0 ? ByteVec<16>{} : chosen;
  }
  SetWide<kBroad>(env.state(), op.dst, result);
  return true;
}

// VPERMD, VPERMPS: the first source has the numbers of the second's lanes.
bool PermuteDoublewords(HandlerEnv& env, const Op& op) {
  Wide<kBroad> source;
  if (!LoadSecond<kBroad>(env, op, &source)) return false;
  const auto from = std::bit_cast<Lanes<kBroad, uint32_t>>(source);
  auto lanes = GetLanes<kBroad, uint32_t>(env.state(), op.src);
  for (uint32_t& lane : lanes) lane = from[lane & 7];
  SetLanes<kBroad, uint32_t>(env.state(), op.dst, lanes);
  return true;
}

// VPERMQ, VPERMPD.
bool PermuteQuadwords(HandlerEnv& env, const Op& op) {
  Wide<kBroad> source;
  if (!LoadOnly<kBroad>(env, op, &source)) return false;
  const auto from = std::bit_cast<Lanes<kBroad, uint64_t>>(source);
  Lanes<kBroad, uint64_t> lanes;
  for (unsigned i = 0; i < 4; ++i) lanes[i] = from[(op.immediate8 >> (2 * i)) & 3];
  SetLanes<kBroad, uint64_t>(env.state(), op.dst, lanes);
  return true;
}

// --- within a part: operations for Binary (lane_handlers.h) ---

// VPERMILPS, VPERMILPD by a register: the lowest bits of `b` (its second bit, of quadwords) choose.
template <typename T>
struct PermuteInPart {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    const auto from = std::bit_cast<std::array<T, N / sizeof(T)>>(a);
    auto lanes = std::bit_cast<std::array<T, N / sizeof(T)>>(b);
    for (T& lane : lanes) lane = from[sizeof(T) == 4 ? lane & 3 : (lane >> 1) & 1];
    return std::bit_cast<ByteVec<N>>(lanes);
  }
};

// T signed: arithmetic.
template <typename T, bool kLeft>
struct ShiftEach {
  template <int N>
  static ByteVec<N> Apply(ByteVec<N> a, ByteVec<N> b) {
    constexpr uint64_t kBits = 8 * sizeof(T);
    auto lanes = std::bit_cast<std::array<T, N / sizeof(T)>>(a);
    const auto counts = std::bit_cast<std::array<std::make_unsigned_t<T>, N / sizeof(T)>>(b);
    for (size_t i = 0; i < lanes.size(); ++i) {
      if (counts[i] < kBits)
        lanes[i] = static_cast<T>(kLeft ? lanes[i] << counts[i] : lanes[i] >> counts[i]);
      else
        lanes[i] = static_cast<T>(lanes[i] < 0 ? -1 : 0);
    }
    return std::bit_cast<ByteVec<N>>(lanes);
  }
};

// --- masked ---

// VMASKMOVPS and its kin: lanes whose mask is negative. The others are not accessed: they cannot fault.
template <typename T>
struct MaskedLoad {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    const auto mask = GetLanes<kForm, std::make_signed_t<T>>(env.state(), op.src);
    Lanes<kForm, T> lanes = {};
    for (size_t i = 0; i < lanes.size(); ++i)
      if (mask[i] < 0 && !env.Load(env.Address(op) + i * sizeof(T), &lanes[i])) return false;
    SetLanes<kForm, T>(env.state(), op.dst, lanes);
    return true;
  }
};
template <typename T>
struct MaskedStore {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    const auto mask = GetLanes<kForm, std::make_signed_t<T>>(env.state(), op.dst);
    const auto lanes = GetLanes<kForm, T>(env.state(), op.src);
    const uint64_t address = env.Address(op);
    for (size_t i = 0; i < lanes.size(); ++i)
      if (mask[i] < 0 && !env.ProbeWrite(address + i * sizeof(T), sizeof(T))) return false;
    for (size_t i = 0; i < lanes.size(); ++i)
      if (mask[i] < 0 && !env.Store(address + i * sizeof(T), lanes[i])) return false;
    return true;
  }
};
template <typename T>
PlainHandler MaskedMove(Form form, const Op& op) {
  return op.memory_first ? HandlerOf<MaskedStore<T>>(form) : HandlerOf<MaskedLoad<T>>(form);
}

// The gathers: lane by lane, the mask tells what is left to do, so that one that faulted goes on where it stopped. What
// lies above the lanes is cleared at the end.
// Index is signed. With indices and lanes of two sizes the fewer count.
template <typename T, typename Index>
struct Gather {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    constexpr size_t kLanes = kWidth<kForm> / (sizeof(T) > sizeof(Index) ? sizeof(T) : sizeof(Index));
    CpuState& state = env.state();
    const auto index = GetLanes<kForm, Index>(state, op.index);
    std::byte* result = state.vector[op.dst].bytes.data();
    std::byte* masks = state.vector[op.src].bytes.data();
    Op base = op;
    base.index = kNoRegister;
    base.segment = 0;
    base.address32 = 0;
    const uint64_t offset = env.Offset(base);
    const uint64_t segment = op.segment == 0 ? 0 : op.segment == 1 ? state.fs_base : state.gs_base;
    std::array<std::make_signed_t<T>, 32 / sizeof(T)> pending = {};
    std::memcpy(&pending, masks, kWidth<kForm>);
    for (size_t i = 0; i < kLanes; ++i) {
      if (pending[i] < 0) {
        uint64_t address = offset + (static_cast<uint64_t>(int64_t{index[i]}) << op.scale_shift);
        if (op.address32) address = static_cast<uint32_t>(address);
        if (!env.Read(address + segment, result + i * sizeof(T), sizeof(T))) return false;
      }
      std::memset(masks + i * sizeof(T), 0, sizeof(T));
    }
    constexpr size_t kUsed = kLanes * sizeof(T);
    std::memset(result + kUsed, 0, sizeof(VectorRegister) - kUsed);
    std::memset(masks, 0, sizeof(VectorRegister));
    return true;
  }
};
template <typename T, typename Index>
PlainHandler GatherOf(const VectorInstruction& in, const Op& op) {
  // The three registers have to be three.
  if (op.dst == op.src || op.dst == op.index || op.src == op.index) return nullptr;
  return HandlerOf<Gather<T, Index>>(in.form);
}

}  // namespace

PlainHandler FindAvx(const VectorInstruction& in, const Op& op) {
  const Form form = in.form;
  using namespace lanes;  // NOLINT: the operations
  switch (in.mnemonic) {
    case ZYDIS_MNEMONIC_VBROADCASTSS:
    case ZYDIS_MNEMONIC_VPBROADCASTD:
      return HandlerOf<Broadcast<uint32_t>>(form);
    case ZYDIS_MNEMONIC_VBROADCASTSD:
    case ZYDIS_MNEMONIC_VPBROADCASTQ:
      return HandlerOf<Broadcast<uint64_t>>(form);
    case ZYDIS_MNEMONIC_VPBROADCASTB:
      return HandlerOf<Broadcast<uint8_t>>(form);
    case ZYDIS_MNEMONIC_VPBROADCASTW:
      return HandlerOf<Broadcast<uint16_t>>(form);
    case ZYDIS_MNEMONIC_VBROADCASTF128:
    case ZYDIS_MNEMONIC_VBROADCASTI128:
      return Broadcast<ByteVec<16>>::Run<kBroad>;
    case ZYDIS_MNEMONIC_VEXTRACTF128:
    case ZYDIS_MNEMONIC_VEXTRACTI128:
      return ExtractPart;
    case ZYDIS_MNEMONIC_VINSERTF128:
    case ZYDIS_MNEMONIC_VINSERTI128:
      return InsertPart;
    case ZYDIS_MNEMONIC_VPERM2F128:
    case ZYDIS_MNEMONIC_VPERM2I128:
      return PermuteParts;
    case ZYDIS_MNEMONIC_VPERMD:
    case ZYDIS_MNEMONIC_VPERMPS:
      return PermuteDoublewords;
    case ZYDIS_MNEMONIC_VPERMQ:
    case ZYDIS_MNEMONIC_VPERMPD:
      return PermuteQuadwords;
    case ZYDIS_MNEMONIC_VPERMILPS:
      return in.last_is_immediate ? HandlerOf<SingleImmediate<ShuffleFour<uint32_t>>>(form)
                                  : HandlerOf<Binary<PermuteInPart<uint32_t>>>(form);
    case ZYDIS_MNEMONIC_VPERMILPD:
      return in.last_is_immediate ? HandlerOf<SingleImmediate<ShuffleTwo>>(form)
                                  : HandlerOf<Binary<PermuteInPart<uint64_t>>>(form);
    case ZYDIS_MNEMONIC_VPBLENDD:
      return HandlerOf<BinaryImmediate<BlendImmediate<uint32_t>>>(form);
    case ZYDIS_MNEMONIC_VPSLLVD:
      return HandlerOf<Binary<ShiftEach<uint32_t, true>>>(form);
    case ZYDIS_MNEMONIC_VPSLLVQ:
      return HandlerOf<Binary<ShiftEach<uint64_t, true>>>(form);
    case ZYDIS_MNEMONIC_VPSRLVD:
      return HandlerOf<Binary<ShiftEach<uint32_t, false>>>(form);
    case ZYDIS_MNEMONIC_VPSRLVQ:
      return HandlerOf<Binary<ShiftEach<uint64_t, false>>>(form);
    case ZYDIS_MNEMONIC_VPSRAVD:
      return HandlerOf<Binary<ShiftEach<int32_t, false>>>(form);
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
      return MaskedMove<uint32_t>(form, op);
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
      return MaskedMove<uint64_t>(form, op);
    case ZYDIS_MNEMONIC_VGATHERDPS:
    case ZYDIS_MNEMONIC_VPGATHERDD:
      return GatherOf<uint32_t, int32_t>(in, op);
    case ZYDIS_MNEMONIC_VGATHERDPD:
    case ZYDIS_MNEMONIC_VPGATHERDQ:
      return GatherOf<uint64_t, int32_t>(in, op);
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VPGATHERQD:
      return GatherOf<uint32_t, int64_t>(in, op);
    case ZYDIS_MNEMONIC_VGATHERQPD:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
      return GatherOf<uint64_t, int64_t>(in, op);
    default:
      return nullptr;
  }
}

}  // namespace remora::cpu
