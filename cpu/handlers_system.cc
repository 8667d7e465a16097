// NOP and hints, flag instructions, CPUID RDTSC RDRAND XLAT, MOV from and to segment registers and their bases; the
// trampoline that calls plain handlers.

#include "cpu/canonical.h"
#include "cpu/chain.h"
#include "cpu/cpuid.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

REMORA_CHAINED void Nop(REMORA_PARAMS) { REMORA_TAIL Next(REMORA_ARGS); }

REMORA_CHAINED void Fence(REMORA_PARAMS) {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  // A locked instruction orders all earlier stores before all later loads, which is what MFENCE is for.
  context->fence.fetch_add(0, std::memory_order_seq_cst);
  REMORA_TAIL Next(REMORA_ARGS);
}

bool ReadCpuid(HandlerEnv& env, const Op&) {
  auto& gpr = env.state().gpr;
  const CpuidResult result =
      static_cast<RunContext&>(env).Cpuid(static_cast<uint32_t>(gpr[kRax]), static_cast<uint32_t>(gpr[kRcx]));
  gpr[kRax] = result.eax;
  gpr[kRbx] = result.ebx;
  gpr[kRcx] = result.ecx;
  gpr[kRdx] = result.edx;
  return true;
}

// Without a cache to flush what is left is the access.
bool FlushLine(HandlerEnv& env, const Op& op) {
  uint8_t value;
  return env.Load(env.Address(op), &value);
}

bool ReadTsc(HandlerEnv& env, const Op&) {
  const uint64_t now = static_cast<RunContext&>(env).TimeStamp();
  env.state().gpr[kRax] = static_cast<uint32_t>(now);
  env.state().gpr[kRdx] = now >> 32;
  return true;
}

bool ReadTscp(HandlerEnv& env, const Op& op) {
  env.state().gpr[kRcx] = env.state().tsc_aux;
  return ReadTsc(env, op);
}
bool ReadPid(HandlerEnv& env, const Op& op) {
  env.state().gpr[op.dst] = env.state().tsc_aux;
  return true;
}

// RDRAND, RDSEED.
bool ReadRandom(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  uint64_t bits = 0;
  const bool any = static_cast<RunContext&>(env).RandomBits(&bits);
  if (op.size == 2)
    WriteRegister<uint16_t>(&state, op.dst, static_cast<uint16_t>(bits));
  else
    state.gpr[op.dst] = op.size == 4 ? static_cast<uint32_t>(bits) : bits;
  state.rflags = (state.rflags & ~kStatusFlags) | (any ? kFlagCF : 0);
  return true;
}

template <uint64_t CpuState::* kBase>
bool ReadBase(HandlerEnv& env, const Op& op) {
  const uint64_t base = env.state().*kBase;
  env.state().gpr[op.dst] = op.size == 4 ? static_cast<uint32_t>(base) : base;
  return true;
}
template <uint64_t CpuState::* kBase>
bool WriteBase(HandlerEnv& env, const Op& op) {
  uint64_t base = env.state().gpr[op.dst];
  if (op.size == 4) base = static_cast<uint32_t>(base);
  if (!IsCanonical(base)) return env.Raise(ExitReason::kProtection);
  env.state().*kBase = base;
  return true;
}

bool Xlat(HandlerEnv& env, const Op& op) {
  CpuState& state = env.state();
  uint64_t address = state.gpr[kRbx] + static_cast<uint8_t>(state.gpr[kRax]);
  if (op.address32) address = static_cast<uint32_t>(address);
  if (op.segment != 0) address += op.segment == 1 ? state.fs_base : state.gs_base;
  uint8_t value;
  if (!env.Load(address, &value)) return false;
  WriteRegister<uint8_t>(&state, kRax, value);
  return true;
}

