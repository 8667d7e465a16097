#ifndef REMORA_MM_FRAME_MAP_H_
#define REMORA_MM_FRAME_MAP_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/functional/function_ref.h"
#include "mm/types.h"
#include "sync/reclaimer.h"

namespace remora::mm {

// Page index -> frame of one file: a radix tree of 64-way nodes that is read without a lock. Two threads that read one
// file share no cache line that either writes.
//
// A leaf holds 64 frames, an inner node 64 children; the root's level grows with the largest index and shrinks only
// when the tree becomes empty. A file of up to 64 pages is one leaf of 280 bytes.
//
// Invariants:
//  1. size() is the number of valid entries; every node has at least one.
//  2. A node's children lie one level below it and cover its range without a gap.
//  3. A node that has left the tree is freed after a grace period, so a reader that found it may still look at it.
// Linux twin: the XArray of an address_space, read under RCU. Difference: no tags, no multi-page entries.
// Thread safety: Lookup from any thread that is an online participant of the reclaimer (or in a ReadSection); the frame
// it answers may have been taken out since, and then stays readable until the caller's next quiescent point if whoever
// took it out releases it through the reclaimer. All else under the owner's lock.
// Cost: all but ForEach and EraseRange are O(levels), at most 9: one for 64 pages, two for 16 MiB, three for 1 GiB.
class FrameMap {
 public:
  explicit FrameMap(sync::Reclaimer* reclaimer) : reclaimer_(reclaimer) {}
  ~FrameMap();
  FrameMap(const FrameMap&) = delete;
  FrameMap& operator=(const FrameMap&) = delete;

  // The frame of page `index`; invalid if there is none.
  FrameId Lookup(uint64_t index) const {
    const Node* node = root_.load(std::memory_order_acquire);
    if (node == nullptr || !node->Covers(index)) return FrameId();
    for (uint32_t level = node->level; level > 0; --level) {
      node = static_cast<const Inner*>(node)->child[SlotOf(index, level)].load(std::memory_order_acquire);
      if (node == nullptr) return FrameId();
    }
    return FrameId(static_cast<const Leaf*>(node)->frame[SlotOf(index, 0)].load(std::memory_order_acquire));
  }

  // --- under the owner's lock ---

  // The entry for `index`, which is now there: what it was, or `frame`; and whether it was inserted.
  std::pair<FrameId, bool> TryInsert(uint64_t index, FrameId frame);
  // Takes the entries of [first, first + num_pages) out, and calls `erased` with each, in order.
  void EraseRange(uint64_t first, uint64_t num_pages, absl::FunctionRef<void(uint64_t, FrameId)> erased);
  // In order of the index.
  void ForEach(absl::FunctionRef<void(uint64_t, FrameId)> visit) const;
  uint64_t size() const { return size_; }
  void CheckInvariants() const;

 private:
  static constexpr uint32_t kBits = 6;
  static constexpr uint32_t kFanOut = 1 << kBits;
  static constexpr uint32_t kNoFrame = ~0u;  // FrameId().value()

  struct Node {
    explicit Node(uint32_t level_in) : level(level_in) {}
    bool Covers(uint64_t index) const { return level >= kMaxLevel || index >> (kBits * (level + 1)) == 0; }
    const uint32_t level;  // 0: a Leaf
    uint32_t count = 0;    // entries in use; for the owner
  };
  struct Inner : Node {
    explicit Inner(uint32_t level_in) : Node(level_in) {}
    std::atomic<Node*> child[kFanOut] = {};
  };
  struct Leaf : Node {
    Leaf() : Node(0) {
      for (std::atomic<uint32_t>& f : frame) f.store(kNoFrame, std::memory_order_relaxed);
    }
    std::atomic<uint32_t> frame[kFanOut];
  };
  static constexpr uint32_t kMaxLevel = 64 / kBits;  // whose nodes cover all indexes

  static uint32_t SlotOf(uint64_t index, uint32_t level) { return (index >> (kBits * level)) & (kFanOut - 1); }
  static Node* NewNode(uint32_t level);
  static void FreeTree(Node* node);
  // True if `node`, whose first index is `base`, is empty afterwards.
  bool EraseIn(Node* node, uint64_t base, uint64_t first, uint64_t last,
               absl::FunctionRef<void(uint64_t, FrameId)> erased);
  static void VisitIn(const Node* node, uint64_t base, absl::FunctionRef<void(uint64_t, FrameId)> visit);
  void CheckNode(const Node* node, uint64_t* num_frames) const;
  void Retire(Node* node);

  std::atomic<Node*> root_{nullptr};
  sync::Reclaimer* const reclaimer_;
  uint64_t size_ = 0;
};

}  // namespace remora::mm

#endif  // REMORA_MM_FRAME_MAP_H_
