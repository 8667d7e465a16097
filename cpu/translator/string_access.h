#ifndef REMORA_CPU_TRANSLATOR_STRING_ACCESS_H_
#define REMORA_CPU_TRANSLATOR_STRING_ACCESS_H_

#include <array>
#include <cstdint>

#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {

// What the routine for string instructions calls, with GuestContext::site being the StringForm. They count each
// iteration, or the instruction itself if there is none: off `remaining` and, when that is used up, off `reserve`.

// The guest's registers that C++ may spoil, as routines push them. Only those that string instructions use have names.
struct PushedRegisters {
  std::array<uint64_t, 4> others;
  uint64_t rdi, rsi, rdx, rcx, rax;
};

enum class StringEnd : uint64_t {
  kDone,
  kFill,   // between two iterations; the next one needs what the TLB does not have at once: FillString, then again
  kLeave,  // between two iterations; the engine goes on
};

// Runs the instruction, from run to run of pages. General registers only: nothing has to be saved for it.
StringEnd RunString(GuestContext* context, PushedRegisters* registers);

// Fills the TLB for the next iteration. False: leave.
bool FillString(GuestContext* context, const PushedRegisters* registers);

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_STRING_ACCESS_H_
