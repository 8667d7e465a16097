#ifndef REMORA_CPU_TRANSLATOR_BLOCK_COLLECTOR_H_
#define REMORA_CPU_TRANSLATOR_BLOCK_COLLECTOR_H_

#include <Zydis/Zydis.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/cpu_level.h"
#include "cpu/instruction_decoder.h"
#include "cpu/translator/guest_instruction.h"
#include "cpu/translator/options.h"

namespace remora::cpu::translator {

// Finds the instructions of a block: a trace that goes on behind conditional branches and along jumps within the page,
// until it meets itself or is long, and repeats itself a few times if it is a short loop. Or those of a path that has
// been run.
//
// Thread safety: one instance for each engine.
class BlockCollector {
 public:
  static constexpr uint32_t kMaxInstructions = 32;
  // A trace of so many ends with its next conditional branch: what is behind is seldom come to, and has blocks of its
  // own.
  static constexpr uint32_t kLongTrace = 24;

  // What the level has not is interpreted. `host_tsc`: the guest's time stamp counter is the host's, so RDTSC is
  // re-emitted.
  BlockCollector(InstructionDecoder* decoder, Optimizations optimizations, CpuLevel level = CpuLevel::kHost,
                 bool host_tsc = false);

  // Decodes the block at `pc`, whose page's bytes are `page`. False: its first instruction goes on in the next page,
  // whose bytes have to be given then (null: not); the block is that one instruction, and some more behind.
  bool Collect(uint64_t pc, const std::byte* page, const std::byte* next_page);
  // An instruction of a path, the bytes of its page, and of the next one if it may go on there.
  struct Step {
    uint64_t pc = 0;
    const std::byte* page = nullptr;
    const std::byte* next_page = nullptr;
  };
  // Decodes what was run one after the other, up to the first instruction that a path does not go through. `again`:
  // where it went on; true if a path can go on there. It ends with a return to whoever has called before.
  bool CollectPath(std::span<const Step> steps, uint64_t again);
  // Which steps of a round it may begin with so that no return leads to whoever has called before: the first one, or
  // those behind returns. None: a path does not go through all of them. Forgets the instructions.
  std::vector<size_t> OutermostOf(std::span<const Step> steps);
  // Leaves the first `length` instructions of a path.
  void CutPath(size_t length);
  // Valid until the next call. Only the last one may be to be interpreted.
  std::span<const GuestInstruction> instructions() const { return instructions_; }

 private:
  // Fills in the bytes at its address, those of the next page only if these are given, and tells how many there are.
  static uint64_t Copy(GuestInstruction* instruction, const std::byte* page, const std::byte* next_page);
  // Fills in the rest of an instruction whose address and bytes are known.
  ZyanStatus Finish(GuestInstruction* instruction, uint64_t available);
  // False: a path does not go through it.
  bool AddStep(const Step& step);
  bool Collected(uint64_t pc) const;
  void Unroll();

  static constexpr uint32_t kMaxCopies = 4;

  InstructionDecoder* const decoder_;
  const Optimizations optimizations_;
  const CpuLevel level_;
  const bool host_tsc_;
  std::vector<GuestInstruction> instructions_;
  std::vector<uint64_t> pcs_;  // of a block's, side by side
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_BLOCK_COLLECTOR_H_
