#ifndef REMORA_CPU_SSE_LOWERING_H_
#define REMORA_CPU_SSE_LOWERING_H_

#include "cpu/op.h"

// The parts of LowerSse (cpu/fp_lowering.h). Each answers the handler of an instruction of its family, or null. `mmx`:
// the instruction's first vector operand is an MMX register.

namespace remora::cpu {

PlainHandler FindSseInteger(const DecodedInstruction& instruction, bool mmx);       // lanes of integers, bitwise logic
PlainHandler FindSseMove(const DecodedInstruction& instruction, bool mmx, Op* op);  // moves, shuffles, masks
PlainHandler FindSseFloat(const DecodedInstruction& instruction);                   // arithmetic, comparison
PlainHandler FindSseConvert(const DecodedInstruction& instruction);
PlainHandler FindSseControl(const DecodedInstruction& instruction);  // MXCSR, FXSAVE, EMMS, fences

}  // namespace remora::cpu

#endif  // REMORA_CPU_SSE_LOWERING_H_
