#ifndef REMORA_MM_PAGE_TABLE_NODE_H_
#define REMORA_MM_PAGE_TABLE_NODE_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "mm/frame_pool.h"
#include "mm/types.h"

namespace remora::mm {

// Whose page table it is: an AddressSpace. Only an identity here.
class PageTableOwner {
 protected:
  ~PageTableOwner() = default;
};

// One present leaf entry, packed into 32 bits: the frame, and whether it belongs to the mapping alone (a private copy,
// a zero page) rather than to the mapped object. No rights: those are the VMA's, and whether a private page may be
// written in place follows from the counts.
class PageTableEntry {
 public:
  constexpr PageTableEntry() = default;
  constexpr PageTableEntry(FrameId frame, bool anonymous)
      : bits_(frame.value() | (anonymous ? kAnonymous : 0) | kPresent) {}
  constexpr bool present() const { return (bits_ & kPresent) != 0; }
  constexpr bool anonymous() const { return (bits_ & kAnonymous) != 0; }
  constexpr FrameId frame() const { return FrameId(bits_ & kFrameMask); }
  // Present and not the zero frame: counts for RSS, and has a reference and a place in the reverse map.
  constexpr bool resident() const { return present() && (bits_ & kFrameMask) != 0; }
  friend constexpr bool operator==(PageTableEntry, PageTableEntry) = default;

 private:
  static constexpr uint32_t kPresent = 1u << 31, kAnonymous = 1u << 30, kFrameMask = kAnonymous - 1;
  uint32_t bits_ = 0;
};

// A node of the radix tree. Level 3 is the root, level 0 holds entries. Nodes are shared between the page tables of
// relatives, always at the same place.
//
// Invariants:
//  1. count == owners.size(); a node with a count above one is not changed by anybody.
//  2. owners of a root are PageTableOwners; of any other node the nodes above it.
// Thread safety: owners is guarded by ReverseMap's sharing lock. A node whose count and whose ancestors' counts are all
// one belongs to one space, and the rest is guarded by that space's lock. Since only somebody who holds a path to a
// node can add an owner, a count of one seen through exclusive ancestors stays one while that lock is held.
struct PageTableNode {
  static constexpr uint32_t kFanOut = 512;
  static constexpr uint8_t kRootLevel = 3;

  PageTableNode(uint8_t level_in, PageNumber first_in) : level(level_in), first_page(first_in) {}

  bool exclusive() const { return count.load(std::memory_order_acquire) == 1; }
  // Pages under one slot of a node of this level.
  static constexpr uint64_t PagesPerSlot(uint8_t level) { return uint64_t{1} << (9 * level); }
  static constexpr uint32_t SlotOf(PageNumber page, uint8_t level) {
    return static_cast<uint32_t>(page.value() >> (9 * level)) & (kFanOut - 1);
  }

  std::atomic<uint32_t> count{0};
  const uint8_t level;
  uint32_t num_used = 0;  // slots that are not empty
  const PageNumber first_page;
  absl::InlinedVector<void*, 2> owners;
};

struct PageTableInterior : PageTableNode {
  using PageTableNode::PageTableNode;
  std::array<PageTableNode*, kFanOut> children{};
};

struct PageTableLeaf : PageTableNode {
  explicit PageTableLeaf(PageNumber first) : PageTableNode(0, first) {}
  uint32_t num_resident = 0;
  // Where its private pages' frames come from: page k takes frame k. A copy of the leaf gets one of its own.
  FrameReservation reservation;
  std::array<PageTableEntry, kFanOut> entries{};
};

}  // namespace remora::mm

#endif  // REMORA_MM_PAGE_TABLE_NODE_H_
