#include "testing/silicon/catalogue.h"

#include <array>
#include <cstring>
#include <set>
#include <tuple>
#include <utility>

namespace remora::silicon {
namespace {

// What the interpreter's cpuid says is there, by Zydis' names.
bool IsAdvertised(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_I86:
    case ZYDIS_ISA_SET_I186:
    case ZYDIS_ISA_SET_I286PROTECTED:
    case ZYDIS_ISA_SET_I286REAL:
    case ZYDIS_ISA_SET_I386:
    case ZYDIS_ISA_SET_I486:
    case ZYDIS_ISA_SET_I486REAL:
    case ZYDIS_ISA_SET_PENTIUMREAL:
    case ZYDIS_ISA_SET_PPRO:
    case ZYDIS_ISA_SET_LONGMODE:
    case ZYDIS_ISA_SET_LAHF:
    case ZYDIS_ISA_SET_CMOV:
    case ZYDIS_ISA_SET_FCMOV:
    case ZYDIS_ISA_SET_FAT_NOP:
    case ZYDIS_ISA_SET_PAUSE:
    case ZYDIS_ISA_SET_CMPXCHG16B:
    case ZYDIS_ISA_SET_X87:
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSEMXCSR:
    case ZYDIS_ISA_SET_SSE_PREFETCH:
    case ZYDIS_ISA_SET_PREFETCH_NOP:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64:
    case ZYDIS_ISA_SET_CLFSH:
      return true;
    default:
      return false;
  }
}

bool HasOperandEncodedIn(const ZydisDecodedInstruction& info, const ZydisDecodedOperand* operands,
                         ZydisOperandEncoding encoding) {
  for (int i = 0; i < info.operand_count; ++i)
    if (operands[i].encoding == encoding) return true;
  return false;
}

// What tells two forms apart.
using Signature = std::tuple<int, int, bool, int, int, int, std::array<int, 5>>;

}  // namespace

const char* WhyLeftOut(const ZydisDecodedInstruction& instruction) {
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_SYSEXIT:
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
      return "enters the host's kernel";
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
      return "loads segment registers";
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
      return "shows the host kernel's descriptors";
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSC:
      return "differs by design";
    case ZYDIS_MNEMONIC_INVALID:
      return "not an instruction";
    default:
      break;
  }
  if (instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return "loads segment registers";
  if (instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || !IsAdvertised(instruction.meta.isa_set))
    return "cpuid does not advertise it";
  return nullptr;
}

Catalogue MakeCatalogue() {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  Catalogue catalogue;
  std::set<Signature> seen;
  std::set<ZydisMnemonic> tested;
  std::map<ZydisMnemonic, std::string> reasons;

  // Decodes one candidate; false if it has no ModRM byte, so that the others of its opcode need not be tried.
  auto consider = [&](uint8_t prefix, bool wide, uint8_t map, uint8_t opcode, int mod, int reg, int rm) {
    std::array<uint8_t, 32> bytes{};
    size_t length = 0;
    if (prefix != 0) bytes[length++] = prefix;
    if (wide) bytes[length++] = 0x48;
    if (map != 0) bytes[length++] = 0x0f;
    if (map >= 2) bytes[length++] = map == 2 ? 0x38 : 0x3a;
    bytes[length++] = opcode;
    bytes[length++] = static_cast<uint8_t>(mod << 6 | reg << 3 | rm);
    ZydisDecodedInstruction info;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes.data(), 15, &info, operands);
    if (!ZYAN_SUCCESS(status)) return true;
    const bool has_modrm = (info.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    if (const char* reason = WhyLeftOut(info)) {
      if (info.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY) reasons.emplace(info.mnemonic, reason);
      return has_modrm;
    }
    for (int i = 0; i < info.operand_count_visible; ++i) {
      const ZydisDecodedOperand& operand = operands[i];
      // MOV and POP to a segment register; the other direction is tested.
      if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
          ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT)
        return has_modrm;
    }
    const bool repeats =
        (info.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
    InstructionForm form{.prefix = prefix,
                         .wide = wide,
                         .map = map,
                         .opcode = opcode,
                         .has_modrm = has_modrm,
                         .memory = has_modrm && mod != 3,
                         .mnemonic = info.mnemonic,
                         .lockable = (info.attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK) != 0};
    if (has_modrm) {
      if (!HasOperandEncodedIn(info, operands, ZYDIS_OPERAND_ENCODING_MODRM_REG)) form.reg = reg;
      if (mod == 3 && !HasOperandEncodedIn(info, operands, ZYDIS_OPERAND_ENCODING_MODRM_RM)) form.rm = rm;
      // PREFETCH, FAT NOP and FCMOV-like groups: ModRM.reg is no operand, yet one form stands for all.
    }
    std::array<int, 5> sizes{};
    for (int i = 0; i < info.operand_count && i < 4; ++i) sizes[i] = operands[i].size;
    sizes[4] = repeats ? prefix : 0;
    const Signature signature{map, opcode, form.memory, form.reg, form.rm, info.mnemonic, sizes};
    if (!seen.insert(signature).second) return has_modrm;
    catalogue.forms[info.mnemonic].push_back(form);
    ++catalogue.num_forms;
    tested.insert(info.mnemonic);
    return has_modrm;
  };

  auto is_prefix_or_escape = [](int opcode) {
    switch (opcode) {
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
      case 0x64:
      case 0x65:
      case 0x66:
      case 0x67:
      case 0xf0:
      case 0xf2:
      case 0xf3:
      case 0x0f:
      case 0xc4:
      case 0xc5:
      case 0x62:
        return true;
      default:
        return (opcode & 0xf0) == 0x40;
    }
  };
  for (uint8_t map = 0; map < 4; ++map) {
    for (int opcode = 0; opcode < 256; ++opcode) {
      if (map == 0 && is_prefix_or_escape(opcode)) continue;
      // Without a prefix first: the others are kept only where they make a difference.
      for (const uint8_t prefix : {0x00, 0x66, 0xf3, 0xf2}) {
        for (const bool wide : {false, true}) {
          bool has_modrm = true;
          for (int reg = 0; reg < 8 && has_modrm; ++reg) {
            has_modrm = consider(prefix, wide, map, static_cast<uint8_t>(opcode), 0, reg, 3);
            for (int rm = 0; rm < 8 && has_modrm; ++rm)
              has_modrm = consider(prefix, wide, map, static_cast<uint8_t>(opcode), 3, reg, rm);
          }
        }
      }
    }
  }
  for (int i = 1; i <= ZYDIS_MNEMONIC_MAX_VALUE; ++i) {
    const auto mnemonic = static_cast<ZydisMnemonic>(i);
    if (tested.contains(mnemonic)) continue;
    const auto known = reasons.find(mnemonic);
    catalogue.left_out[known != reasons.end() ? known->second : "no legacy encoding in 64-bit mode"].push_back(
        mnemonic);
  }
  return catalogue;
}

}  // namespace remora::silicon
