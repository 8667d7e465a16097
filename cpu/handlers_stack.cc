// PUSH POP PUSHF POPF ENTER LEAVE. RSP changes only once nothing can fail any more.

#include <array>

#include "cpu/chain.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

using mm::Access;

enum class Source : uint8_t { kRegister, kImmediate };

template <typename T, Source kSource, bool kSlow>
REMORA_CHAINED void Push(REMORA_PARAMS) {
  const uint64_t address = state->gpr[kRsp] - sizeof(T);
  const T value = kSource == Source::kImmediate ? static_cast<T>(op->immediate) : ReadRegister<T>(state, op->dst);
  if constexpr (!kSlow) {
    std::byte* host = ProbeGuest<Access::kWrite, sizeof(T)>(tlb, address);
    if (host == nullptr) [[unlikely]]
      REMORA_TAIL Push<T, kSource, true>(REMORA_ARGS);
    StoreGuest<T>(host, value);
    state->gpr[kRsp] = address;
    REMORA_TAIL Next(REMORA_ARGS);
  } else {
    if (!context->Store(address, value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
    state->gpr[kRsp] = address;
    REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
  }
}

// Several PUSH or POP of whole registers but RSP, side by side: one probe for all of them. Where it fails each does it
// by itself.
template <int kCount>
REMORA_CHAINED void PushRun(REMORA_PARAMS) {
  const uint64_t address = state->gpr[kRsp] - 8 * kCount;
  std::byte* host = ProbeGuest<Access::kWrite, 8 * kCount>(tlb, address);
  if (host == nullptr) [[unlikely]]
    REMORA_TAIL Push<uint64_t, Source::kRegister, true>(REMORA_ARGS);
#pragma clang loop unroll(full)
  for (int i = 0; i < kCount; ++i) StoreGuest<uint64_t>(host + 8 * (kCount - 1 - i), state->gpr[op[i].dst]);
  state->gpr[kRsp] = address;
  op += kCount - 1;
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename T>
REMORA_CHAINED void PushMem(REMORA_PARAMS) {
  const uint64_t address = state->gpr[kRsp] - sizeof(T);
  T value;
  if (!context->Load(OperandAddress<AddressKind::kAny>(state, op), &value) || !context->Store(address, value))
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  state->gpr[kRsp] = address;
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

template <typename T, bool kSlow>
REMORA_CHAINED void Pop(REMORA_PARAMS) {
  const uint64_t address = state->gpr[kRsp];
  T value;
  if constexpr (!kSlow) {
    const std::byte* host = ProbeGuest<Access::kRead, sizeof(T)>(tlb, address);
    if (host == nullptr) [[unlikely]]
      REMORA_TAIL Pop<T, true>(REMORA_ARGS);
    value = LoadGuest<T>(host);
  } else {
    if (!context->Load(address, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  }
  state->gpr[kRsp] = address + sizeof(T);
  WriteRegister<T>(state, op->dst, value);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <int kCount>
REMORA_CHAINED void PopRun(REMORA_PARAMS) {
  const uint64_t address = state->gpr[kRsp];
  const std::byte* host = ProbeGuest<Access::kRead, 8 * kCount>(tlb, address);
  if (host == nullptr) [[unlikely]]
    REMORA_TAIL Pop<uint64_t, true>(REMORA_ARGS);
#pragma clang loop unroll(full)
  for (int i = 0; i < kCount; ++i) state->gpr[op[i].dst] = LoadGuest<uint64_t>(host + 8 * i);
  state->gpr[kRsp] = address + 8 * kCount;
  op += kCount - 1;
  REMORA_TAIL Next(REMORA_ARGS);
}

// Of one register and more.
constexpr std::array<Handler, 6> kPushes = {
    &Push<uint64_t, Source::kRegister, false>, &PushRun<2>, &PushRun<3>, &PushRun<4>, &PushRun<5>, &PushRun<6>};
constexpr std::array<Handler, 6> kPops = {
    &Pop<uint64_t, false>, &PopRun<2>, &PopRun<3>, &PopRun<4>, &PopRun<5>, &PopRun<6>};

// An address that uses RSP sees it as it is after the pop.
template <typename T>
REMORA_CHAINED void PopMem(REMORA_PARAMS) {
  const uint64_t stack = state->gpr[kRsp];
  T value;
  if (!context->Load(stack, &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  state->gpr[kRsp] = stack + sizeof(T);
  if (!context->Store(OperandAddress<AddressKind::kAny>(state, op), value)) {
    state->gpr[kRsp] = stack;
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  }
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

template <typename T>
REMORA_CHAINED void PushFlags(REMORA_PARAMS) {
  const uint64_t address = state->gpr[kRsp] - sizeof(T);
  const uint64_t rflags = (state->rflags & ~(kStatusFlags | kFlagRF)) | MaterializeFlags(flag_a, flag_b, flag_kind);
  if (!context->Store(address, static_cast<T>(rflags))) REMORA_TAIL LeaveAt(REMORA_ARGS);
  state->gpr[kRsp] = address;
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

// In user mode IF and IOPL stay, and RF is cleared. Where TF is on afterwards the chain ends, since from the next
// instruction on each traps.
template <typename T>
REMORA_CHAINED void PopFlags(REMORA_PARAMS) {
  constexpr uint64_t kChangeable =
      kStatusFlags | kFlagTF | kFlagDF | kFlagNT | (sizeof(T) == 8 ? kFlagAC | kFlagID : 0);
  T value;
  if (!context->Load(state->gpr[kRsp], &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  state->gpr[kRsp] += sizeof(T);
  state->rflags = (state->rflags & ~(kChangeable | kFlagRF)) | (value & kChangeable) | kFlagsFixed;
  flag_a = value & kStatusFlags;
  flag_b = 0;
  flag_kind = kFlagWord<FlagKind::kExplicit>;
  if ((state->rflags & kFlagTF) != 0) {
    context->exit_to_kernel = false;
    REMORA_TAIL LeaveAfter(REMORA_ARGS);
  }
  REMORA_TAIL Next(REMORA_ARGS);
}

REMORA_CHAINED void Leave(REMORA_PARAMS) {
  uint64_t value;
  if (!context->Load(state->gpr[kRbp], &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  state->gpr[kRsp] = state->gpr[kRbp] + 8;
  state->gpr[kRbp] = value;
  REMORA_TAIL Next(REMORA_ARGS);
}
REMORA_CHAINED void Leave16(REMORA_PARAMS) {
  uint16_t value;
  if (!context->Load(state->gpr[kRbp], &value)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  state->gpr[kRsp] = state->gpr[kRbp] + 2;
  WriteRegister<uint16_t>(state, kRbp, value);
  REMORA_TAIL Next(REMORA_ARGS);
}

// The word at `address`, as it is once the pushed words have been written from `top` downwards.
template <typename T>
bool LoadBehindPushes(RunContext* context, uint64_t address, uint64_t top, const T* newest, unsigned count, T* value) {
  if (!context->Load(address, value)) return false;
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t pushed_at = top - (count - 1 - i) * sizeof(T);
    for (unsigned byte = 0; byte < sizeof(T); ++byte) {
      const uint64_t at = pushed_at + byte - address;
      if (at < sizeof(T))
        std::memcpy(reinterpret_cast<std::byte*>(value) + at, reinterpret_cast<const std::byte*>(newest + i) + byte, 1);
    }
  }
  return true;
}

// Frame pointers of the outer levels are copied; what is pushed is gathered and written in one go.
template <typename T>
REMORA_CHAINED void EnterFrame(REMORA_PARAMS) {
  const uint64_t size = static_cast<uint16_t>(op->immediate);
  const unsigned level = op->immediate8 & 31;
  const uint64_t frame = state->gpr[kRsp] - sizeof(T);
  std::array<T, 33> pushed;  // in the order of addresses, so the last pushed comes first
  const unsigned count = level == 0 ? 1 : level + 1;
  pushed[count - 1] = static_cast<T>(state->gpr[kRbp]);
  // Each access in the CPU's order, so that the same one of several faults is told.
  if (!context->ProbeWrite(frame, sizeof(T))) REMORA_TAIL LeaveAt(REMORA_ARGS);
  for (unsigned i = 1; i < level; ++i)
    if (!LoadBehindPushes(context, state->gpr[kRbp] - i * sizeof(T), frame, &pushed[count - i], i,
                          &pushed[count - 1 - i]) ||
        !context->ProbeWrite(frame - i * sizeof(T), sizeof(T)))
      REMORA_TAIL LeaveAt(REMORA_ARGS);
  if (level != 0) pushed[0] = static_cast<T>(frame);
  const uint64_t lowest = frame - (count - 1) * sizeof(T);
  // The CPU checks that the new top of the stack is writable too.
  if (!context->ProbeWrite(lowest, sizeof(T)) || !context->ProbeWrite(lowest - size, sizeof(T)) ||
      !context->Write(lowest, pushed.data(), count * sizeof(T)))
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  WriteRegister<T>(state, kRbp, static_cast<T>(frame));
  state->gpr[kRsp] = lowest - size;
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

// A segment register's selector, as Linux sets them up for 64-bit programs.
uint16_t SelectorOf(ZydisRegister segment) {
  return segment == ZYDIS_REGISTER_CS ? 0x33 : segment == ZYDIS_REGISTER_SS ? 0x2b : 0;
}

bool LowerPush(Lowering* lowering) {
  Op& op = *lowering->op;
  const unsigned size = lowering->in.info.operand_width / 8;
  const bool narrow = size == 2;
  switch (lowering->shape) {
    case Shape::kReg: {
      const ZydisRegister value = lowering->in.operands[0].reg.value;
      if (ZydisRegisterGetClass(value) == ZYDIS_REGCLASS_SEGMENT) {
        op.immediate = SelectorOf(value);
        op.handler = narrow ? &Push<uint16_t, Source::kImmediate, false> : &Push<uint64_t, Source::kImmediate, false>;
        return true;
      }
      op.handler = narrow ? &Push<uint16_t, Source::kRegister, false> : &Push<uint64_t, Source::kRegister, false>;
      return true;
    }
    case Shape::kImm:
      op.handler = narrow ? &Push<uint16_t, Source::kImmediate, false> : &Push<uint64_t, Source::kImmediate, false>;
      return true;
    case Shape::kMem:
      op.handler = narrow ? &PushMem<uint16_t> : &PushMem<uint64_t>;
      return true;
    default:
      return false;
  }
}

// POP FS and POP GS: a selector other than null is not loaded.
REMORA_CHAINED void PopSegment(REMORA_PARAMS) {
  uint16_t selector;
  if (!context->Load(state->gpr[kRsp], &selector)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  if (selector > 3) {
    context->Raise(ExitReason::kProtection);
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  }
  state->gpr[kRsp] += op->size;
  (op->segment == 1 ? state->fs_base : state->gs_base) = 0;
  REMORA_TAIL Next(REMORA_ARGS);
}

bool LowerPop(Lowering* lowering) {
  Op& op = *lowering->op;
  const unsigned size = lowering->in.info.operand_width / 8;
  const bool narrow = size == 2;
  if (lowering->shape == Shape::kMem) {
    op.handler = narrow ? &PopMem<uint16_t> : &PopMem<uint64_t>;
    return true;
  }
  if (lowering->shape != Shape::kReg) return false;
  const ZydisRegister value = lowering->in.operands[0].reg.value;
  if (ZydisRegisterGetClass(value) == ZYDIS_REGCLASS_SEGMENT) {
    op.size = static_cast<uint8_t>(size);
    op.segment = value == ZYDIS_REGISTER_FS ? 1 : 2;
    op.handler = &PopSegment;
    return true;
  }
  op.handler = narrow ? &Pop<uint16_t, false> : &Pop<uint64_t, false>;
  return true;
}

}  // namespace

Handler FuseStackRun(const Op& first, const Op& second) {
  for (const auto& handlers : {kPushes, kPops}) {
    if (first.handler != handlers[0] || first.dst == kRsp || second.dst == kRsp) continue;
    for (size_t i = 0; i + 1 < handlers.size(); ++i)
      if (second.handler == handlers[i]) return handlers[i + 1];
  }
  return nullptr;
}

bool LowerStack(Lowering* lowering) {
  Op& op = *lowering->op;
  switch (lowering->in.info.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
      return LowerPush(lowering);
    case ZYDIS_MNEMONIC_POP:
      return LowerPop(lowering);
    case ZYDIS_MNEMONIC_PUSHFQ:
      op.handler = &PushFlags<uint64_t>;
      return true;
    case ZYDIS_MNEMONIC_PUSHF:
      op.handler = &PushFlags<uint16_t>;
      return true;
    case ZYDIS_MNEMONIC_POPFQ:
      op.handler = &PopFlags<uint64_t>;
      lowering->flags = KnownFlags::kExplicit;
      return true;
    case ZYDIS_MNEMONIC_POPF:
      op.handler = &PopFlags<uint16_t>;
      lowering->flags = KnownFlags::kExplicit;
      return true;
    case ZYDIS_MNEMONIC_LEAVE:
      op.handler = lowering->in.info.operand_width == 16 ? &Leave16 : &Leave;
      return true;
    case ZYDIS_MNEMONIC_ENTER:
      op.handler = lowering->in.info.operand_width == 16 ? &EnterFrame<uint16_t> : &EnterFrame<uint64_t>;
      return true;
    default:
      return false;
  }
}

}  // namespace remora::cpu
