#ifndef REMORA_CPU_TRANSLATOR_FLAG_LOOKAHEAD_H_
#define REMORA_CPU_TRANSLATOR_FLAG_LOOKAHEAD_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/instruction_decoder.h"
#include "mm/frame_pool.h"

namespace remora::cpu::translator {

// Which status flags may be read before they are written, by code from some address on: what a block need not save for
// who comes behind it. Looks at a few instructions along both ways of branches, no further than the page; where it
// cannot see, all flags count as read.
//
// Thread safety: one instance for each engine.
class FlagLookahead {
 public:
  explicit FlagLookahead(InstructionDecoder* decoder) : decoder_(decoder) {}

  // The page whose bytes LiveAt looks at. What was found out before is kept if `frame` and `generation` (of what code
  // was dropped, TranslationCache::generation) and the address are the same.
  void Begin(uint64_t page_start, const std::byte* page, mm::FrameId frame, uint64_t generation);

  // Bits as RFLAGS has them.
  uint32_t LiveAt(uint64_t pc);

 private:
  uint32_t Scan(uint64_t pc, uint32_t wanted, int depth);

  struct Known {
    uint64_t pc = 0;
    uint64_t epoch = 0;
    uint32_t live = 0;
  };
  static constexpr uint32_t kKnown = 256;
  static constexpr int kMaxDepth = 2;
  static constexpr int kMaxInstructions = 16;

  InstructionDecoder* const decoder_;
  const std::byte* page_ = nullptr;
  uint64_t page_start_ = 0;
  mm::FrameId frame_;
  uint64_t generation_ = 0;
  uint64_t epoch_ = 1;
  std::array<Known, kKnown> known_;
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_FLAG_LOOKAHEAD_H_
