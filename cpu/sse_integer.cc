#include <cstdint>

#include "cpu/lane_handlers.h"
#include "cpu/sse4_lanes.h"
#include "cpu/sse_lanes.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// MMX, SSE and AVX instructions on lanes that do not look at numbers. Those of XMM and YMM registers that are hot have
// chained handlers as well (handlers_vector.cc).

namespace remora::cpu {
namespace {

using namespace lanes;  // NOLINT: the operations of the table below

// All lanes by one count, that is in 16 bytes whatever the form.
template <typename Operation>
struct ShiftByCount {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    Wide<Form::kSse> count;
    const uint8_t number = SecondNumber<kForm>(op);
    if constexpr (kForm == Form::kSse) {
      if (!LoadWide<Form::kSse>(env, op, number, &count)) return false;
    } else {
      Wide<Form::kVex128> value;
      if (!LoadWide<Form::kVex128>(env, op, number, &value)) return false;
      count.part[0] = value.part[0];
    }
    Wide<kForm> a = GetWide<kForm>(env.state(), FirstNumber<kForm>(op));
    for (auto& part : a.part) part = Operation::template Apply<16>(part, count.part[0]);
    SetWide<kForm>(env.state(), op.dst, a);
    return true;
  }
};

// The VEX forms have a destination of their own.
template <typename Operation>
struct ShiftByImmediate {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    Wide<kForm> a = GetWide<kForm>(env.state(), FirstNumber<kForm>(op));
    for (auto& part : a.part) part = Operation::template By<16>(part, op.immediate8);
    SetWide<kForm>(env.state(), op.dst, a);
    return true;
  }
};

// PSLLDQ, PSRLDQ.
template <bool kLeft>
struct ShiftBytes {
  template <int N>
  static ByteVec<N> By(ByteVec<N> value, uint64_t count) {
    const auto bits = As<unsigned __int128>(value);
    if (count > 15) return ByteVec<N>{};
    return As<ByteVec<N>>(kLeft ? bits << (8 * count) : bits >> (8 * count));
  }
};

// --- handlers of MMX registers ---

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
bool BinaryImmediateMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  ByteVec<8> source;
  if (!LoadSource<8>(env, op, &source)) return false;
  CpuState& state = env.state();
  EnterMmx(state);
  SetRegister<8>(state, op.dst, Operation::template Apply<8>(GetRegister<8>(state, op.dst), source, op.immediate8));
  return true;
}

template <typename Operation>
bool SingleMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  ByteVec<8> source;
  if (!LoadSource<8>(env, op, &source)) return false;
  EnterMmx(env.state());
  SetRegister<8>(env.state(), op.dst, Operation::template Apply<8>(source));
  return true;
}

bool ShuffleMmx(HandlerEnv& env, const Op& op) {
  if (!MmxReady(env)) return false;
  ByteVec<8> source;
  if (!LoadSource<8>(env, op, &source)) return false;
  EnterMmx(env.state());
  SetRegister<8>(env.state(), op.dst, ShuffleFour<uint16_t>::Apply<8>(source, op.immediate8));
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

// --- tables ---

struct Row {
  ZydisMnemonic mnemonic;
  PlainHandler sse, vex128, vex256, mmx;

  PlainHandler Find(Form form, bool of_mmx) const {
    return of_mmx ? mmx : form == Form::kSse ? sse : form == Form::kVex128 ? vex128 : vex256;
  }
};

template <typename Family>
constexpr Row RowOf(ZydisMnemonic mnemonic, PlainHandler mmx = nullptr) {
  return {mnemonic, Family::template Run<Form::kSse>, Family::template Run<Form::kVex128>,
          Family::template Run<Form::kVex256>, mmx};
}

template <typename Operation>
constexpr Row BinaryRow(ZydisMnemonic mnemonic) {
  return RowOf<Binary<Operation>>(mnemonic, BinaryMmx<Operation>);
}
template <typename Operation>
constexpr Row CountRow(ZydisMnemonic mnemonic) {
  return RowOf<ShiftByCount<Operation>>(mnemonic, BinaryMmx<Operation>);
}
template <typename Operation>
constexpr Row ImmediateRow(ZydisMnemonic mnemonic) {
  return RowOf<BinaryImmediate<Operation>>(mnemonic, BinaryImmediateMmx<Operation>);
}
template <typename Operation>
constexpr Row SingleRow(ZydisMnemonic mnemonic) {
  return RowOf<Single<Operation>>(mnemonic, SingleMmx<Operation>);
}
template <typename Operation>
constexpr Row ShiftRow(ZydisMnemonic mnemonic) {
  return RowOf<ShiftByImmediate<Operation>>(mnemonic, ShiftImmediateMmx<Operation>);
}

constexpr Row kRows[] = {
#define REMORA_LANES(mnemonic, ...) BinaryRow<__VA_ARGS__>(ZYDIS_MNEMONIC_##mnemonic),
#define REMORA_XMM_LANES(mnemonic, ...) RowOf<Binary<__VA_ARGS__>>(ZYDIS_MNEMONIC_##mnemonic),
#define REMORA_LANE_SHIFTS(mnemonic, ...) CountRow<__VA_ARGS__>(ZYDIS_MNEMONIC_##mnemonic),
#define REMORA_IMMEDIATE_LANES(mnemonic, ...) ImmediateRow<__VA_ARGS__>(ZYDIS_MNEMONIC_##mnemonic),
#define REMORA_XMM_IMMEDIATE_LANES(mnemonic, ...) RowOf<BinaryImmediate<__VA_ARGS__>>(ZYDIS_MNEMONIC_##mnemonic),
#define REMORA_SINGLE_LANES(mnemonic, ...) SingleRow<__VA_ARGS__>(ZYDIS_MNEMONIC_##mnemonic),
#define REMORA_XMM_SINGLE_LANES(mnemonic, ...) RowOf<Single<__VA_ARGS__>>(ZYDIS_MNEMONIC_##mnemonic),
#define REMORA_XMM_SINGLE_IMMEDIATE_LANES(mnemonic, ...) RowOf<SingleImmediate<__VA_ARGS__>>(ZYDIS_MNEMONIC_##mnemonic),
#define REMORA_BLEND_LANES(mnemonic, ...) RowOf<Blended<__VA_ARGS__>>(ZYDIS_MNEMONIC_##mnemonic),
#include "cpu/sse_lanes.inc"
    {ZYDIS_MNEMONIC_PSHUFW, nullptr, nullptr, nullptr, ShuffleMmx},
};

constexpr Row kShiftImmediate[] = {
#define REMORA_LANE_SHIFTS(mnemonic, ...) ShiftRow<__VA_ARGS__>(ZYDIS_MNEMONIC_##mnemonic),
#include "cpu/sse_lanes.inc"
    RowOf<ShiftByImmediate<ShiftBytes<true>>>(ZYDIS_MNEMONIC_PSLLDQ),
    RowOf<ShiftByImmediate<ShiftBytes<false>>>(ZYDIS_MNEMONIC_PSRLDQ),
};

}  // namespace

PlainHandler FindSseInteger(const VectorInstruction& in) {
  const auto find = [&](const auto& rows) -> PlainHandler {
    for (const Row& row : rows)
      if (row.mnemonic == in.mnemonic) return row.Find(in.form, in.mmx);
    return nullptr;
  };
  if (in.last_is_immediate)
    if (const PlainHandler shift = find(kShiftImmediate)) return shift;
  return find(kRows);
}

}  // namespace remora::cpu
