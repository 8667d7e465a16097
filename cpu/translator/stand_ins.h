#ifndef REMORA_CPU_TRANSLATOR_STAND_INS_H_
#define REMORA_CPU_TRANSLATOR_STAND_INS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/instruction_decoder.h"
#include "cpu/translator/generated_block.h"
#include "cpu/translator/guest_instruction.h"

namespace remora::cpu::translator {

// R10 and R11 live in memory while translated code runs. Code that leaves other registers alone can have them in those
// meanwhile: it is translated as if it named these instead. Who comes in puts the stand-ins' own values aside, whoever
// leads out puts all where it belongs (BlockWriter::TakeStandIns, ReturnStandIns).

// General registers that the instruction uses in any way: a bit each.
uint32_t RegistersUsed(const GuestInstruction& instruction);

// Has the instruction name `to` wherever it names `from`, which is R8 to R15; its length stays. `to` is not RSP. False:
// some use of `from` is not in a field, or `to` has no such form as a base; then it is as before.
bool RenameRegister(GuestInstruction* instruction, unsigned from, unsigned to, InstructionDecoder* decoder);

// Stand-ins for those of R10 and R11 that at least `min_uses` of the instructions use; *renamed: the instructions with
// them. kNoStandIns: there are none, and *renamed is not meant.
StandIns ChooseStandIns(std::span<const GuestInstruction> instructions, size_t min_uses, InstructionDecoder* decoder,
                        std::vector<GuestInstruction>* renamed);

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_STAND_INS_H_
