// JMP Jcc CALL RET LOOP JRCXZ, and what leaves to the kernel: SYSCALL INT3 and the privileged.

#include "cpu/canonical.h"
#include "cpu/chain.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

using mm::Access;

template <Condition kCondition>
REMORA_CHAINED void Jcc(REMORA_PARAMS) {
  if (Holds<kCondition>(flag_a, flag_b, flag_kind)) {
    REMORA_TAIL Branch<true>(REMORA_ARGS);
  } else {
    REMORA_TAIL Branch<false>(REMORA_ARGS);
  }
}
template <Condition kCondition, FlagKind kKind>
REMORA_CHAINED void JccKnown(REMORA_PARAMS) {
  if (HoldsFor<kCondition, kKind>(flag_a, flag_b, flag_kind)) {
    REMORA_TAIL Branch<true>(REMORA_ARGS);
  } else {
    REMORA_TAIL Branch<false>(REMORA_ARGS);
  }
}

REMORA_CHAINED void JmpDirect(REMORA_PARAMS) { REMORA_TAIL Branch<true>(REMORA_ARGS); }
REMORA_CHAINED void FallThrough(REMORA_PARAMS) { REMORA_TAIL Branch<false>(REMORA_ARGS); }

template <bool kSlow>
REMORA_CHAINED void CallDirect(REMORA_PARAMS) {
  const uint64_t address = state->gpr[kRsp] - 8;
  const uint64_t next = state->rip + op->offset + op->length;
  if constexpr (!kSlow) {
    std::byte* host = ProbeGuest<Access::kWrite, 8>(tlb, address);
    if (host == nullptr) [[unlikely]]
      REMORA_TAIL CallDirect<true>(REMORA_ARGS);
    StoreGuest<uint64_t>(host, next);
    state->gpr[kRsp] = address;
    REMORA_TAIL Branch<true>(REMORA_ARGS);
  } else {
    if (!context->Store(address, next)) REMORA_TAIL LeaveAt(REMORA_ARGS);
    state->gpr[kRsp] = address;
    context->CodeChanged();
    context->link_from = nullptr;
    state->rip += static_cast<uint64_t>(op->immediate);
    REMORA_TAIL Resolve(REMORA_ARGS);
  }
}

// Indirect transfers: the fast form handles targets that the jump cache knows, before it changes anything; the slow one
// begins anew, and raises #GP at the branch where the target is not canonical.
enum class Indirect : uint8_t { kRegister, kMemory, kMemoryBase };  // the last: AddressKind::kBase

template <Indirect kIndirect>
constexpr AddressKind kAddressOf = kIndirect == Indirect::kMemoryBase ? AddressKind::kBase : AddressKind::kAny;

// False: the exit is recorded.
template <Indirect kIndirect>
bool ReadTarget(const CpuState* state, const Op* op, RunContext* context, uint64_t* target) {
  if constexpr (kIndirect == Indirect::kRegister) {
    *target = state->gpr[op->dst];
    return true;
  } else {
    return context->Load(OperandAddress<kAddressOf<kIndirect>>(state, op), target);
  }
}
bool CheckTarget(RunContext* context, uint64_t target) {
  return IsCanonical(target) ? true : context->Raise(ExitReason::kProtection);
}

// Whether the target could be read without a miss.
template <Indirect kIndirect>
[[gnu::always_inline]] inline bool ProbeTarget(const CpuState* state, const Op* op, const mm::Tlb* tlb,
                                               uint64_t* target) {
  if constexpr (kIndirect == Indirect::kRegister) {
    *target = state->gpr[op->dst];
  } else {
    const std::byte* host = ProbeGuest<Access::kRead, 8>(tlb, OperandAddress<kAddressOf<kIndirect>>(state, op));
    if (host == nullptr) [[unlikely]]
      return false;
    *target = LoadGuest<uint64_t>(host);
  }
  return true;
}

template <Indirect kIndirect, bool kSlow>
REMORA_CHAINED void Jmp(REMORA_PARAMS) {
  uint64_t target;
  if constexpr (!kSlow) {
    const Op* first = ProbeTarget<kIndirect>(state, op, tlb, &target) ? FindJump(context, target) : nullptr;
    if (first == nullptr) [[unlikely]]
      REMORA_TAIL Jmp<kIndirect, true>(REMORA_ARGS);
    state->rip = target;
    op = first;
    REMORA_TAIL Enter(REMORA_ARGS);
  } else {
    if (!ReadTarget<kIndirect>(state, op, context, &target) || !CheckTarget(context, target))
      REMORA_TAIL LeaveAt(REMORA_ARGS);
    state->rip = target;
    context->link_from = nullptr;
    REMORA_TAIL Resolve(REMORA_ARGS);
  }
}

