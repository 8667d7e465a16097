#ifndef REMORA_TESTING_SILICON_MAKERS_CHOICE_H_
#define REMORA_TESTING_SILICON_MAKERS_CHOICE_H_

#include <cstdint>

#include "testing/silicon/generator.h"
#include "testing/silicon/machine.h"

namespace remora::silicon {

// What the manuals leave to the CPU's maker and the makers do differently. The interpreter does as AMD does
// (cpu/cpuid.h says that it is one); on a host of another maker these parts of an outcome are not compared. On AMD's
// all are, but for what differs from one of its CPUs to the next, or is a mode that the guest's CPU has not.
struct MakersChoice {
  bool everything = false;     // another instruction altogether, or another exception first
  bool fault_address = false;  // which of several accesses fails first
  bool memory = false;         // what was stored before the exception
  bool flags = false;          // of a repeated instruction that faults
  bool x87_top = false;        // whether the change to MMX state comes before the access that faults
  bool mxcsr = false;          // whether a store that faults has told of its conversion
  uint64_t rax = 0;            // bits of RAX: what XGETBV says is in use
  uint32_t vectors = 0;        // a bit for each register that a gather leaves half done when it faults
};
MakersChoice MakersChoiceIn(const Decoded& decoded, const Outcome& native, const Outcome& interpreted);

}  // namespace remora::silicon

#endif  // REMORA_TESTING_SILICON_MAKERS_CHOICE_H_
