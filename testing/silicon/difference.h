#ifndef REMORA_TESTING_SILICON_DIFFERENCE_H_
#define REMORA_TESTING_SILICON_DIFFERENCE_H_

#include <string>

#include "testing/silicon/generator.h"
#include "testing/silicon/machine.h"

namespace remora::silicon {

// Status flags that the instruction leaves undefined, with these operands.
uint64_t UndefinedFlags(const Decoded& decoded, const cpu::CpuState& before);

// What the interpreter did otherwise than the host's CPU, one line for each difference; empty where all that is defined
// is equal.
std::string Difference(const TestCase& test_case, const Decoded& decoded, const Outcome& native,
                       const Outcome& interpreted);

// The bytes, the disassembly, and the parts of the state that the instruction names.
std::string Describe(const TestCase& test_case, const Decoded& decoded);

}  // namespace remora::silicon

#endif  // REMORA_TESTING_SILICON_DIFFERENCE_H_
