#include <cstdint>

#include "cpu/sse_lanes.h"
#include "cpu/sse_lowering.h"
#include "cpu/sse_operands.h"

// MMX and SSE2 instructions on lanes. The XMM forms have chained handlers as well (handlers_vector.cc).

namespace remora::cpu {
namespace {

using namespace lanes;  // NOLINT: the operations of the table below

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
#define REMORA_LANES(mnemonic, ...) Both<__VA_ARGS__>(ZYDIS_MNEMONIC_##mnemonic),
#define REMORA_XMM_LANES(mnemonic, ...) XmmOnly<__VA_ARGS__>(ZYDIS_MNEMONIC_##mnemonic),
#define REMORA_LANE_SHIFTS REMORA_LANES
#include "cpu/sse_lanes.inc"
#undef REMORA_LANES
#undef REMORA_XMM_LANES
#undef REMORA_LANE_SHIFTS
};

constexpr Row kShiftImmediate[] = {
#define REMORA_LANES(...)
#define REMORA_XMM_LANES(...)
#define REMORA_LANE_SHIFTS(mnemonic, ...) Immediate<__VA_ARGS__>(ZYDIS_MNEMONIC_##mnemonic),
#include "cpu/sse_lanes.inc"
#undef REMORA_LANES
#undef REMORA_XMM_LANES
#undef REMORA_LANE_SHIFTS
    {ZYDIS_MNEMONIC_PSLLDQ, ShiftBytes<true>, nullptr},
    {ZYDIS_MNEMONIC_PSRLDQ, ShiftBytes<false>, nullptr},
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
