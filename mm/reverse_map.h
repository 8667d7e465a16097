#ifndef REMORA_MM_REVERSE_MAP_H_
#define REMORA_MM_REVERSE_MAP_H_

#include <array>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "base/mutex.h"
#include "mm/frame_pool.h"
#include "mm/page_table_node.h"
#include "mm/types.h"

namespace remora::mm {

// Who maps a frame: frame -> leaf entries -> (through the nodes' owners) -> address spaces. One for each Kernel.
//
// A frame that is mapped once costs one word and no allocation; more mappings live in a list. Nodes shared after fork
// count once however many spaces see them: the way up through PageTableNode::owners finds them all.
// Invariants:
//  1. (leaf, slot) is listed for frame f exactly while leaf->entries[slot] is resident with frame f.
//  2. The zero frame is not tracked.
// Thread safety: all methods from any thread. Linux twin: rmap (anon_vma, i_mmap). Difference: it is exact, and knows
// nothing of VMAs.
class ReverseMap {
 public:
  explicit ReverseMap(const FramePool* frames);
  ~ReverseMap();
  ReverseMap(const ReverseMap&) = delete;
  ReverseMap& operator=(const ReverseMap&) = delete;

  // Called by PageTable for each entry that it installs or removes.
  void Add(FrameId frame, PageTableLeaf* leaf, uint32_t slot);
  void Remove(FrameId frame, PageTableLeaf* leaf, uint32_t slot);

  // Calls `visit` for each (space, page) at which the frame is mapped, with both locks held: it may count and copy, and
  // take references by TryAddRef, nothing else.
  void ForEachMapper(FrameId frame, absl::FunctionRef<void(PageTableOwner*, PageNumber)> visit);
  // Leaf entries that hold the frame.
  uint32_t num_entries(FrameId frame);

  // Guards PageTableNode::owners of all nodes.
  Mutex& sharing_mutex() ABSL_LOCK_RETURNED(sharing_mu_) { return sharing_mu_; }

 private:
  struct List;
  static constexpr uint32_t kShards = 64;
  struct alignas(64) Shard {
    Mutex mu{LockRank::kReverseMap};
  };
  Mutex& ShardOf(FrameId frame) { return shards_[frame.value() % kShards].mu; }
  void VisitUp(const PageTableNode* node, PageNumber page, absl::FunctionRef<void(PageTableOwner*, PageNumber)> visit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(sharing_mu_);

  // For each frame: 0, a packed (leaf, slot), or a List* with bit 0 set. Guarded by the frame's shard.
  uint64_t* words_ = nullptr;
  uint64_t num_words_ = 0;
  Mutex sharing_mu_{LockRank::kPageTableSharing};
  std::array<Shard, kShards> shards_;
};

}  // namespace remora::mm

#endif  // REMORA_MM_REVERSE_MAP_H_
