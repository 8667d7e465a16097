#ifndef REMORA_CPU_TRANSLATOR_TRANSLATION_H_
#define REMORA_CPU_TRANSLATOR_TRANSLATION_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/translator/generated_block.h"
#include "mm/types.h"

namespace remora::cpu::translator {

// A block's code in the CodeBuffer. Immutable once published, but for the bytes that are patched to drop it.
// It belongs to a page of code as one address sees it: every address space that has the frame there may run it.
struct Translation {
  uint64_t pc = 0;
  mm::FrameId frame;
  mm::FrameId tail_frame;  // of the page behind, if the first instruction goes on there; else not valid
  uint32_t region = 0;
  const std::byte* code = nullptr;  // null: the instruction at pc is to be interpreted
  bool repeats = false;             // if code is null: it has a REP prefix
  bool alone = false;               // each memory operand is probed by itself
  uint32_t code_bytes = 0;
  uint32_t host_entry = 0, saved_entry = 0, indirect_entry = 0, forward_entry = 0;
  uint32_t cold_offset = 0;  // what is seldom run begins there
  uint32_t dropped_host = 0, dropped_saved = 0;
  std::vector<Mark> marks;

  uint32_t count() const { return static_cast<uint32_t>(marks.size()); }
  // The instruction whose own code `host` is in.
  uint32_t IndexOf(const std::byte* host) const {
    const auto offset = static_cast<uint32_t>(host - code);
    const auto behind = std::upper_bound(marks.begin(), marks.end(), offset,
                                         [](uint32_t at, const Mark& mark) { return at < mark.host_offset; });
    return behind == marks.begin() ? 0 : static_cast<uint32_t>(behind - marks.begin()) - 1;
  }
};

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_TRANSLATION_H_
