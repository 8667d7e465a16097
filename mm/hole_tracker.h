#ifndef REMORA_MM_HOLE_TRACKER_H_
#define REMORA_MM_HOLE_TRACKER_H_

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/guest_addr.h"

namespace remora::mm {

// Where an address space has room: the set of its unmapped ranges ("holes"), which answers "the top-most hole of at
// least N pages within [lo, hi)" in O(log holes). AddressSpace keeps it in step with its VmaSet.
//
// A B+ tree over the holes by address: each inner slot knows the first address and the longest hole below it, so a
// search skips subtrees in which nothing fits. Wide nodes, because a search is bound by cache misses; nodes are indices
// into two vectors, so that fork copies it as two arrays. A node is freed when it is empty and never merged before, so
// the height follows the most holes there ever were.
//
// Invariants:
//  1. Holes are not empty, lie within space(), and neither overlap nor touch: two neighbours have been merged.
//  2. Leaves hold holes in address order; an inner slot's `first` is the start of the first hole below it and `longest`
//     the length of the longest.
//  3. All leaves have one depth. Every node but the root has an entry; an inner root has two.
//
// Cost, with n holes: a search descends once, plus once more for each level where an edge of `within` cuts a subtree
// that promised more than it has: O(log n). Reserve and Release: O(log n) for each hole that goes or comes. Memory:
// about 24 bytes a hole. A copy (fork) is four vectors.
//
// Linux twin: the gaps that mm's maple tree keeps for unmapped_area_topdown. Difference: holes are stored, not VMAs.
// Thread safety: none; guarded by the address space's lock. Copyable.
class HoleTracker {
 public:
  // At first all of `space` is one hole.
  explicit HoleTracker(PageRange space = {PageNumber(0), PageNumber(kUserAddressEnd >> kPageShift)});

  // Makes all pages of `range` used, or free, whatever they were before. `range` lies within space().
  void Reserve(PageRange range);
  void Release(PageRange range);

  // The `num_pages` (> 0) pages at the upper end of the top-most hole that has so many within `within`.
  std::optional<PageRange> FindTopmost(uint64_t num_pages, PageRange within) const;
  // Those at the lower end of the lowest such hole (MAP_32BIT, and when nothing is left from the top).
  std::optional<PageRange> FindLowest(uint64_t num_pages, PageRange within) const;
  // Whether no page of `range` is used.
  bool IsFree(PageRange range) const;

  PageRange space() const { return space_; }
  uint64_t num_holes() const { return num_holes_; }
  uint64_t num_free_pages() const { return num_free_pages_; }
  void ForEachHole(absl::FunctionRef<void(PageRange)> visit) const;
  void CheckInvariants() const;

 private:
  static constexpr uint32_t kFanOut = 32;
  static constexpr uint32_t kMaxHeight = 16;  // 16^16 splits

  struct Leaf {
    uint32_t count = 0;
    std::array<uint64_t, kFanOut> first;
    std::array<uint64_t, kFanOut> end;
  };
  struct Inner {
    uint32_t count = 0;
    std::array<uint32_t, kFanOut> child;  // index into leaves_ at level 1, else into inners_
    std::array<uint64_t, kFanOut> first;
    std::array<uint64_t, kFanOut> longest;
  };
  // The way from the root to a leaf: at level n (the root's is height_) the inner node and the slot taken.
  struct Path {
    std::array<uint32_t, kMaxHeight> node;
    std::array<uint32_t, kMaxHeight> slot;
    uint32_t leaf = 0;
  };
  struct Hole {
    uint64_t first, end;
  };

  uint32_t Descend(uint64_t page, Path* path) const;
  // The last hole that starts at or before `page`.
  std::optional<Hole> FindAtOrBefore(uint64_t page) const;
  void Insert(Hole hole);
  void Erase(uint64_t first);
  void Resize(uint64_t first, Hole now);

  bool IsFull(uint32_t level, uint32_t node) const;
  void SplitChild(uint32_t level, uint32_t parent, uint32_t slot);
  void Summarize(uint32_t level, uint32_t node, uint64_t* first, uint64_t* longest) const;
  void UpdateSummaries(const Path& path, uint32_t from_level);
  bool FindTopmostIn(uint32_t level, uint32_t node, uint64_t num_pages, Hole within, Hole* found) const;
  bool FindLowestIn(uint32_t level, uint32_t node, uint64_t num_pages, Hole within, Hole* found) const;
  void VisitIn(uint32_t level, uint32_t node, absl::FunctionRef<void(PageRange)> visit) const;
  void CheckNode(uint32_t level, uint32_t node) const;
  uint32_t NewLeaf();
  uint32_t NewInner();

  PageRange space_;
  std::vector<Leaf> leaves_;
  std::vector<Inner> inners_;
  std::vector<uint32_t> free_leaves_;
  std::vector<uint32_t> free_inners_;
  uint32_t root_ = 0;
  uint32_t height_ = 0;  // 0: the root is a leaf
  uint64_t num_holes_ = 0;
  uint64_t num_free_pages_ = 0;
};

}  // namespace remora::mm

#endif  // REMORA_MM_HOLE_TRACKER_H_