template <Indirect kIndirect, bool kSlow>
REMORA_CHAINED void Call(REMORA_PARAMS) {
  const uint64_t address = state->gpr[kRsp] - 8;
  const uint64_t next = state->rip + op->offset + op->length;
  uint64_t target;
  if constexpr (!kSlow) {
    const Op* first = ProbeTarget<kIndirect>(state, op, tlb, &target) ? FindJump(context, target) : nullptr;
    std::byte* host = ProbeGuest<Access::kWrite, 8>(tlb, address);
    if (first == nullptr || host == nullptr) [[unlikely]]
      REMORA_TAIL Call<kIndirect, true>(REMORA_ARGS);
    StoreGuest<uint64_t>(host, next);
    state->gpr[kRsp] = address;
    state->rip = target;
    op = first;
    REMORA_TAIL Enter(REMORA_ARGS);
  } else {
    // Of two faults the push's comes first.
    if (!ReadTarget<kIndirect>(state, op, context, &target) || !context->ProbeWrite(address, 8) ||
        !CheckTarget(context, target) || !context->Store(address, next))
      REMORA_TAIL LeaveAt(REMORA_ARGS);
    context->CodeChanged();
    state->gpr[kRsp] = address;
    state->rip = target;
    context->link_from = nullptr;
    REMORA_TAIL Resolve(REMORA_ARGS);
  }
}

// immediate: bytes of arguments to drop.
template <bool kSlow>
REMORA_CHAINED void Ret(REMORA_PARAMS) {
  const uint64_t address = state->gpr[kRsp];
  if constexpr (!kSlow) {
    const std::byte* host = ProbeGuest<Access::kRead, 8>(tlb, address);
    if (host == nullptr) [[unlikely]]
      REMORA_TAIL Ret<true>(REMORA_ARGS);
    const uint64_t target = LoadGuest<uint64_t>(host);
    const Op* first = FindJump(context, target);
    if (first == nullptr) [[unlikely]]
      REMORA_TAIL Ret<true>(REMORA_ARGS);
    state->gpr[kRsp] = address + 8 + static_cast<uint64_t>(op->immediate);
    state->rip = target;
    op = first;
    REMORA_TAIL Enter(REMORA_ARGS);
  } else {
    uint64_t target;
    if (!context->Load(address, &target) || !CheckTarget(context, target)) REMORA_TAIL LeaveAt(REMORA_ARGS);
    state->gpr[kRsp] = address + 8 + static_cast<uint64_t>(op->immediate);
    state->rip = target;
    context->link_from = nullptr;
    REMORA_TAIL Resolve(REMORA_ARGS);
  }
}

enum class Loop : uint8_t { kLoop, kLoopE, kLoopNE, kJcxz };

template <Loop kLoop, typename T>
REMORA_CHAINED void LoopBranch(REMORA_PARAMS) {
  T count = ReadRegister<T>(state, kRcx);
  bool taken;
  if constexpr (kLoop == Loop::kJcxz) {
    taken = count == 0;
  } else {
    --count;
    WriteRegister<T>(state, kRcx, count);
    taken = count != 0;
    if constexpr (kLoop == Loop::kLoopE) taken = taken && Holds<kE>(flag_a, flag_b, flag_kind);
    if constexpr (kLoop == Loop::kLoopNE) taken = taken && !Holds<kE>(flag_a, flag_b, flag_kind);
  }
  if (taken) {
    REMORA_TAIL Branch<true>(REMORA_ARGS);
  } else {
    REMORA_TAIL Branch<false>(REMORA_ARGS);
  }
}

REMORA_CHAINED void Syscall(REMORA_PARAMS) {
  state->gpr[kRcx] = state->rip + op->offset + op->length;
  state->gpr[kR11] = (state->rflags & ~(kStatusFlags | kFlagRF)) | MaterializeFlags(flag_a, flag_b, flag_kind);
  context->Raise(ExitReason::kSyscall);
  context->exit_to_kernel = true;
  REMORA_TAIL LeaveAfter(REMORA_ARGS);
}

template <ExitReason kReason>
REMORA_CHAINED void Trap(REMORA_PARAMS) {
  context->Raise(kReason);
  context->exit_to_kernel = true;
  REMORA_TAIL LeaveAfter(REMORA_ARGS);
}

REMORA_CHAINED void RaiseReason(REMORA_PARAMS) {
  context->Raise(static_cast<ExitReason>(op->immediate));
  REMORA_TAIL LeaveAt(REMORA_ARGS);
}

// Stands in the first op of a block whose frame was written.
REMORA_CHAINED void Dropped(REMORA_PARAMS) {
  context->remaining += op->uncounted;
  context->link_from = nullptr;
  REMORA_TAIL Resolve(REMORA_ARGS);
}

bool SetRaise(Lowering* lowering, ExitReason reason) {
  lowering->op->handler = &RaiseReason;
  lowering->op->immediate = static_cast<int64_t>(reason);
  lowering->end = BlockEnd::kPlain;
  return true;
}

bool SetLinked(Lowering* lowering, Handler handler) {
  lowering->op->handler = handler;
  lowering->end = BlockEnd::kLinked;
  return handler != nullptr;
}
bool SetPlain(Lowering* lowering, Handler handler) {
  lowering->op->handler = handler;
  lowering->end = BlockEnd::kPlain;
  return handler != nullptr;
}

