#ifndef REMORA_CPU_X87_CHAIN_H_
#define REMORA_CPU_X87_CHAIN_H_

#include "cpu/op.h"

namespace remora::cpu {

// The chained handler of an instruction that LowerX87 has lowered, or null: then op->plain does it all. It does what is
// common (cpu/x87_ordinary.h), everything masked, and hands everything else to op->plain before it has changed
// anything.
Handler FindChainedX87(const Op& op);

}  // namespace remora::cpu

#endif  // REMORA_CPU_X87_CHAIN_H_