bool Lahf(HandlerEnv& env, const Op&) {
  CpuState& state = env.state();
  constexpr uint8_t kHighByteOfRax = 1;
  WriteRegister<uint8_t>(&state, kHighByteOfRax, static_cast<uint8_t>(state.rflags & 0xff));
  return true;
}
bool Sahf(HandlerEnv& env, const Op&) {
  CpuState& state = env.state();
  constexpr uint64_t kLoaded = kFlagCF | kFlagPF | kFlagAF | kFlagZF | kFlagSF;
  state.rflags = (state.rflags & ~kLoaded) | ((state.gpr[kRax] >> 8) & kLoaded);
  return true;
}
bool ClearCarry(HandlerEnv& env, const Op&) {
  env.state().rflags &= ~kFlagCF;
  return true;
}
bool SetCarry(HandlerEnv& env, const Op&) {
  env.state().rflags |= kFlagCF;
  return true;
}
bool ComplementCarry(HandlerEnv& env, const Op&) {
  env.state().rflags ^= kFlagCF;
  return true;
}
bool ClearDirection(HandlerEnv& env, const Op&) {
  env.state().rflags &= ~kFlagDF;
  return true;
}
bool SetDirection(HandlerEnv& env, const Op&) {
  env.state().rflags |= kFlagDF;
  return true;
}

// immediate8: the segment's number in the encoding's order (ES CS SS DS FS GS).
uint16_t SelectorOf(uint8_t segment) { return segment == 1 ? 0x33 : segment == 2 ? 0x2b : 0; }

bool MovFromSegment(HandlerEnv& env, const Op& op) {
  const uint16_t selector = SelectorOf(op.immediate8);
  if (op.has_memory) return env.Store(env.Address(op), selector);
  CpuState& state = env.state();
  if (op.size == 2) {
    WriteRegister<uint16_t>(&state, op.dst, selector);
  } else {
    WriteRegister<uint64_t>(&state, op.dst, selector);
  }
  return true;
}

// A null selector clears FS's and GS's base; the user's data selector is accepted where it changes nothing.
bool MovToSegment(HandlerEnv& env, const Op& op) {
  constexpr uint8_t kSs = 2, kFs = 4, kGs = 5;
  uint16_t selector;
  CpuState& state = env.state();
  if (op.has_memory) {
    if (!env.Load(env.Address(op), &selector)) return false;
  } else {
    selector = ReadRegister<uint16_t>(&state, op.dst);
  }
  const bool is_null = selector <= 3;
  if (op.immediate8 == kSs ? selector != 0x2b : !is_null && selector != 0x2b) return env.Raise(ExitReason::kProtection);
  if (op.immediate8 == kFs) state.fs_base = 0;
  if (op.immediate8 == kGs) state.gs_base = 0;
  return true;
}

bool SetPlain(Lowering* lowering, PlainHandler plain) {
  lowering->op->plain = plain;
  lowering->op->handler = PlainTrampoline(*lowering->op);
  return true;
}
bool SetFlagHandler(Lowering* lowering, PlainHandler plain, bool writes) {
  lowering->op->reads_flags = 1;
  lowering->op->writes_flags = writes ? 1 : 0;
  if (writes) lowering->flags = KnownFlags::kExplicit;
  return SetPlain(lowering, plain);
}

bool LowerSegmentMove(Lowering* lowering) {
  if (lowering->in.info.mnemonic != ZYDIS_MNEMONIC_MOV) return false;
  for (int i = 0; i < 2; ++i) {
    const DecodedOperand& operand = lowering->in.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    if (ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_CONTROL ||
        ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_DEBUG) {
      lowering->op->handler = RaiseHandler();
      lowering->op->immediate = static_cast<int64_t>(ExitReason::kProtection);
      lowering->end = BlockEnd::kPlain;
      return true;
    }
    if (ZydisRegisterGetClass(operand.reg.value) != ZYDIS_REGCLASS_SEGMENT) continue;
    Op& op = *lowering->op;
    op.immediate8 = static_cast<uint8_t>(operand.reg.value - ZYDIS_REGISTER_ES);
    const DecodedOperand& other = lowering->in.operands[1 - i];
    if (other.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      op.dst = i == 0 ? op.src : op.dst;
      op.size = static_cast<uint8_t>(other.size / 8);
    }
    return SetPlain(lowering, i == 0 ? &MovToSegment : &MovFromSegment);
  }
  return false;
}

}  // namespace

