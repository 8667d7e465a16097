#ifndef REMORA_TESTING_SILICON_CATALOGUE_H_
#define REMORA_TESTING_SILICON_CATALOGUE_H_

#include <Zydis/Zydis.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace remora::silicon {

// One way to encode one instruction, without what is free to choose: registers, addressing, immediates.
struct InstructionForm {
  bool vex = false;
  bool vex_has_source = false;  // VEX.vvvv names a register
  bool vex_256 = false;         // VEX.L
  bool evex = false;            // with EVEX.vvvv as VEX's
  uint8_t evex_length = 0;      // EVEX.L'L
  bool evex_b = false;          // EVEX.b: a broadcast, a rounding mode, or no exceptions
  uint8_t prefix = 0;           // 0, 0x66, 0xf2 or 0xf3: mandatory, operand size or REP
  bool wide = false;            // REX.W, VEX.W
  uint8_t map = 0;              // 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A
  uint8_t opcode = 0;
  bool has_modrm = false;
  bool memory = false;  // ModRM.mod is not 3
  int reg = -1;         // ModRM.reg where it is part of the opcode
  int rm = -1;          // ModRM.rm where it is
  ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
  bool lockable = false;
};

// All forms of 64-bit mode's legacy, VEX and EVEX encodings that the interpreter's cpuid advertises and the host's CPU
// has, found by asking Zydis' decoder for every prefix, opcode and ModRM byte; and what is left out, with the reason.
struct Catalogue {
  std::map<ZydisMnemonic, std::vector<InstructionForm>> forms;
  std::map<std::string, std::vector<ZydisMnemonic>> left_out;  // by reason
  size_t num_forms = 0;
};

Catalogue MakeCatalogue();

// A mandatory prefix as VEX.pp has it.
unsigned VexPrefix(uint8_t prefix);

// Null: tested. Else the reason why not.
const char* WhyLeftOut(const ZydisDecodedInstruction& instruction);

}  // namespace remora::silicon

#endif  // REMORA_TESTING_SILICON_CATALOGUE_H_
