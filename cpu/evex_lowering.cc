#include <Zydis/Zydis.h>

#include <bit>
#include <cstring>

#include "cpu/evex.h"
#include "cpu/lower.h"

namespace remora::cpu {
namespace {

bool IsExpand(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_VEXPANDPD:
    case ZYDIS_MNEMONIC_VEXPANDPS:
    case ZYDIS_MNEMONIC_VPEXPANDB:
    case ZYDIS_MNEMONIC_VPEXPANDD:
    case ZYDIS_MNEMONIC_VPEXPANDQ:
    case ZYDIS_MNEMONIC_VPEXPANDW:
      return true;
    default:
      return false;
  }
}

bool IsCompress(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_VCOMPRESSPD:
    case ZYDIS_MNEMONIC_VCOMPRESSPS:
    case ZYDIS_MNEMONIC_VPCOMPRESSB:
    case ZYDIS_MNEMONIC_VPCOMPRESSD:
    case ZYDIS_MNEMONIC_VPCOMPRESSQ:
    case ZYDIS_MNEMONIC_VPCOMPRESSW:
      return true;
    default:
      return false;
  }
}

// The size of the indices of a gather or scatter.
uint8_t IndexBytes(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_VGATHERQPD:
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VPGATHERQD:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
    case ZYDIS_MNEMONIC_VPSCATTERQD:
    case ZYDIS_MNEMONIC_VPSCATTERQQ:
    case ZYDIS_MNEMONIC_VSCATTERQPD:
    case ZYDIS_MNEMONIC_VSCATTERQPS:
      return 8;
    default:
      return 4;
  }
}

// Whether elements that the mask leaves out cannot fault (SDM volume 2, 2.8: exception classes without NF).
bool SuppressesFaults(ZydisExceptionClass exception_class) {
  switch (exception_class) {
    case ZYDIS_EXCEPTION_CLASS_E1:
    case ZYDIS_EXCEPTION_CLASS_E2:
    case ZYDIS_EXCEPTION_CLASS_E3:
    case ZYDIS_EXCEPTION_CLASS_E4:
    case ZYDIS_EXCEPTION_CLASS_E5:
    case ZYDIS_EXCEPTION_CLASS_E6:
    case ZYDIS_EXCEPTION_CLASS_E10:
    case ZYDIS_EXCEPTION_CLASS_E11:
      return true;
    default:
      return false;
  }
}

// How many elements a broadcast makes.
uint8_t BroadcastTo(ZydisBroadcastMode mode) {
  switch (mode) {
    case ZYDIS_BROADCAST_MODE_1_TO_2:
      return 2;
    case ZYDIS_BROADCAST_MODE_1_TO_4:
    case ZYDIS_BROADCAST_MODE_2_TO_4:
      return 4;
    case ZYDIS_BROADCAST_MODE_1_TO_8:
    case ZYDIS_BROADCAST_MODE_2_TO_8:
    case ZYDIS_BROADCAST_MODE_4_TO_8:
      return 8;
    case ZYDIS_BROADCAST_MODE_1_TO_16:
    case ZYDIS_BROADCAST_MODE_2_TO_16:
    case ZYDIS_BROADCAST_MODE_4_TO_16:
    case ZYDIS_BROADCAST_MODE_8_TO_16:
      return 16;
    case ZYDIS_BROADCAST_MODE_1_TO_32:
      return 32;
    case ZYDIS_BROADCAST_MODE_1_TO_64:
      return 64;
    default:
      return 0;
  }
}

// Copies the instruction with [rsi] for its memory operand and RAX for a general register. The extension bits of EVEX
// and VEX are inverted.
bool CopyForHost(const DecodedInstruction& in, const DecodedOperand* memory, const DecodedOperand* general,
                 const std::byte* bytes, EvexDetails* details) {
  const InstructionInfo& info = in.info;
  const bool evex = info.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
  const unsigned prefix = info.vector_prefix_offset;
  const unsigned modrm = info.modrm.offset, immediate_bytes = info.immediate_sizes[0] / 8u;
  const unsigned length = modrm + 1 - prefix + immediate_bytes;
  if (length > EvexDetails::kMaxBytes) return false;
  uint8_t* out = details->bytes.data();
  std::memcpy(out, bytes + prefix, modrm + 1 - prefix);
  std::memcpy(out + modrm + 1 - prefix, bytes + info.length - immediate_bytes, immediate_bytes);
  constexpr uint8_t kTwoByteVex = 0xc5, kR = 0x80, kX = 0x40, kB = 0x20, kEvexRUpper = 0x10, kRsiField = 6;
  uint8_t reg = info.modrm.reg, rm = info.modrm.rm, mod = info.modrm.mod;
  const bool has_xb = out[0] != kTwoByteVex;
  if (memory != nullptr) {
    mod = 0;
    rm = kRsiField;
    if (has_xb) out[1] |= kX | kB;
  }
  if (general != nullptr && general->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
    rm = 0;
    if (has_xb) out[1] |= kX | kB;
  } else if (general != nullptr) {
    if (general->encoding != ZYDIS_OPERAND_ENCODING_MODRM_REG) return false;
    reg = 0;
    out[1] |= kR | (evex ? kEvexRUpper : 0);
  }
  out[modrm - prefix] = static_cast<uint8_t>(mod << 6 | reg << 3 | rm);
  return true;
}