template <Loop kLoop>
bool SetLoop(Lowering* lowering) {
  return SetLinked(lowering,
                   lowering->in.info.address_width == 32 ? &LoopBranch<kLoop, uint32_t> : &LoopBranch<kLoop, uint64_t>);
}

bool LowerJcc(Lowering* lowering) {
  const int condition = ConditionOf(lowering->in.info.mnemonic);
  const KnownFlags known = lowering->flags;
  return SetLinked(lowering, ByCondition(condition, [&]<Condition kCondition>() -> Handler {
                     switch (known) {
                       case KnownFlags::kSub:
                         return &JccKnown<kCondition, FlagKind::kSub>;
                       case KnownFlags::kAdd:
                         return &JccKnown<kCondition, FlagKind::kAdd>;
                       case KnownFlags::kResult:
                         return &JccKnown<kCondition, FlagKind::kResult>;
                       case KnownFlags::kExplicit:
                         return &JccKnown<kCondition, FlagKind::kExplicit>;
                       case KnownFlags::kUnknown:
                         return &Jcc<kCondition>;
                     }
                     return nullptr;
                   }));
}

}  // namespace

Handler RaiseHandler() { return &RaiseReason; }
Handler FallThroughHandler() { return &FallThrough; }
Handler DroppedHandler() { return &Dropped; }

bool LowerControl(Lowering* lowering) {
  const bool far = lowering->in.info.branch_type == ZYDIS_BRANCH_TYPE_FAR;
  switch (lowering->in.info.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
      // A far transfer needs another code segment, and 64-bit Linux programs have none to go to.
      if (far) return SetRaise(lowering, ExitReason::kProtection);
      if (lowering->shape == Shape::kImm) return SetLinked(lowering, &JmpDirect);
      if (lowering->shape == Shape::kMem && AddressKindOf(*lowering->op) == AddressKind::kBase)
        return SetPlain(lowering, &Jmp<Indirect::kMemoryBase, false>);
      return SetPlain(
          lowering, lowering->shape == Shape::kMem ? &Jmp<Indirect::kMemory, false> : &Jmp<Indirect::kRegister, false>);
    case ZYDIS_MNEMONIC_CALL:
      if (far) return SetRaise(lowering, ExitReason::kProtection);
      if (lowering->shape == Shape::kImm) return SetLinked(lowering, &CallDirect<false>);
      if (lowering->shape == Shape::kMem && AddressKindOf(*lowering->op) == AddressKind::kBase)
        return SetPlain(lowering, &Call<Indirect::kMemoryBase, false>);
      return SetPlain(lowering, lowering->shape == Shape::kMem ? &Call<Indirect::kMemory, false>
                                                               : &Call<Indirect::kRegister, false>);
    case ZYDIS_MNEMONIC_RET:
      if (far) return SetRaise(lowering, ExitReason::kProtection);
      lowering->op->immediate = static_cast<uint16_t>(lowering->op->immediate);
      return SetPlain(lowering, &Ret<false>);
    case ZYDIS_MNEMONIC_LOOP:
      return SetLoop<Loop::kLoop>(lowering);
    case ZYDIS_MNEMONIC_LOOPE:
      return SetLoop<Loop::kLoopE>(lowering);
    case ZYDIS_MNEMONIC_LOOPNE:
      return SetLoop<Loop::kLoopNE>(lowering);
    case ZYDIS_MNEMONIC_JRCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
      return SetLoop<Loop::kJcxz>(lowering);
    case ZYDIS_MNEMONIC_SYSCALL:
      return SetPlain(lowering, &Syscall);
    case ZYDIS_MNEMONIC_INT3:
      return SetPlain(lowering, &Trap<ExitReason::kBreakpoint>);
    case ZYDIS_MNEMONIC_INT1:
      return SetPlain(lowering, &Trap<ExitReason::kDebugTrap>);
    case ZYDIS_MNEMONIC_INT:
      if (lowering->op->immediate8 == 3) return SetPlain(lowering, &Trap<ExitReason::kBreakpoint>);
      return SetRaise(lowering, ExitReason::kProtection);
    // User mode may not: #GP. INT n too, since no gate but 3 and 4 is open and 32-bit calls are not offered.
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_IN:
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_CLTS:
    case ZYDIS_MNEMONIC_INVD:
    case ZYDIS_MNEMONIC_WBINVD:
    case ZYDIS_MNEMONIC_INVLPG:
    case ZYDIS_MNEMONIC_LGDT:
    case ZYDIS_MNEMONIC_LIDT:
    case ZYDIS_MNEMONIC_LLDT:
    case ZYDIS_MNEMONIC_LTR:
    case ZYDIS_MNEMONIC_LMSW:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_RDMSR:
    case ZYDIS_MNEMONIC_WRMSR:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_SWAPGS:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_SYSEXIT:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
      return SetRaise(lowering, ExitReason::kProtection);
    default:
      if (lowering->in.info.category == ZYDIS_CATEGORY_COND_BR) return LowerJcc(lowering);
      return false;
  }
}

}  // namespace remora::cpu
