#include "cpu/block_arena.h"

#include <sys/mman.h>

#include <new>
#include <utility>

#include "base/check.h"

namespace remora::cpu {

// At the beginning of its memory, which is aligned to its size: so a piece finds it.
struct alignas(64) BlockArena::Chunk {
  explicit Chunk(std::shared_ptr<std::atomic<uint32_t>> count) : num_chunks(std::move(count)) {}

  std::atomic<uint32_t> references{1};
  const std::shared_ptr<std::atomic<uint32_t>> num_chunks;
};

BlockArena::~BlockArena() {
  if (current_ != nullptr) Release(current_);
}

void BlockArena::Release(Chunk* chunk) {
  if (chunk->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  chunk->num_chunks->fetch_sub(1, std::memory_order_relaxed);
  chunk->~Chunk();
  munmap(chunk, kChunkBytes);
}

void* BlockArena::Allocate(size_t bytes) {
  DCHECK(bytes != 0 && bytes <= kMaxPieceBytes);
  bytes = Padded(bytes);
  if (current_ == nullptr || used_bytes_ + bytes > kChunkBytes) {
    if (num_chunks() >= max_chunks_) return nullptr;
    first_ = current_ == nullptr;
    void* memory = first_ ? MapAtLargePage(kChunkBytes) : MapForLargePages(kChunkBytes);
    if (memory == nullptr) return nullptr;
    num_chunks_->fetch_add(1, std::memory_order_relaxed);
    if (current_ != nullptr) Release(current_);
    current_ = new (memory) Chunk(num_chunks_);
    used_bytes_ = sizeof(Chunk);
  }
  constexpr size_t kQuarter = kChunkBytes / 4;
  if (first_ && used_bytes_ < kQuarter) {
    if (used_bytes_ + bytes >= kQuarter)
      (void)AskForLargePage(current_, kChunkBytes);
    else
      ahead_.Reach(current_, used_bytes_ + bytes, kChunkBytes);
  }
  current_->references.fetch_add(1, std::memory_order_relaxed);
  return reinterpret_cast<std::byte*>(current_) + std::exchange(used_bytes_, used_bytes_ + bytes);
}

void BlockArena::Free(void* piece) {
  Release(reinterpret_cast<Chunk*>(reinterpret_cast<uintptr_t>(piece) & ~(uintptr_t{kChunkBytes} - 1)));
}

}  // namespace remora::cpu
