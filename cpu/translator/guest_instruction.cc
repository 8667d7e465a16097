#include "cpu/translator/guest_instruction.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <optional>

#include "cpu/cpu_state.h"
#include "cpu/host_avx512.h"
#include "cpu/string_form.h"

namespace remora::cpu::translator {
namespace {

constexpr auto kAllFlags = static_cast<uint32_t>(kStatusFlags);

bool IsExcepted(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
#define REEMIT_NOT(name) case ZYDIS_MNEMONIC_##name:
#include "cpu/translator/reemit_table.inc"
    return true;
    default:
      return false;
  }
}

bool IsGeneral(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
#define REEMIT(name) case ZYDIS_MNEMONIC_##name:
#include "cpu/translator/reemit_table.inc"
    return true;
    default:
      return false;
  }
}

enum class Unit : uint8_t { kGeneral, kVectors, kX87 };

// The unit of a set that the host's CPU has.
std::optional<Unit> UnitOfSet(ZydisISASet set) {
  if (IsAvx512Set(set)) return HostHasAvx512Set(set) ? std::optional(Unit::kVectors) : std::nullopt;
  switch (set) {
#define REEMIT_SET(name, feature, unit)                      \
  case ZYDIS_ISA_SET_##name: {                               \
    static const bool has = __builtin_cpu_supports(feature); \
    return has ? std::optional(Unit::unit) : std::nullopt;   \
  }
#include "cpu/translator/reemit_table.inc"
    default:
      return std::nullopt;
  }
}

bool IsShift(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
      return true;
    default:
      return false;
  }
}

// A shift by none changes no flag.
bool MayShiftByNone(const InstructionInfo& info) {
  // D0, D1: by one.
  if (info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (info.opcode == 0xd0 || info.opcode == 0xd1)) return false;
  if (info.immediate_sizes[0] == 0) return true;
  return (info.immediates[0] & (info.operand_width == 64 ? 63 : 31)) == 0;
}

bool RepeatsString(const InstructionInfo& info) {
  constexpr uint64_t kRepeat = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
  return info.category == ZYDIS_CATEGORY_STRINGOP && (info.attributes & kRepeat) != 0;
}

// Operands that can be re-encoded: no segment, control or wider registers, and memory by ModRM.
bool HasPlainOperands(const GuestInstruction& instruction) {
  const DecodedInstruction& in = instruction.decoded;
  // AH..BH have no REX beside them, and RSP is where only a REX leads.
  bool high_byte = false, stack_pointer = false;
  for (int i = 0; i < in.info.operand_count; ++i) {
    const DecodedOperand& operand = in.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
      if (operand.mem.type != ZYDIS_MEMOP_TYPE_MEM || operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM) return false;
      if (operand.size == 0 || operand.size > 512) return false;
      if (operand.mem.segment == ZYDIS_REGISTER_FS || operand.mem.segment == ZYDIS_REGISTER_GS) continue;
    }
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    switch (ZydisRegisterGetClass(operand.reg.value)) {
      case ZYDIS_REGCLASS_GPR8:
      case ZYDIS_REGCLASS_GPR16:
      case ZYDIS_REGCLASS_GPR32:
      case ZYDIS_REGCLASS_GPR64: {
        // RSP, R10 and R11 are elsewhere: what names them in no field cannot be moved.
        const int number = GeneralRegister(operand.reg.value);
        high_byte |= IsHighByte(operand.reg.value);
        stack_pointer |= number == kRsp;
        if (operand.visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT && (number == kRsp || IsInContext(number)))
          return false;
        break;
      }
      case ZYDIS_REGCLASS_X87:
      case ZYDIS_REGCLASS_MMX:
      case ZYDIS_REGCLASS_XMM:
      case ZYDIS_REGCLASS_YMM:
      case ZYDIS_REGCLASS_ZMM:
      case ZYDIS_REGCLASS_MASK:
      case ZYDIS_REGCLASS_FLAGS:
        break;
      default:
        // The x87 unit's and MXCSR, which no field names.
        if (operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) return false;
    }
  }
  return !(high_byte && stack_pointer);
}

bool NamesRegister(const GuestInstruction& instruction, int number) {
  for (int i = 0; i < instruction.decoded.info.operand_count_visible; ++i) {
    const DecodedOperand& operand = instruction.decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && GeneralRegister(operand.reg.value) == number) return true;
  }
  return false;
}

