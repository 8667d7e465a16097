#include "cpu/translator/stand_ins.h"

#include <algorithm>

#include "base/check.h"

namespace remora::cpu::translator {
namespace {

constexpr uint8_t kVex3 = 0xc4;
// Bits of REX, and the higher ones that VEX and EVEX have for the same.
constexpr unsigned kR = 4, kX = 2, kB = 1;

// Where the fourth bits of register numbers are. Null: nowhere.
struct Extension {
  uint8_t* byte = nullptr;
  unsigned shift = 0;  // of REX's bits, to where they are
  bool inverted = false;

  void Put(unsigned bit, unsigned number) const {
    const unsigned mask = bit << shift;
    const bool set = (number >= 8) != inverted;
    *byte = static_cast<uint8_t>(set ? *byte | mask : *byte & ~mask);
  }
};

Extension ExtensionOf(const InstructionInfo& info, uint8_t* bytes) {
  constexpr unsigned kShiftOfVex = 5;
  uint8_t* const vector = bytes + info.vector_prefix_offset;
  switch (info.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
    case ZYDIS_INSTRUCTION_ENCODING_EVEX:
      return {.byte = vector + 1, .shift = kShiftOfVex, .inverted = true};
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
      // REX is the last prefix.
      for (unsigned i = 0; i < info.length; ++i) {
        if ((bytes[i] & 0xf0) == 0x40) return {.byte = bytes + i};
        if (bytes[i] == 0x0f) break;
      }
      return {};
    default:
      return {};
  }
}

void PutField(uint8_t* byte, unsigned shift, unsigned number) {
  *byte = static_cast<uint8_t>((*byte & ~(7u << shift)) | (number & 7) << shift);
}

// VEX.vvvv and EVEX's, which are inverted.
void PutVexSource(const InstructionInfo& info, uint8_t* bytes, unsigned number) {
  uint8_t* const vector = bytes + info.vector_prefix_offset;
  uint8_t* const byte = info.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || *vector == kVex3 ? vector + 2 : vector + 1;
  constexpr unsigned kShift = 3, kMask = 15u << kShift;
  *byte = static_cast<uint8_t>((*byte & ~kMask) | (~number & 15) << kShift);
}

// Whether ModRM and SIB have a form of their own for who has it as a base.
bool IsSpecialBase(unsigned number) {
  constexpr unsigned kLow = 7;
  return (number & kLow) == kRsp || (number & kLow) == kRbp;
}

// Whether it is that one or a part of it.
bool IsRegister(ZydisRegister reg, unsigned number) { return GeneralRegister(reg) == static_cast<int>(number); }

}  // namespace

uint32_t RegistersUsed(const GuestInstruction& instruction) {
  uint32_t used = instruction.registers_written;
  const auto add = [&](ZydisRegister reg) {
    if (const int number = GeneralRegister(reg); number >= 0) used |= 1u << number;
  };
  for (int i = 0; i < instruction.decoded.info.operand_count; ++i) {
    const DecodedOperand& operand = instruction.decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) add(operand.reg.value);
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    add(operand.mem.base);
    add(operand.mem.index);
  }
  return used;
}

