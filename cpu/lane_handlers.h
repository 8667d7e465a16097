#ifndef REMORA_CPU_LANE_HANDLERS_H_
#define REMORA_CPU_LANE_HANDLERS_H_

#include <cstdint>

#include "cpu/handler_env.h"
#include "cpu/op.h"
#include "cpu/sse_operands.h"

// Plain handlers of XMM and YMM registers by the shape of their operands. What an Operation does to 16 bytes is done to
// each part; Run<kForm> is the handler of a form.

namespace remora::cpu {

template <typename Operation>
struct Binary {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    Wide<kForm> b;
    if (!LoadSecond<kForm>(env, op, &b)) return false;
    Wide<kForm> a = GetWide<kForm>(env.state(), FirstNumber<kForm>(op));
    for (int i = 0; i < kNumParts<kForm>; ++i) a.part[i] = Operation::template Apply<16>(a.part[i], b.part[i]);
    SetWide<kForm>(env.state(), op.dst, a);
    return true;
  }
};

template <typename Operation>
struct BinaryImmediate {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    Wide<kForm> b;
    if (!LoadSecond<kForm>(env, op, &b)) return false;
    Wide<kForm> a = GetWide<kForm>(env.state(), FirstNumber<kForm>(op));
    for (int i = 0; i < kNumParts<kForm>; ++i)
      a.part[i] =
          Operation::template Apply<16>(a.part[i], b.part[i], unsigned{op.immediate8} >> (i * Operation::kControlBits));
    SetWide<kForm>(env.state(), op.dst, a);
    return true;
  }
};

template <typename Operation>
struct Single {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    Wide<kForm> a;
    if (!LoadOnly<kForm>(env, op, &a)) return false;
    for (auto& part : a.part) part = Operation::template Apply<16>(part);
    SetWide<kForm>(env.state(), op.dst, a);
    return true;
  }
};

template <typename Operation>
struct SingleImmediate {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    Wide<kForm> a;
    if (!LoadOnly<kForm>(env, op, &a)) return false;
    for (int i = 0; i < kNumParts<kForm>; ++i)
      a.part[i] = Operation::template Apply<16>(a.part[i], unsigned{op.immediate8} >> (i * Operation::kControlBits));
    SetWide<kForm>(env.state(), op.dst, a);
    return true;
  }
};

// The mask is XMM0, or a fourth register.
template <typename Operation>
struct Blended {
  template <Form kForm>
  static bool Run(HandlerEnv& env, const Op& op) {
    CpuState& state = env.state();
    Wide<kForm> b;
    if (!LoadSecond<kForm>(env, op, &b)) return false;
    Wide<kForm> a = GetWide<kForm>(state, FirstNumber<kForm>(op));
    const auto mask = GetWide<kForm>(state, kForm == Form::kSse ? 0 : op.immediate8);
    for (int i = 0; i < kNumParts<kForm>; ++i)
      a.part[i] = Operation::template Apply<16>(a.part[i], b.part[i], mask.part[i]);
    SetWide<kForm>(state, op.dst, a);
    return true;
  }
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_LANE_HANDLERS_H_
