#ifndef REMORA_CPU_BLOCK_H_
#define REMORA_CPU_BLOCK_H_

#include <array>
#include <cstdint>
#include <memory>

#include "cpu/chain.h"
#include "cpu/op.h"
#include "mm/types.h"

namespace remora::cpu {

// Bytes of an instruction that lie on the next page. The first op of such a block compares them with what is there.
struct TailBytes {
  Handler unused = nullptr;
  std::array<uint8_t, 15> bytes{};
  uint8_t count = 0;
  uint64_t padding = 0;
};
static_assert(sizeof(TailBytes) == sizeof(Op) && alignof(TailBytes) == alignof(Op));

inline constexpr uint32_t kMaxBlockInstructions = 64;
// Helper ops: one before the instructions and two behind; or, around the only instruction of a block that crosses a
// page, three before. Links stand behind any one of them.
inline constexpr uint32_t kMaxBlockOps = kMaxBlockInstructions + 4;

// A basic block: ops in a row. Immutable once published, but for its links and, when its frame is written, the handler
// of its first op.
// In a BlockArena.
struct alignas(32) Block {
  uint32_t num_ops = 0;
  uint16_t page_offset = 0;
  Op* ops() { return reinterpret_cast<Op*>(this + 1); }
};
static_assert(sizeof(Block) % alignof(Op) == 0);

}  // namespace remora::cpu

#endif  // REMORA_CPU_BLOCK_H_
