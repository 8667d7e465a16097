#ifndef REMORA_CPU_BLOCK_ARENA_H_
#define REMORA_CPU_BLOCK_ARENA_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/large_page.h"
#include "base/populate.h"

namespace remora::cpu {

// Memory for what is made in great numbers and goes seldom: pieces are cut off a chunk one behind the other, and a
// chunk goes when the last of its pieces has gone. A malloc for each of the 32,000 blocks of python's start, and the
// end of them all, took 4% of it.
//
// Invariants:
//  1. At most max_chunks chunks live at a time, however little of each is still in use: what is kept from a hostile
//     pattern of frees costs no more than that.
// Thread safety: Allocate one thread at a time; Free from any thread, after the arena has gone, too.
class BlockArena {
 public:
  // In large pages of the host's, if it has them: python's start fills two. Most programs do not get through a quarter
  // of the first one, which becomes a large page then.
  static constexpr size_t kChunkBytes = kLargePageBytes;
  static constexpr size_t kAlignment = 32;
  // What a piece takes.
  static constexpr size_t Padded(size_t bytes) { return (bytes + kAlignment - 1) & ~(kAlignment - 1); }
  // The largest piece.
  static constexpr size_t kMaxPieceBytes = kChunkBytes / 128;

  explicit BlockArena(uint32_t max_chunks) : max_chunks_(max_chunks) {}
  ~BlockArena();
  BlockArena(const BlockArena&) = delete;
  BlockArena& operator=(const BlockArena&) = delete;

  // `bytes`: 1 to kMaxPieceBytes; aligned to kAlignment, content unspecified. Null: there are max_chunks already, or
  // the host has no memory.
  void* Allocate(size_t bytes);
  static void Free(void* piece);

  uint32_t num_chunks() const { return num_chunks_->load(std::memory_order_relaxed); }

 private:
  struct Chunk;
  static void Release(Chunk* chunk);

  const uint32_t max_chunks_;
  // Shared by the chunks that live longer than the arena.
  const std::shared_ptr<std::atomic<uint32_t>> num_chunks_ = std::make_shared<std::atomic<uint32_t>>(0);
  Chunk* current_ = nullptr;  // holds a reference of its own to it
  size_t used_bytes_ = 0;     // of the current one
  bool first_ = true;         // it is the arena's first
  PopulatedAhead ahead_;      // of the first
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_BLOCK_ARENA_H_
