#ifndef REMORA_CPU_SSE_LOWERING_H_
#define REMORA_CPU_SSE_LOWERING_H_

#include "cpu/decoded_instruction.h"
#include "cpu/op.h"
#include "cpu/sse_operands.h"

// The parts of LowerSse (cpu/fp_lowering.h). Each answers the handler of an instruction of its family, or null.

namespace remora::cpu {

// What the families go by.
struct VectorInstruction {
  const DecodedInstruction& in;
  ZydisMnemonic mnemonic =
      ZYDIS_MNEMONIC_INVALID;  // that of the SSE form where there is one, so that VPADDB is looked up as PADDB
  Form form = Form::kSse;
  bool mmx = false;  // the first vector operand is an MMX register
  bool last_is_immediate = false;
};
// What is in immediate8 of an FMA op: the letters and digits of its name. By the digits, which of the destination, the
// second and the third operand are multiplied, and which is added.
struct Fused {
  static constexpr uint8_t kNegateProduct = 1, kNegateAddend = 2,
                           kAlternate = 4;  // the last: in odd lanes the other way
  static constexpr int kOrderShift = 3;
  enum Order : uint8_t { k132, k213, k231 };
};
// Family::Run<form>.
template <typename Family>
PlainHandler HandlerOf(Form form) {
  return ByForm(form, []<Form kForm>() -> PlainHandler { return Family::template Run<kForm>; });
}
// False: neither a legacy nor a VEX encoding.
bool DescribeVector(const DecodedInstruction& instruction, VectorInstruction* out);

PlainHandler FindSseInteger(const VectorInstruction& instruction);       // lanes of integers, bitwise logic, shuffles
PlainHandler FindSseMove(const VectorInstruction& instruction, Op* op);  // moves, masks, inserts, extracts
PlainHandler FindSseFloat(const VectorInstruction& instruction);         // arithmetic, comparison
PlainHandler FindSseConvert(const VectorInstruction& instruction);
PlainHandler FindSseString(const VectorInstruction& instruction);          // PCMPESTRI and its kin
PlainHandler FindCrypto(const VectorInstruction& instruction);             // AES, SHA, carry-less multiplication
PlainHandler FindAvx(const VectorInstruction& instruction, const Op& op);  // of VEX forms: what SSE has not
PlainHandler FindFma(const VectorInstruction& instruction, Op* op);        // of VEX forms: FMA3, F16C
PlainHandler FindSseControl(const VectorInstruction& instruction);         // MXCSR, FXSAVE, EMMS, fences

}  // namespace remora::cpu

#endif  // REMORA_CPU_SSE_LOWERING_H_
