#include "cpu/lower.h"

#include "cpu/fp_lowering.h"
#include "cpu/host_avx512.h"
#include "cpu/vector_chain.h"
#include "cpu/x87_chain.h"

namespace remora::cpu {
namespace {

constexpr uint8_t Byte(int value) { return static_cast<uint8_t>(value); }

// General registers by their number (8-bit ones by their byte offset), the others by their index.
uint8_t RegisterNumber(ZydisRegister reg) {
  if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15) return Byte(reg - ZYDIS_REGISTER_RAX);
  if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D) return Byte(reg - ZYDIS_REGISTER_EAX);
  if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W) return Byte(reg - ZYDIS_REGISTER_AX);
  if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL) return Byte((reg - ZYDIS_REGISTER_AL) * 8);
  if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) return Byte((reg - ZYDIS_REGISTER_AH) * 8 + 1);
  if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B) return Byte((reg - ZYDIS_REGISTER_SPL + 4) * 8);
  return Byte(ZydisRegisterGetId(reg));
}

// False: a displacement that cannot be kept relative to the block (RIP-relative, within 4 KiB of 2 GiB).
bool SetMemory(const DecodedOperand& operand, const InstructionInfo& info, uint32_t offset, Op* op) {
  op->has_memory = 1;
  op->base = kNoRegister;  // which may have been a third register's
  op->address32 = info.address_width == 32;
  int64_t displacement = operand.mem.displacement;
  switch (operand.mem.segment) {
    case ZYDIS_REGISTER_FS:
      op->segment = 1;
      break;
    case ZYDIS_REGISTER_GS:
      op->segment = 2;
      break;
    case ZYDIS_REGISTER_SS:
      op->stack_segment = 1;
      break;
    default:
      break;
  }
  if (operand.mem.base == ZYDIS_REGISTER_RIP || operand.mem.base == ZYDIS_REGISTER_EIP) {
    op->base = kBlockStartRegister;
    displacement += offset + info.length;
  } else if (operand.mem.base != ZYDIS_REGISTER_NONE) {
    op->base = RegisterNumber(operand.mem.base);
  }
  if (operand.mem.index != ZYDIS_REGISTER_NONE && operand.mem.type != ZYDIS_MEMOP_TYPE_MIB) {
    op->index = RegisterNumber(operand.mem.index);
    op->scale_shift = operand.mem.scale == 8 ? 3 : operand.mem.scale == 4 ? 2 : operand.mem.scale == 2 ? 1 : 0;
  }
  op->displacement = static_cast<int32_t>(displacement);
  return op->base != kBlockStartRegister || displacement == op->displacement;
}

Shape ShapeOf(const DecodedInstruction& in) {
  const int count = in.info.operand_count_visible;
  if (count == 0) return Shape::kNone;
  const ZydisOperandType first = in.operands[0].type;
  if (count == 1)
    return first == ZYDIS_OPERAND_TYPE_REGISTER    ? Shape::kReg
           : first == ZYDIS_OPERAND_TYPE_MEMORY    ? Shape::kMem
           : first == ZYDIS_OPERAND_TYPE_IMMEDIATE ? Shape::kImm
                                                   : Shape::kOther;
  const ZydisOperandType second = in.operands[1].type;
  if (first == ZYDIS_OPERAND_TYPE_REGISTER)
    return second == ZYDIS_OPERAND_TYPE_REGISTER    ? Shape::kRegReg
           : second == ZYDIS_OPERAND_TYPE_IMMEDIATE ? Shape::kRegImm
           : second == ZYDIS_OPERAND_TYPE_MEMORY    ? Shape::kRegMem
                                                    : Shape::kOther;
  if (first == ZYDIS_OPERAND_TYPE_MEMORY)
    return second == ZYDIS_OPERAND_TYPE_REGISTER    ? Shape::kMemReg
           : second == ZYDIS_OPERAND_TYPE_IMMEDIATE ? Shape::kMemImm
                                                    : Shape::kOther;
  return Shape::kOther;
}

