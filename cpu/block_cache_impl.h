#ifndef REMORA_CPU_BLOCK_CACHE_IMPL_H_
#define REMORA_CPU_BLOCK_CACHE_IMPL_H_

#include <atomic>
#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "base/mutex.h"
#include "cpu/block.h"
#include "cpu/block_arena.h"
#include "cpu/block_cache.h"
#include "mm/types.h"

namespace remora::cpu {

struct FrameCode;

// What engines see of a BlockCache.
//
// Invariants:
//  1. A block is published only if no frame was dropped since before its bytes were read, so a block's bytes are those
//     of its frame until its frame is dropped.
//  2. A dropped block's first op leads back to the lookup; its memory lives on for a grace period.
//  3. The blocks have kMaxChunks chunks of memory at most. Without that a guest that jumps to each byte of a page would
//  have it decoded 4096 times: two thousand times its size.
// Thread safety: Find without a lock, for threads that the Reclaimer knows to be online; the rest from any thread.
class BlockCache::Impl {
 public:
  Impl(mm::FramePool* frames, sync::Reclaimer* reclaimer);
  ~Impl();

  // Null: not decoded yet.
  Block* Find(mm::FrameId frame, uint16_t page_offset) const;
  // A block with a copy of these ops, or one that was published first, or null if code was dropped since generation()
  // was `generation_before`.
  Block* Publish(mm::FrameId frame, uint16_t page_offset, const Op* ops, uint32_t num_ops, uint64_t generation_before);
  void Drop(mm::FrameId frame);

  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  uint64_t num_blocks() const { return num_blocks_.load(std::memory_order_relaxed); }
  // See cpu/locked.h.
  Mutex& split_lock() { return split_lock_; }

 private:
  static constexpr uint32_t kMaxChunks = 128;  // 256 MiB; a large program has a tenth

  static void Free(void* frame_code);
  void DropLocked(uint32_t frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  sync::Reclaimer* const reclaimer_;
  const uint64_t num_frames_;
  std::atomic<FrameCode*>* frames_;  // one for each frame of the pool
  std::atomic<uint64_t> generation_{1};
  std::atomic<uint64_t> num_blocks_{0};
  Mutex mu_{LockRank::kBlockCache};
  absl::flat_hash_set<uint32_t> frames_with_code_ ABSL_GUARDED_BY(mu_);
  BlockArena arena_ ABSL_GUARDED_BY(mu_){kMaxChunks};
  // Held across TLB fills, so it comes before everything that those take.
  Mutex split_lock_{LockRank::kSplitAccess};
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_BLOCK_CACHE_IMPL_H_
