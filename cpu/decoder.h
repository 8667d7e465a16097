#ifndef REMORA_CPU_DECODER_H_
#define REMORA_CPU_DECODER_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/block.h"
#include "cpu/cpu_level.h"
#include "cpu/instruction_decoder.h"
#include "mm/types.h"

namespace remora::cpu {

// Where a block's ops are built.
struct BlockBuffer {
  alignas(64) std::array<Op, kMaxBlockOps> ops;
  uint32_t num_ops = 0;
};

// Turns code bytes into a block of at most `max_instructions` instructions. A block ends at a branch, at the end of its
// page, or where it is full. An instruction that crosses into the next page makes a block of its own.
//
// Thread safety: one instance for each engine.
class Decoder {
 public:
  // `count_accesses`: each block begins by adding its memory accesses to RunContext::accesses.
  explicit Decoder(CpuLevel level = CpuLevel::kHost, bool count_accesses = false);

  // `page` is the host's view of the page, the code begins at `page_offset`. kNeedsTail: the first instruction goes on
  // in the next page, decode it with DecodeCrossing.
  enum class Result : uint8_t { kDone, kNeedsTail };
  Result Decode(const std::byte* page, uint32_t page_offset, mm::FrameId frame, uint32_t max_instructions,
                BlockBuffer* out);
  // The one instruction that begins at `page_offset` and goes on at the start of `next_page`.
  void DecodeCrossing(const std::byte* page, uint32_t page_offset, const std::byte* next_page, mm::FrameId frame,
                      BlockBuffer* out);

  InstructionDecoder* instructions() { return &instructions_; }

 private:
  enum class Status : uint8_t { kGood, kTruncated, kIllegal, kTooLong };
  Status DecodeOne(const std::byte* bytes, uint32_t available, DecodedInstruction* out);

  const CpuLevel level_;
  const bool count_accesses_;
  InstructionDecoder instructions_;
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_DECODER_H_
