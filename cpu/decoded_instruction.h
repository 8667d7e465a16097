#ifndef REMORA_CPU_DECODED_INSTRUCTION_H_
#define REMORA_CPU_DECODED_INSTRUCTION_H_

#include <Zydis/Zydis.h>

#include <cstdint>

namespace remora::cpu {

// What Zydis says of an instruction, as far as anybody here asks, in a third of the memory: a program's beginnings
// (see InstructionDecoder) fit into the host's second cache. Names and numbers are Zydis' own.

struct DecodedOperand {
  struct Register {
    ZydisRegister value : 16;
  };
  struct Memory {
    ZydisRegister segment : 16, base : 16, index : 16;
    ZydisMemoryOperandType type : 7;
    bool has_displacement : 1;
    uint8_t scale;
    int64_t displacement;
  };
  struct Immediate {
    union {
      uint64_t u;
      int64_t s;
    } value;
    bool is_relative;
  };

  ZydisOperandType type : 8;
  ZydisOperandVisibility visibility : 8;
  ZydisOperandEncoding encoding : 8;
  ZydisOperandActions actions;
  uint16_t size, element_size;  // in bits
  union {
    Register reg;
    Memory mem;
    Immediate imm;
  };
};
static_assert(sizeof(DecodedOperand) == 24);

struct InstructionInfo {
  ZydisInstructionAttributes attributes;
  const ZydisAccessedFlags* cpu_flags;  // null: it uses none
  // As they stand behind ModRM and SIB, extended to 64 bits. Zydis has them once more in the operands.
  int64_t displacement, immediates[2];
  ZydisMnemonic mnemonic : 16;
  ZydisISASet isa_set : 8;
  ZydisInstructionCategory category : 8;
  ZydisExceptionClass exception_class : 8;
  ZydisBranchType branch_type : 8;
  ZydisInstructionEncoding encoding : 8;
  ZydisOpcodeMap opcode_map : 8;
  uint8_t length, opcode;  // the former in bytes
  uint8_t operand_count, operand_count_visible;
  uint8_t operand_width, address_width;  // in bits
  uint8_t repeat_prefix;                 // the last of F2 and F3 that stands there, whatever it means; 0: neither
  uint8_t vector_prefix_offset;          // of VEX or EVEX, in bytes from the beginning
  struct {
    uint8_t mod : 2, reg : 3, rm : 3;
    uint8_t offset;
  } modrm;                          // zeros: it has none
  bool rex_b : 1;                   // of REX itself
  bool wide : 1;                    // W of REX, VEX or EVEX
  bool immediate_is_relative : 1;   // the first one's
  uint8_t immediate_is_signed : 2;  // a bit each
  ZydisBroadcastMode broadcast : 8;
  ZydisRegister mask : 16;  // of AVX-512
  uint16_t vector_length;   // in bits; 0: it has none
  // In bits, and in bytes from the beginning; a size of 0: there is none.
  uint8_t displacement_size, displacement_offset, immediate_sizes[2], immediate_offsets[2];
};

// With its explicit and hidden operands.
struct DecodedInstruction {
  InstructionInfo info;
  DecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

// `in` and its operands, of which `in` says how many there are. Of types that have no place here, pointers (of far
// branches that 64-bit code has not), only the type is kept.
void Abridge(const ZydisDecodedInstruction& in, const ZydisDecodedOperand* operands, DecodedInstruction* out);

}  // namespace remora::cpu

#endif  // REMORA_CPU_DECODED_INSTRUCTION_H_
