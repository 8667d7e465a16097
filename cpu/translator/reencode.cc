#include "cpu/translator/reencode.h"

#include "base/check.h"

namespace remora::cpu::translator {
namespace {

constexpr uint8_t kVex2 = 0xc5, kVex3 = 0xc4, kEvex = 0x62;

bool IsLegacyPrefix(uint8_t byte) {
  switch (byte) {
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3:
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
      return true;
    default:
      return false;
  }
}
// Those that change more than how an address is made.
bool IsKept(uint8_t prefix) { return prefix == 0x66 || prefix >= 0xf0; }

// Extension bits, plain, and where the register fields come to.
struct Fields {
  bool w = false, r = false, x = false, b = false, had_rex = false;
  uint8_t vex_source = 0;  // VEX.vvvv
  uint8_t reg = 0, rm = 0, opcode_register = 0;
  bool in_opcode = false;
};

void PlaceRegisters(const GuestInstruction& instruction, const Placement& placement, Fields* fields) {
  const DecodedInstruction& in = instruction.decoded;
  for (int i = 0; i < in.info.operand_count_visible; ++i) {
    const DecodedOperand& operand = in.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || IsHighByte(operand.reg.value)) continue;
    const int guest = GeneralRegister(operand.reg.value);
    if (guest < 0) continue;
    const uint8_t host = placement.general[static_cast<unsigned>(guest)];
    const bool upper = host >= 8;
    const uint8_t low = host & 7;
    switch (operand.encoding) {
      case ZYDIS_OPERAND_ENCODING_MODRM_REG:
        fields->r = upper;
        fields->reg = low;
        break;
      case ZYDIS_OPERAND_ENCODING_MODRM_RM:
        fields->b = upper;
        fields->rm = low;
        break;
      case ZYDIS_OPERAND_ENCODING_NDSNDD:
        fields->vex_source = host;
        break;
      case ZYDIS_OPERAND_ENCODING_OPCODE:
        fields->b = upper;
        fields->opcode_register = low;
        fields->in_opcode = true;
        break;
      default:
        break;  // implied by the opcode
    }
  }
}

}  // namespace

