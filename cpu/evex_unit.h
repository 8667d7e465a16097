#ifndef REMORA_CPU_EVEX_UNIT_H_
#define REMORA_CPU_EVEX_UNIT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "cpu/code_memory.h"
#include "cpu/cpu_state.h"

namespace remora::cpu {

// Runs single instructions of AVX-512 on the host's CPU. For each that it is given it makes a small routine, which
// loads the registers that the instruction names, runs it, and stores those that it writes; the routines are kept by
// the instruction's bytes and thrown away all at once when there are too many.
//
// An unmasked floating-point exception never happens on the host: all that the instruction could raise are masked
// there, and the flags tell.
// Thread safety: none, one for each engine.
class EvexUnit {
 public:
  EvexUnit();

  // What a routine works on beside the CpuState.
  struct alignas(64) Frame {
    std::array<std::byte, 64> memory{};  // the memory operand
    uint64_t general = 0;                // the general register
    uint64_t flags = 0;                  // RFLAGS behind the instruction
    uint32_t mxcsr = 0;                  // what it runs with, and what it leaves
    uint32_t refused = 0;                // bits of MXCSR with which no register is stored
    uint32_t host_mxcsr = 0x1f80;
  };
  Frame& frame() { return frame_; }

  // Runs the instruction of these bytes (EvexDetails::bytes), which is known to be one of AVX-512, on `state` and
  // frame(). Answers the exception flags that it raised, as MXCSR has them; if one of them is unmasked in the guest's
  // MXCSR, no register has changed. MXCSR itself is left alone.
  uint8_t Run(CpuState* state, uint64_t bytes);

 private:
  using Routine = void (*)(CpuState* state, Frame* frame);
  struct Entry {
    uint64_t bytes = 0;
    Routine routine = nullptr;
  };
  static constexpr uint32_t kEntries = 1024;
  static constexpr uint64_t kCodeBytes = 128 << 10;

  Routine Find(uint64_t bytes);
  Routine Make(uint64_t bytes);
  void Clear();
  uint8_t RunWith(Routine routine, CpuState* state, uint32_t mxcsr, uint32_t refused);

  Frame frame_;
  CodeMemory memory_{kCodeBytes};
  uint64_t used_bytes_ = 0;
  uint32_t used_entries_ = 0;
  const std::unique_ptr<Entry[]> entries_ = std::make_unique<Entry[]>(kEntries);
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_EVEX_UNIT_H_
