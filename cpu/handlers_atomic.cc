// XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B.

#include "cpu/alu.h"
#include "cpu/chain.h"
#include "cpu/locked.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

__extension__ using Uint128 = unsigned __int128;

template <typename T>
REMORA_CHAINED void XchgReg(REMORA_PARAMS) {
  const T first = ReadRegister<T>(state, op->dst);
  const T second = ReadRegister<T>(state, op->src);
  WriteRegister<T>(state, op->dst, second);
  WriteRegister<T>(state, op->src, first);
  REMORA_TAIL Next(REMORA_ARGS);
}

// Locked with or without the prefix.
template <typename T>
REMORA_CHAINED void XchgMem(REMORA_PARAMS) {
  const T value = ReadRegister<T>(state, op->dst);
  T old;
  if (!LockedUpdate(*context, OperandAddress<AddressKind::kAny>(state, op), &old, [value](T) { return value; }))
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  WriteRegister<T>(state, op->dst, old);
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

template <typename T>
REMORA_CHAINED void XaddReg(REMORA_PARAMS) {
  const T first = ReadRegister<T>(state, op->dst);
  const T second = ReadRegister<T>(state, op->src);
  const T sum = Compute<Alu::kAdd, T>(first, second, flag_a, flag_b, flag_kind);
  WriteRegister<T>(state, op->src, first);
  WriteRegister<T>(state, op->dst, sum);
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename T>
REMORA_CHAINED void XaddMem(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<AddressKind::kAny>(state, op);
  const T value = ReadRegister<T>(state, op->dst);
  T old;
  if (op->lock) {
    if (!LockedUpdate(*context, address, &old, [value](T before) { return static_cast<T>(before + value); }))
      REMORA_TAIL LeaveAt(REMORA_ARGS);
  } else {
    if (!context->ProbeWrite(address, sizeof(T)) || !context->Load(address, &old)) REMORA_TAIL LeaveAt(REMORA_ARGS);
    context->Store(address, static_cast<T>(old + value));
  }
  Compute<Alu::kAdd, T>(old, value, flag_a, flag_b, flag_kind);
  WriteRegister<T>(state, op->dst, old);
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

template <typename T>
REMORA_CHAINED void CmpxchgReg(REMORA_PARAMS) {
  const T old = ReadRegister<T>(state, op->dst);
  const T accumulator = ReadRegister<T>(state, kRax);
  Compute<Alu::kCmp, T>(accumulator, old, flag_a, flag_b, flag_kind);
  if (accumulator == old) {
    WriteRegister<T>(state, op->dst, ReadRegister<T>(state, op->src));
  } else {
    WriteRegister<T>(state, kRax, old);
    if constexpr (sizeof(T) != 4) WriteRegister<T>(state, op->dst, old);
  }
  REMORA_TAIL Next(REMORA_ARGS);
}

template <typename T>
REMORA_CHAINED void CmpxchgMem(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<AddressKind::kAny>(state, op);
  const T accumulator = ReadRegister<T>(state, kRax);
  const T value = ReadRegister<T>(state, op->dst);
  T old;
  if (op->lock) {
    if (!LockedUpdate(*context, address, &old,
                      [accumulator, value](T before) { return before == accumulator ? value : before; }))
      REMORA_TAIL LeaveAt(REMORA_ARGS);
  } else {
    // The destination is written either way, so it must be writable either way.
    if (!context->ProbeWrite(address, sizeof(T)) || !context->Load(address, &old)) REMORA_TAIL LeaveAt(REMORA_ARGS);
    if (old == accumulator) context->Store(address, value);
  }
  Compute<Alu::kCmp, T>(accumulator, old, flag_a, flag_b, flag_kind);
  if (old != accumulator) WriteRegister<T>(state, kRax, old);
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

void SetZero(bool zero, uint64_t& flag_a, uint64_t& flag_b, uint64_t& flag_kind) {
  flag_a = (MaterializeFlags(flag_a, flag_b, flag_kind) & ~kFlagZF) | (zero ? kFlagZF : 0);
  flag_b = 0;
  flag_kind = kFlagWord<FlagKind::kExplicit>;
}

REMORA_CHAINED void Cmpxchg8b(REMORA_PARAMS) {
  const uint64_t expected = state->gpr[kRdx] << 32 | static_cast<uint32_t>(state->gpr[kRax]);
  const uint64_t desired = state->gpr[kRcx] << 32 | static_cast<uint32_t>(state->gpr[kRbx]);
  uint64_t old;
  if (!LockedUpdate(*context, OperandAddress<AddressKind::kAny>(state, op), &old,
                    [=](uint64_t before) { return before == expected ? desired : before; }))
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  if (old != expected) {
    WriteRegister<uint32_t>(state, kRax, static_cast<uint32_t>(old));
    WriteRegister<uint32_t>(state, kRdx, static_cast<uint32_t>(old >> 32));
  }
  SetZero(old == expected, flag_a, flag_b, flag_kind);
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

Uint128 CompareExchange16(std::byte* host, Uint128 expected, Uint128 desired) {
  return __sync_val_compare_and_swap(reinterpret_cast<Uint128*>(host), expected, desired);
}

REMORA_CHAINED void Cmpxchg16b(REMORA_PARAMS) {
  const uint64_t address = OperandAddress<AddressKind::kAny>(state, op);
  if (!context->CheckAligned(address, 16)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  if (!context->ProbeWrite(address, 16)) REMORA_TAIL LeaveAt(REMORA_ARGS);
  const Uint128 expected = Uint128{state->gpr[kRdx]} << 64 | state->gpr[kRax];
  const Uint128 desired = Uint128{state->gpr[kRcx]} << 64 | state->gpr[kRbx];
  const Uint128 old = CompareExchange16(tlb->Lookup<mm::Access::kWrite>(GuestAddr(address)), expected, desired);
  if (old != expected) {
    state->gpr[kRax] = static_cast<uint64_t>(old);
    state->gpr[kRdx] = static_cast<uint64_t>(old >> 64);
  }
  SetZero(old == expected, flag_a, flag_b, flag_kind);
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}

}  // namespace

bool LowerAtomic(Lowering* lowering) {
  Op& op = *lowering->op;
  const bool memory = op.has_memory != 0;
  switch (lowering->in.info.mnemonic) {
    case ZYDIS_MNEMONIC_PAUSE:  // F3 REX.B 90
      op.dst = kR8;
      op.src = kRax;
      op.handler = ByWideSize(lowering->in.info.operand_width / 8, []<typename T>() -> Handler { return &XchgReg<T>; });
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_XCHG:
      op.handler = BySize(op.size, [&]<typename T>() -> Handler { return memory ? &XchgMem<T> : &XchgReg<T>; });
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_XADD:
      op.handler = BySize(op.size, [&]<typename T>() -> Handler { return memory ? &XaddMem<T> : &XaddReg<T>; });
      lowering->flags = KnownFlags::kAdd;
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_CMPXCHG:
      op.handler = BySize(op.size, [&]<typename T>() -> Handler { return memory ? &CmpxchgMem<T> : &CmpxchgReg<T>; });
      lowering->flags = KnownFlags::kSub;
      return op.handler != nullptr;
    case ZYDIS_MNEMONIC_CMPXCHG8B:
      op.handler = &Cmpxchg8b;
      lowering->flags = KnownFlags::kExplicit;
      return true;
    case ZYDIS_MNEMONIC_CMPXCHG16B:
      op.handler = &Cmpxchg16b;
      lowering->flags = KnownFlags::kExplicit;
      return true;
    default:
      return false;
  }
}

}  // namespace remora::cpu