bool SetOperands(const DecodedInstruction& in, uint32_t offset, Op* op) {
  op->offset = static_cast<uint16_t>(offset);
  op->length = in.info.length;
  op->lock = (in.info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
  bool first_immediate = true;
  for (int i = 0; i < in.info.operand_count_visible; ++i) {
    const DecodedOperand& operand = in.operands[i];
    switch (operand.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER:
        if (op->dst == kNoRegister) {
          op->dst = RegisterNumber(operand.reg.value);
        } else if (op->src == kNoRegister) {
          op->src = RegisterNumber(operand.reg.value);
        } else if (i == 3) {
          op->immediate8 = RegisterNumber(operand.reg.value);
        } else if (!op->has_memory) {
          op->base = RegisterNumber(operand.reg.value);
        }
        break;
      case ZYDIS_OPERAND_TYPE_MEMORY:
        if (!SetMemory(operand, in.info, offset, op)) return false;
        op->memory_first = i == 0;
        break;
      case ZYDIS_OPERAND_TYPE_IMMEDIATE: {
        int64_t value = operand.imm.value.s;
        if (operand.imm.is_relative) value += int64_t{offset} + in.info.length;
        if (first_immediate) op->immediate = value;
        first_immediate = false;
        op->immediate8 = static_cast<uint8_t>(operand.imm.value.u);
        break;
      }
      default:
        break;
    }
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY || i == 0) op->size = static_cast<uint8_t>(operand.size / 8);
  }
  return true;
}

}  // namespace

int ConditionOf(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
#define REMORA_CONDITION(zydis, condition) \
  case ZYDIS_MNEMONIC_J##zydis:            \
  case ZYDIS_MNEMONIC_SET##zydis:          \
  case ZYDIS_MNEMONIC_CMOV##zydis:         \
    return condition;
    REMORA_CONDITION(O, kO)
    REMORA_CONDITION(NO, kNO)
    REMORA_CONDITION(B, kB)
    REMORA_CONDITION(NB, kAE)
    REMORA_CONDITION(Z, kE)
    REMORA_CONDITION(NZ, kNE)
    REMORA_CONDITION(BE, kBE)
    REMORA_CONDITION(NBE, kA)
    REMORA_CONDITION(S, kS)
    REMORA_CONDITION(NS, kNS)
    REMORA_CONDITION(P, kP)
    REMORA_CONDITION(NP, kNP)
    REMORA_CONDITION(L, kL)
    REMORA_CONDITION(NL, kGE)
    REMORA_CONDITION(LE, kLE)
    REMORA_CONDITION(NLE, kG)
#undef REMORA_CONDITION
    default:
      return -1;
  }
}

bool Lower(const DecodedInstruction& in, uint32_t offset, Lowering* lowering) {
  Op& op = *lowering->op;
  if (IsAvx512Set(in.info.isa_set)) {
    if (!SetOperands(in, offset, &op) || !LowerEvex(lowering)) return false;
    op.handler = PlainTrampoline(op);
    if (op.writes_flags) lowering->flags = KnownFlags::kExplicit;
    return true;
  }
  if (in.info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && in.info.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
    return false;
  if (!SetOperands(in, offset, &op)) return false;
  lowering->shape = ShapeOf(in);
  if (LowerString(lowering) || LowerAlu(lowering)) return true;
  // MOV with a segment or control register is the system family's.
  if (LowerSystem(lowering) || LowerMove(lowering) || LowerUnary(lowering) || LowerShift(lowering) ||
      LowerMultiply(lowering) || LowerBits(lowering) || LowerManipulation(lowering) || LowerAtomic(lowering) ||
      LowerStack(lowering) || LowerControl(lowering))
    return true;
  op.plain = nullptr;
  op.handler = nullptr;
  if (LowerX87(in, &op)) {
    if (in.info.opcode != 0x9b) op.handler = FindChainedX87(op);  // FWAIT has no operands
  } else {
    if (!LowerSse(in, &op)) return false;
    VectorInstruction vector{.in = in};
    if (DescribeVector(in, &vector)) {
      op.handler = FindChainedVector(vector, op);
      if (op.handler == nullptr) op.handler = FindChainedFloat(vector, op);
      if (op.handler == nullptr) op.handler = FindChainedFma(vector, op);
    }
  }
  if (op.handler == nullptr) op.handler = PlainTrampoline(op);
  if (op.writes_flags) lowering->flags = KnownFlags::kExplicit;
  return true;
}

}  // namespace remora::cpu