bool RenameRegister(GuestInstruction* instruction, unsigned from, unsigned to, InstructionDecoder* decoder) {
  DCHECK(from >= kR8 && to != kRsp);
  GuestInstruction renamed;
  renamed.pc = instruction->pc;
  renamed.bytes = instruction->bytes;
  renamed.goes_on_at_target = instruction->goes_on_at_target;
  const InstructionInfo& info = instruction->decoded.info;
  uint8_t* const bytes = renamed.bytes.data();
  const Extension extension = ExtensionOf(info, bytes);
  if (extension.byte == nullptr) return false;
  uint8_t* const modrm = bytes + info.modrm.offset;
  for (int i = 0; i < info.operand_count; ++i) {
    const DecodedOperand& operand = instruction->decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && info.modrm.offset != 0) {
      constexpr unsigned kSib = 4, kIndexShift = 3;
      uint8_t* const base = info.modrm.rm == kSib ? modrm + 1 : modrm;
      if (IsRegister(operand.mem.base, from)) {
        if (IsSpecialBase(to)) return false;
        PutField(base, 0, to);
        extension.Put(kB, to);
      }
      if (IsRegister(operand.mem.index, from)) {
        PutField(modrm + 1, kIndexShift, to);
        extension.Put(kX, to);
      }
    }
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || !IsRegister(operand.reg.value, from)) continue;
    switch (operand.encoding) {
      case ZYDIS_OPERAND_ENCODING_MODRM_REG: {
        constexpr unsigned kRegShift = 3;
        PutField(modrm, kRegShift, to);
        extension.Put(kR, to);
        break;
      }
      case ZYDIS_OPERAND_ENCODING_MODRM_RM:
        PutField(modrm, 0, to);
        extension.Put(kB, to);
        break;
      case ZYDIS_OPERAND_ENCODING_NDSNDD:
        PutVexSource(info, bytes, to);
        break;
      case ZYDIS_OPERAND_ENCODING_OPCODE: {
        const unsigned immediates = (info.immediate_sizes[0] + info.immediate_sizes[1]) / 8u;
        PutField(bytes + info.length - immediates - 1, 0, to);
        extension.Put(kB, to);
        break;
      }
      default:
        return false;
    }
  }
  InstructionDecoder::Notes* notes = nullptr;
  if (!ZYAN_SUCCESS(decoder->Decode(bytes, info.length, &renamed.decoded, &notes))) return false;
  ClassifyWithNotes(&renamed, notes);
  const bool is_same = renamed.decoded.info.mnemonic == info.mnemonic && renamed.decoded.info.length == info.length &&
                       renamed.action == instruction->action;
  const uint32_t used = RegistersUsed(*instruction);
  if (!is_same || RegistersUsed(renamed) != ((used & ~(1u << from)) | 1u << to)) return false;
  *instruction = renamed;
  return true;
}

StandIns ChooseStandIns(std::span<const GuestInstruction> instructions, size_t min_uses, InstructionDecoder* decoder,
                        std::vector<GuestInstruction>* renamed) {
  // Those that few can be bases come first.
  constexpr uint8_t kCandidates[] = {kRbp, kR12, kR13, kR8, kR9, kR14, kR15, kRbx, kRsi, kRdi, kRcx, kRdx};
  uint32_t used = 0;
  for (const GuestInstruction& instruction : instructions) used |= RegistersUsed(instruction);
  StandIns stand_ins = kNoStandIns;
  renamed->clear();
  for (unsigned i = 0; i < stand_ins.size(); ++i) {
    const unsigned from = kR10 + i;
    const auto uses = [&](const GuestInstruction& instruction) {
      return ((RegistersUsed(instruction) >> from) & 1) != 0;
    };
    if (static_cast<size_t>(std::ranges::count_if(instructions, uses)) < min_uses) continue;
    const bool is_base = std::ranges::any_of(instructions, [&](const GuestInstruction& instruction) {
      return instruction.memory >= 0 && IsRegister(instruction.memory_operand().mem.base, from);
    });
    const auto* free = std::ranges::find_if(
        kCandidates, [&](uint8_t reg) { return ((used >> reg) & 1) == 0 && !(is_base && IsSpecialBase(reg)); });
    if (free == std::ranges::end(kCandidates)) continue;
    if (renamed->empty()) renamed->assign(instructions.begin(), instructions.end());
    for (GuestInstruction& instruction : *renamed)
      if (uses(instruction) && !RenameRegister(&instruction, from, *free, decoder)) return kNoStandIns;
    stand_ins[i] = *free;
    used |= 1u << *free;
  }
  return stand_ins;
}

}  // namespace remora::cpu::translator