bool IsReemitted(const GuestInstruction& instruction) {
  const InstructionInfo& info = instruction.decoded.info;
  if (info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && info.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX &&
      info.encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX)
    return false;
  if (IsExcepted(info.mnemonic)) return false;
  if (!IsGeneral(info.mnemonic) && !UnitOfSet(info.isa_set)) return false;
  if (!HasPlainOperands(instruction)) return false;
  // More registers that are elsewhere than there is room for beside an address.
  const int elsewhere =
      NamesRegister(instruction, kRsp) + NamesRegister(instruction, kR10) + NamesRegister(instruction, kR11);
  if (elsewhere > (instruction.memory >= 0 ? 1 : 2)) return false;
  // XACQUIRE and XRELEASE.
  if ((info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0 &&
      (info.attributes & (ZYDIS_ATTRIB_HAS_XACQUIRE | ZYDIS_ATTRIB_HAS_XRELEASE)) != 0)
    return false;
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
      // A bit of a string in memory: its byte may be far from the operand.
      return instruction.memory < 0 || instruction.decoded.operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
      // Where the level has no TZCNT and LZCNT the prefix means nothing, but to the host's CPU it does.
      return info.repeat_prefix == 0;
    default:
      return true;
  }
}

// In the first word of notes.
constexpr uint32_t kNoted = 1u << 31;

bool Is64Bit(const DecodedInstruction& in) { return in.info.operand_width == 64; }

Action ActionOf(const GuestInstruction& instruction) {
  const DecodedInstruction& in = instruction.decoded;
  const InstructionInfo& info = in.info;
  const bool register_form = info.modrm.mod == 3;
  const bool far = info.branch_type == ZYDIS_BRANCH_TYPE_FAR;
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
      // 0F 0D is a prefetch, which has no register form; 90 with REX.B is no NOP.
      if (info.opcode_map == ZYDIS_OPCODE_MAP_0F && info.opcode == 0x0d && register_form) return Action::kInterpret;
      return info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && info.rex_b ? Action::kInterpret : Action::kNothing;
    case ZYDIS_MNEMONIC_PAUSE:
      return info.rex_b ? Action::kInterpret : Action::kNothing;
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_ENDBR64:
      return register_form && info.opcode == 0x0d ? Action::kInterpret : Action::kNothing;
    case ZYDIS_MNEMONIC_LEA:
      return register_form || in.operands[0].reg.value == ZYDIS_REGISTER_SP ? Action::kInterpret : Action::kLea;
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
      if (!Is64Bit(in)) return Action::kInterpret;
      if (in.operands[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE && in.operands[0].size != 64) return Action::kInterpret;
      if (in.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && GeneralRegister(in.operands[0].reg.value) < 0)
        return Action::kInterpret;
      if (info.mnemonic == ZYDIS_MNEMONIC_PUSH) return Action::kPush;
      return in.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER ? Action::kPop : Action::kInterpret;
    case ZYDIS_MNEMONIC_LEAVE:
      return Is64Bit(in) ? Action::kLeaveFrame : Action::kInterpret;
    case ZYDIS_MNEMONIC_CALL:
      return far || !Is64Bit(in) ? Action::kInterpret : Action::kCall;
    case ZYDIS_MNEMONIC_JMP:
      return far ? Action::kInterpret : Action::kJmp;
    case ZYDIS_MNEMONIC_RET:
      return far || !Is64Bit(in) ? Action::kInterpret : Action::kRet;
    case ZYDIS_MNEMONIC_LOOP:
      return info.address_width == 64 ? Action::kLoop : Action::kInterpret;
    case ZYDIS_MNEMONIC_JRCXZ:
      return Action::kJrcxz;
    case ZYDIS_MNEMONIC_SYSCALL:
      return Action::kSyscall;
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JCXZ:
      return Action::kInterpret;
    default:
      if (info.category == ZYDIS_CATEGORY_COND_BR) return Action::kJcc;
      if (const std::optional<StringForm> form = FormOfString(info))
        return form->string == String::kLods && form->repeat != Repeat::kNone ? Action::kInterpret : Action::kString;
      return IsReemitted(instruction) ? Action::kReemit : Action::kInterpret;
  }
}