void DescribeAccess(const DecodedInstruction& in, const DecodedOperand& memory, EvexDetails* details) {
  const InstructionInfo& info = in.info;
  const bool store = (memory.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  const bool masked = details->mask != 0;
  const unsigned bytes = memory.size / 8u;
  unsigned element = memory.element_size / 8u;
  if (element == 0 || bytes % element != 0) element = bytes;
  details->element_bytes = static_cast<uint8_t>(element);
  details->elements = static_cast<uint8_t>(bytes / element);
  const uint8_t broadcast = BroadcastTo(info.broadcast);
  details->mask_bits = broadcast != 0 ? broadcast : details->elements;
  if (memory.mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
    details->access = store ? EvexAccess::kScatter : EvexAccess::kGather;
    details->index_bytes = IndexBytes(info.mnemonic);
    const unsigned wider = element > details->index_bytes ? element : details->index_bytes;
    details->elements = details->mask_bits = static_cast<uint8_t>(info.vector_length / 8u / wider);
  } else if (store) {
    details->access = !masked                     ? EvexAccess::kStore
                      : IsCompress(info.mnemonic) ? EvexAccess::kCompress
                                                  : EvexAccess::kStoreElements;
    details->probes_all = SuppressesFaults(info.exception_class) ? 0 : 1;
  } else {
    // The words of these are made of elements from all over.
    const bool whole = !SuppressesFaults(info.exception_class) || info.mnemonic == ZYDIS_MNEMONIC_VDBPSADBW ||
                       info.mnemonic == ZYDIS_MNEMONIC_VCVTNE2PS2BF16;
    details->access = !masked || whole          ? EvexAccess::kLoad
                      : IsExpand(info.mnemonic) ? EvexAccess::kExpand
                                                : EvexAccess::kElements;
  }
  const ZydisExceptionClass kind = info.exception_class;
  if (kind == ZYDIS_EXCEPTION_CLASS_E1 || kind == ZYDIS_EXCEPTION_CLASS_E1NF)
    details->alignment = static_cast<uint8_t>(bytes);
}

}  // namespace

bool LowerEvex(Lowering* lowering) {
  const DecodedInstruction& in = lowering->in;
  const DecodedOperand *memory = nullptr, *general = nullptr;
  EvexDetails& details = lowering->details;
  if (in.info.mask >= ZYDIS_REGISTER_K0 && in.info.mask <= ZYDIS_REGISTER_K7)
    details.mask = static_cast<uint8_t>(in.info.mask - ZYDIS_REGISTER_K0);
  Op& op = *lowering->op;
  for (int i = 0; i < in.info.operand_count; ++i) {
    const DecodedOperand& operand = in.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) memory = &operand;
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    switch (ZydisRegisterGetClass(operand.reg.value)) {
      case ZYDIS_REGCLASS_GPR32:
      case ZYDIS_REGCLASS_GPR64:
        if (general != nullptr) return false;
        general = &operand;
        details.general = static_cast<uint8_t>(ZydisRegisterGetId(operand.reg.value));
        break;
      case ZYDIS_REGCLASS_FLAGS:
        op.writes_flags = 1;
        break;
      default:
        break;
    }
  }
  if (memory != nullptr) DescribeAccess(in, *memory, &details);
  if (details.access == EvexAccess::kGather) {
    // The destination must not be the index.
    if (op.dst == op.index) return false;
  } else if (details.access != EvexAccess::kScatter && !CopyForHost(in, memory, general, lowering->bytes, &details)) {
    return false;
  }
  details.handler = SkipHandler();
  lowering->has_details = true;
  op.plain = &RunEvex;
  return true;
}

}  // namespace remora::cpu
