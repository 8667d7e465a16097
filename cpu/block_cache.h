#ifndef REMORA_CPU_BLOCK_CACHE_H_
#define REMORA_CPU_BLOCK_CACHE_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "base/mutex.h"
#include "mm/frame_pool.h"
#include "sync/reclaimer.h"

namespace remora::cpu {

struct Block;

// Decoded blocks of a Kernel, keyed by frame and offset: processes that map the same file page share them, wherever
// they map it.
//
// Thread safety: Lookup without a lock (under the Reclaimer); the rest from any thread.
class BlockCache final : public mm::CodeObserver {
 public:
  BlockCache(mm::FramePool* frames, sync::Reclaimer* reclaimer);
  ~BlockCache() override;

  // mm::CodeObserver: drops all blocks of the frame. Their memory goes after a grace period.
  void DropCode(mm::FrameId frame) override;
  // Grows at every DropCode; jump caches compare it.
  uint64_t generation() const;
  uint64_t num_blocks() const;

  // Another cache of what was made from the same frames: told of every DropCode, destroyed with this one. The first who
  // asks makes it.
  mm::CodeObserver* Companion(absl::FunctionRef<std::unique_ptr<mm::CodeObserver>(sync::Reclaimer* reclaimer)> make);

 private:
  friend class InterpreterCore;
  class Impl;
  std::unique_ptr<Impl> impl_;
  sync::Reclaimer* const reclaimer_;
  Mutex companion_mu_{LockRank::kLeaf};
  std::unique_ptr<mm::CodeObserver> owned_companion_ ABSL_GUARDED_BY(companion_mu_);
  std::atomic<mm::CodeObserver*> companion_{nullptr};
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_BLOCK_CACHE_H_