void FindUnits(GuestInstruction* instruction) {
  const DecodedInstruction& in = instruction->decoded;
  if (const std::optional<Unit> unit = UnitOfSet(in.info.isa_set)) {
    instruction->uses_vectors = *unit == Unit::kVectors;
    instruction->uses_x87 = *unit == Unit::kX87;
  }
  instruction->uses_avx512 = IsAvx512Set(in.info.isa_set);
  for (int i = 0; i < in.info.operand_count; ++i) {
    if (in.operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegisterClass kind = ZydisRegisterGetClass(in.operands[i].reg.value);
    if (kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM) instruction->uses_vectors = true;
    if (kind == ZYDIS_REGCLASS_MMX || kind == ZYDIS_REGCLASS_X87) instruction->uses_x87 = true;
  }
}

bool MayLeave(const GuestInstruction& instruction) {
  switch (instruction.action) {
    case Action::kNothing:
    case Action::kLea:
    case Action::kJcc:
    case Action::kLoop:
    case Action::kJrcxz:
      return false;
    case Action::kReemit:
      return instruction.memory >= 0 || instruction.uses_vectors || instruction.uses_x87 ||
             instruction.decoded.info.mnemonic == ZYDIS_MNEMONIC_DIV ||
             instruction.decoded.info.mnemonic == ZYDIS_MNEMONIC_IDIV;
    case Action::kJmp:
      return instruction.decoded.operands[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE;
    default:
      return true;
  }
}

}  // namespace

uint64_t GuestInstruction::target() const { return next_pc() + static_cast<uint64_t>(decoded.operands[0].imm.value.s); }

FlagsOfInstruction FlagsOf(const InstructionInfo& info) {
  if (info.cpu_flags == nullptr) return {};
  const ZydisAccessedFlags& flags = *info.cpu_flags;
  FlagsOfInstruction answer = {flags.tested & kAllFlags,
                               (flags.modified | flags.set_0 | flags.set_1 | flags.undefined) & kAllFlags};
  // SYSCALL puts them into R11.
  if (info.mnemonic == ZYDIS_MNEMONIC_SYSCALL) answer.read = kAllFlags;
  if ((IsShift(info.mnemonic) && MayShiftByNone(info)) || RepeatsString(info)) answer.read = kAllFlags;
  return answer;
}

void Classify(GuestInstruction* instruction) {
  const DecodedInstruction& in = instruction->decoded;
  for (int i = 0; i < in.info.operand_count; ++i) {
    const DecodedOperand& operand = in.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
      instruction->memory = i;
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0)
      continue;
    const int guest = GeneralRegister(operand.reg.value);
    if (guest >= 0) instruction->registers_written |= static_cast<uint16_t>(1u << guest);
  }
  instruction->action = ActionOf(*instruction);
  if (instruction->action == Action::kNothing) return;
  const FlagsOfInstruction flags = FlagsOf(in.info);
  instruction->flags_read = flags.read;
  instruction->flags_written = flags.written;
  if (instruction->action == Action::kReemit) FindUnits(instruction);
  instruction->may_leave = MayLeave(*instruction);
}

void ClassifyWithNotes(GuestInstruction* instruction, InstructionDecoder::Notes* notes) {
  if (notes != nullptr && (notes->words[0] & kNoted) != 0) {
    const uint32_t word = notes->words[0];
    instruction->action = static_cast<Action>(word & 0xff);
    instruction->memory = static_cast<int>(word >> 8 & 0xff) - 1;
    instruction->may_leave = (word >> 16 & 1) != 0;
    instruction->uses_vectors = (word >> 17 & 1) != 0;
    instruction->uses_x87 = (word >> 18 & 1) != 0;
    instruction->uses_avx512 = (word >> 19 & 1) != 0;
    instruction->flags_read = notes->words[1] & 0xffff;
    instruction->flags_written = notes->words[1] >> 16;
    instruction->registers_written = static_cast<uint16_t>(notes->words[2]);
    return;
  }
  Classify(instruction);
  // How far is in the immediate, which the notes do not know.
  if (notes == nullptr || IsShift(instruction->decoded.info.mnemonic)) return;
  notes->words[0] = kNoted | static_cast<uint32_t>(instruction->action) |
                    static_cast<uint32_t>(instruction->memory + 1) << 8 | (instruction->may_leave ? 1u << 16 : 0) |
                    (instruction->uses_vectors ? 1u << 17 : 0) | (instruction->uses_x87 ? 1u << 18 : 0) |
                    (instruction->uses_avx512 ? 1u << 19 : 0);
  static_assert(kAllFlags <= 0xffff);
  notes->words[1] = instruction->flags_read | instruction->flags_written << 16;
  notes->words[2] = instruction->registers_written;
}

}  // namespace remora::cpu::translator
