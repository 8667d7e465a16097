#ifndef REMORA_CPU_TRANSLATOR_INLINE_CACHE_H_
#define REMORA_CPU_TRANSLATOR_INLINE_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/translator/generated_block.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/host_code.h"

namespace remora::cpu::translator {

// Where an indirect branch has gone to.
struct BranchTarget {
  uint64_t pc = 0;
  const std::byte* entry = nullptr;  // the target's code, for who comes with flags saved; null: by its way
  uint32_t way = GuestContext::kNoWay;
  bool forward = false;  // nothing need be counted: see IsForward
};

// The inline cache of an indirect branch: code that compares R11 with each target and goes there, or to `otherwise`.
// Comparisons and conditional jumps, since their prediction looks back much further than that of indirect jumps
// (docs/engines_measurements.md). Flags are saved; R11 is kept for `otherwise`. Clears `relocations`.
void WriteInlineCache(std::span<const BranchTarget> targets, const std::byte* otherwise, HostCode* code,
                      std::vector<GeneratedBlock::Relocation>* relocations);

}  // namespace remora::cpu::translator

#endif  // REMORA_CPU_TRANSLATOR_INLINE_CACHE_H_