template <bool kFlags>
REMORA_CHAINED void CallPlain(REMORA_PARAMS) {
  if constexpr (kFlags) state->rflags = (state->rflags & ~kStatusFlags) | MaterializeFlags(flag_a, flag_b, flag_kind);
  if (!op->plain(*context, *op)) [[unlikely]]
    REMORA_TAIL LeaveAt(REMORA_ARGS);
  if constexpr (kFlags) {
    if (op->writes_flags) {
      flag_a = state->rflags & kStatusFlags;
      flag_b = 0;
      flag_kind = kFlagWord<FlagKind::kExplicit>;
    }
  }
  REMORA_TAIL NextAfterSlowWrite(REMORA_ARGS);
}
template void CallPlain<false>(REMORA_PARAMS);
template void CallPlain<true>(REMORA_PARAMS);

Handler PlainTrampoline(const Op& op) {
  return op.reads_flags || op.writes_flags ? &CallPlain<true> : &CallPlain<false>;
}

bool LowerSystem(Lowering* lowering) {
  Op& op = *lowering->op;
  const InstructionInfo& info = lowering->in.info;
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
      return LowerSegmentMove(lowering);
    case ZYDIS_MNEMONIC_NOP:
      // 0F 0D is a prefetch, which has no register form.
      if (info.opcode_map == ZYDIS_OPCODE_MAP_0F && info.opcode == 0x0d && info.modrm.mod == 3) return false;
      op.handler = &Nop;
      return true;
    case ZYDIS_MNEMONIC_PAUSE:
      // REX.B makes it XCHG R8, RAX, whatever the prefix says.
      if (info.rex_b) return false;
      op.handler = &Nop;
      return true;
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_ENDBR32:
      if (info.modrm.mod == 3 && info.opcode == 0x0d) return false;
      op.handler = &Nop;
      return true;
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB:
      return SetPlain(lowering, &FlushLine);
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_SFENCE:
      op.handler = &Fence;
      return true;
    case ZYDIS_MNEMONIC_CPUID:
      return SetPlain(lowering, &ReadCpuid);
    case ZYDIS_MNEMONIC_RDTSC:
      return SetPlain(lowering, &ReadTsc);
    case ZYDIS_MNEMONIC_RDTSCP:
      return SetPlain(lowering, &ReadTscp);
    case ZYDIS_MNEMONIC_RDPID:
      return SetPlain(lowering, &ReadPid);
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
      return SetFlagHandler(lowering, &ReadRandom, true);
    case ZYDIS_MNEMONIC_RDFSBASE:
      return SetPlain(lowering, &ReadBase<&CpuState::fs_base>);
    case ZYDIS_MNEMONIC_RDGSBASE:
      return SetPlain(lowering, &ReadBase<&CpuState::gs_base>);
    case ZYDIS_MNEMONIC_WRFSBASE:
      return SetPlain(lowering, &WriteBase<&CpuState::fs_base>);
    case ZYDIS_MNEMONIC_WRGSBASE:
      return SetPlain(lowering, &WriteBase<&CpuState::gs_base>);
    case ZYDIS_MNEMONIC_XLAT:
      op.address32 = info.address_width == 32;
      op.segment = (info.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS) != 0   ? 1
                   : (info.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS) != 0 ? 2
                                                                          : 0;
      return SetPlain(lowering, &Xlat);
    case ZYDIS_MNEMONIC_LAHF:
      return SetFlagHandler(lowering, &Lahf, false);
    case ZYDIS_MNEMONIC_SAHF:
      return SetFlagHandler(lowering, &Sahf, true);
    case ZYDIS_MNEMONIC_CLC:
      return SetFlagHandler(lowering, &ClearCarry, true);
    case ZYDIS_MNEMONIC_STC:
      return SetFlagHandler(lowering, &SetCarry, true);
    case ZYDIS_MNEMONIC_CMC:
      return SetFlagHandler(lowering, &ComplementCarry, true);
    case ZYDIS_MNEMONIC_CLD:
      return SetPlain(lowering, &ClearDirection);
    case ZYDIS_MNEMONIC_STD:
      return SetPlain(lowering, &SetDirection);
    default:
      return false;
  }
}

}  // namespace remora::cpu
