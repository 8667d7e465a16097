#ifndef REMORA_CPU_VERIFY_STATE_DIFFERENCE_H_
#define REMORA_CPU_VERIFY_STATE_DIFFERENCE_H_

#include <cstdint>
#include <string>

#include "cpu/cpu_state.h"

namespace remora::cpu {

// A line for each register in which the two differ, "rax: 1 and 2"; empty: none. Flags of `ignored_flags` and x87's
// last instruction and operand do not count. Pure function.
std::string StateDifference(const CpuState& a, const CpuState& b, uint64_t ignored_flags);

}  // namespace remora::cpu

#endif  // REMORA_CPU_VERIFY_STATE_DIFFERENCE_H_
