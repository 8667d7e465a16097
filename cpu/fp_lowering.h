#ifndef REMORA_CPU_FP_LOWERING_H_
#define REMORA_CPU_FP_LOWERING_H_

#include "cpu/decoded_instruction.h"
#include "cpu/op.h"

namespace remora::cpu {

// The door between the decoder and the x87, MMX and SSE families. `op` comes with all operand fields filled in as
// cpu/op.h tells (registers, memory operand, size, immediate8). An implementation that knows the instruction sets
// either op->plain (a PlainHandler, called through a trampoline; and reads_flags / writes_flags where it touches
// rflags' status bits, in state().rflags) or op->handler (a chained handler of its own), may change operand fields as
// it likes, and answers true. False: not an instruction of its family that is implemented, which raises #UD.
bool LowerX87(const DecodedInstruction& instruction, Op* op);
bool LowerSse(const DecodedInstruction& instruction, Op* op);

}  // namespace remora::cpu

#endif  // REMORA_CPU_FP_LOWERING_H_