unsigned Reencode(const GuestInstruction& instruction, const Placement& placement, uint8_t* out) {
  const InstructionInfo& info = instruction.decoded.info;
  const uint8_t* bytes = instruction.bytes.data();
  unsigned at = 0, length = 0;
  const auto put = [&](unsigned byte) { out[length++] = static_cast<uint8_t>(byte); };

  Fields fields;
  const bool vex = info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  const bool evex = info.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
  unsigned rex = 0;
  for (; IsLegacyPrefix(bytes[at]) || (!vex && !evex && (bytes[at] & 0xf0) == 0x40); ++at) {
    if (IsLegacyPrefix(bytes[at])) {
      rex = 0;  // a REX that another prefix follows means nothing
      if (IsKept(bytes[at])) put(bytes[at]);
    } else {
      rex = bytes[at];
    }
  }
  unsigned map = 0, vex_length_and_prefix = 0, evex_rest[3] = {};
  if (evex) {
    ++at;
    for (unsigned& byte : evex_rest) byte = bytes[at++];
    fields.r = (evex_rest[0] & 0x80) == 0;
    fields.x = (evex_rest[0] & 0x40) == 0;
    fields.b = (evex_rest[0] & 0x20) == 0;
    evex_rest[0] &= 0x1f;
  } else if (!vex) {
    fields = {.w = (rex & 8) != 0, .r = (rex & 4) != 0, .x = (rex & 2) != 0, .b = (rex & 1) != 0, .had_rex = rex != 0};
  } else {
    const bool three = bytes[at++] == kVex3;
    const uint8_t first = bytes[at++];
    const uint8_t last = three ? bytes[at++] : first;
    fields.r = (first & 0x80) == 0;
    fields.x = three && (first & 0x40) == 0;
    fields.b = three && (first & 0x20) == 0;
    fields.w = three && (last & 0x80) != 0;
    map = three ? first & 0x1f : 1;
    fields.vex_source = ~(last >> 3) & 15;
    vex_length_and_prefix = last & 7;
  }
  const bool has_modrm = (info.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
  fields.reg = info.modrm.reg;
  fields.rm = info.modrm.rm;
  PlaceRegisters(instruction, placement, &fields);
  const bool memory = instruction.memory >= 0 || placement.rm_in_memory || placement.reg_in_memory;
  // The direction is a bit of the opcode; TEST has none, and needs none.
  constexpr unsigned kDirection = 2;
  const unsigned turned = placement.reg_in_memory && info.mnemonic != ZYDIS_MNEMONIC_TEST ? kDirection : 0;
  if (placement.reg_in_memory) {
    fields.reg = fields.rm;
    fields.r = fields.b;
  }
  if (memory) {
    fields.x = placement.index != Placement::kNoIndex && placement.index >= 8;
    fields.b = placement.memory >= 8;
    fields.rm = placement.memory & 7;
  }

  if (evex) {
    put(kEvex);
    put((fields.r ? 0u : 0x80u) | (fields.x ? 0u : 0x40u) | (fields.b ? 0u : 0x20u) | evex_rest[0]);
    put(evex_rest[1]);
    put(evex_rest[2]);
  } else if (vex) {
    if (!fields.x && !fields.b && !fields.w && map == 1) {
      put(kVex2);
      put((fields.r ? 0u : 0x80u) | (~fields.vex_source & 15u) << 3 | vex_length_and_prefix);
    } else {
      put(kVex3);
      put((fields.r ? 0u : 0x80u) | (fields.x ? 0u : 0x40u) | (fields.b ? 0u : 0x20u) | map);
      put((fields.w ? 0x80u : 0u) | (~fields.vex_source & 15u) << 3 | vex_length_and_prefix);
    }
  } else {
    const unsigned bits = (fields.w ? 8u : 0u) | (fields.r ? 4u : 0u) | (fields.x ? 2u : 0u) | (fields.b ? 1u : 0u);
    if (bits != 0 || fields.had_rex) put(0x40u | bits);
  }
  const unsigned immediate_bytes = (info.immediate_sizes[0] + info.immediate_sizes[1]) / 8u;
  const unsigned opcode_end = has_modrm ? info.modrm.offset : info.length - immediate_bytes;
  for (; at < opcode_end; ++at) {
    const bool last = at + 1 == opcode_end;
    put(last && fields.in_opcode ? (bytes[at] & ~7u) | fields.opcode_register : bytes[at] ^ (last ? turned : 0));
  }
  if (has_modrm) {
    constexpr unsigned kSib = 4, kNeedsDisplacement = 5;
    const bool has_index = placement.index != Placement::kNoIndex;
    const int32_t displacement = placement.displacement;
    // With EVEX a byte stands for a multiple of the operand's size.
    const bool fits_byte = !evex && displacement == static_cast<int8_t>(displacement);
    unsigned mod = info.modrm.mod;
    if (memory) mod = displacement == 0 && fields.rm != kNeedsDisplacement ? 0 : fits_byte ? 1 : 2;
    put(mod << 6 | unsigned{fields.reg} << 3 | (memory && has_index ? kSib : fields.rm));
    if (memory && has_index)
      put(unsigned{placement.shift} << 6 | (placement.index & 7u) << 3 | fields.rm);
    else if (memory && fields.rm == kSib)
      put(0x24);
    if (memory && mod == 1) put(static_cast<uint8_t>(displacement));
    if (memory && mod == 2)
      for (unsigned i = 0; i < 4; ++i) put(static_cast<uint32_t>(displacement) >> 8 * i & 0xff);
  }
  for (at = info.length - immediate_bytes; at < info.length; ++at) put(bytes[at]);
  CHECK(length <= kMaxReencodedBytes);
  return length;
}

}  // namespace remora::cpu::translator
