#include "cpu/decoded_instruction.h"

namespace remora::cpu {
namespace {

static_assert(ZYDIS_MNEMONIC_REQUIRED_BITS <= 16 && ZYDIS_ISA_SET_REQUIRED_BITS <= 8 &&
              ZYDIS_CATEGORY_REQUIRED_BITS <= 8 && ZYDIS_REGISTER_REQUIRED_BITS <= 16);

// Zydis 4.0.0 takes R13D for the base where a SIB byte without base meets REX.B and 32-bit addresses.
bool HasNoBase(const ZydisDecodedInstruction& in) {
  return (in.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0 && in.raw.modrm.mod == 0 && in.raw.sib.base == 5;
}

DecodedOperand Abridge(const ZydisDecodedInstruction& instruction, const ZydisDecodedOperand& in) {
  DecodedOperand out = {};
  out.type = in.type;
  out.visibility = in.visibility;
  out.encoding = in.encoding;
  out.actions = in.actions;
  out.size = in.size;
  out.element_size = in.element_size;
  switch (in.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
      out.reg.value = in.reg.value;
      break;
    case ZYDIS_OPERAND_TYPE_MEMORY:
      out.mem = {.segment = in.mem.segment,
                 .base = in.mem.base,
                 .index = in.mem.index,
                 .type = in.mem.type,
                 .has_displacement = in.mem.disp.has_displacement != 0,
                 .scale = in.mem.scale,
                 .displacement = in.mem.disp.value};
      if (in.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM && HasNoBase(instruction)) {
        out.mem.base = ZYDIS_REGISTER_NONE;
        out.mem.has_displacement = true;
        out.mem.displacement = instruction.raw.disp.value;
      }
      break;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      out.imm.value.u = in.imm.value.u;
      out.imm.is_relative = in.imm.is_relative != 0;
      break;
    default:
      break;
  }
  return out;
}

}  // namespace

void Abridge(const ZydisDecodedInstruction& in, const ZydisDecodedOperand* operands, DecodedInstruction* out) {
  InstructionInfo& info = out->info;
  info = {};
  info.attributes = in.attributes;
  info.cpu_flags = in.cpu_flags;
  info.displacement = in.raw.disp.value;
  info.mnemonic = in.mnemonic;
  info.isa_set = in.meta.isa_set;
  info.category = in.meta.category;
  info.exception_class = in.meta.exception_class;
  info.branch_type = in.meta.branch_type;
  info.encoding = in.encoding;
  info.opcode_map = in.opcode_map;
  info.length = in.length;
  info.opcode = in.opcode;
  info.operand_count = in.operand_count;
  info.operand_count_visible = in.operand_count_visible;
  info.operand_width = in.operand_width;
  info.address_width = in.address_width;
  for (int i = 0; i < in.raw.prefix_count; ++i) {
    const uint8_t prefix = in.raw.prefixes[i].value;
    if (prefix == 0xf2 || prefix == 0xf3) info.repeat_prefix = prefix;
  }
  info.modrm = {.mod = in.raw.modrm.mod, .reg = in.raw.modrm.reg, .rm = in.raw.modrm.rm, .offset = in.raw.modrm.offset};
  switch (in.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
      info.rex_b = in.raw.rex.B != 0;
      info.wide = in.raw.rex.W != 0;
      break;
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
      info.vector_prefix_offset = in.raw.vex.offset;
      info.wide = in.raw.vex.W != 0;
      break;
    case ZYDIS_INSTRUCTION_ENCODING_EVEX:
      info.vector_prefix_offset = in.raw.evex.offset;
      info.wide = in.raw.evex.W != 0;
      break;
    default:
      break;
  }
  info.broadcast = in.avx.broadcast.mode;
  info.mask = in.avx.mask.reg;
  info.vector_length = in.avx.vector_length;
  info.displacement_size = in.raw.disp.size;
  info.displacement_offset = in.raw.disp.offset;
  for (int i = 0; i < 2; ++i) {
    info.immediates[i] = in.raw.imm[i].value.s;
    info.immediate_sizes[i] = in.raw.imm[i].size;
    info.immediate_offsets[i] = in.raw.imm[i].offset;
    if (in.raw.imm[i].is_signed != 0) info.immediate_is_signed |= static_cast<uint8_t>(1u << i);
  }
  info.immediate_is_relative = in.raw.imm[0].is_relative != 0;
  for (int i = 0; i < in.operand_count; ++i) out->operands[i] = Abridge(in, operands[i]);
}

}  // namespace remora::cpu
