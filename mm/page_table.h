#ifndef REMORA_MM_PAGE_TABLE_H_
#define REMORA_MM_PAGE_TABLE_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "mm/frame_pool.h"
#include "mm/page_table_node.h"
#include "mm/retired_frames.h"
#include "mm/reverse_map.h"
#include "mm/types.h"

namespace remora::mm {

// Which frame stands behind each page of one address space: a 4-level radix tree whose nodes are shared with relatives
// after fork and copied at the first change below them.
//
// Example: a shell with 300 pages forks. The child's table is the same root with count two. The child writes to its
// stack: root, two interior nodes and one leaf are copied (the leaf's frames now have count two), then the frame.
// Everything else stays one tree, until exec drops the child's hold on it.
//
// Invariants:
//  1. Only exclusive nodes are changed (PageTableNode, invariant 1).
//  2. A resident entry holds one reference to its frame and one entry of the ReverseMap, however many tables share its
//  leaf.
//  3. num_resident() is the number of resident entries that can be reached from this root.
//  4. No node but the root is empty (between AllocateFrame and Install, the leaf may be).
//  5. A leaf's reservation is its own; what CopyNode makes has none yet. So after a fork whoever writes gets copies
//  that
//     lie side by side again, at the same places of another block.
// Thread safety: guarded by its space's lock. Linux twin: the pgd..pte tree; differences: no rights, no hardware.
class PageTable {
 public:
  PageTable(FramePool* frames, ReverseMap* reverse_map, PageTableOwner* owner)
      : frames_(frames), reverse_map_(reverse_map), owner_(owner) {}
  ~PageTable();  // must be empty: Clear first
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  // Becomes a copy of `other`, for a price that does not depend on its size. This table must be empty.
  void ShareFrom(const PageTable& other);

  PageTableEntry Find(PageNumber page) const;
  // Some pages of the 2 MiB around have frames.
  bool IsBeingFilled(PageNumber page) const;
  // The pages around `page`, of `region` and of the 2 MiB around, that are worth having with it, the more the more are
  // in use: so the first 2 MiB of what fills from one end cost some 20 faults, what is touched here and there stays
  // small, and what is half full keeps no holes, which would cut its run. `page` alone where memory is not plenty.
  enum class Counted : uint8_t {
    kAll,     // whatever is in use in these 2 MiB
    kRegion,  // of it, what belongs to `region`
  };
  PageRange PagesAround(PageNumber page, PageRange region, Counted counted) const;
  enum class Leaves : uint8_t {
    kAll,
    kOwn,  // those that no relative shares, nor anything above them: what they refer to may be written where it is
  };
  // The pages around `page`, which is present, that lie beside it in the host's memory, too, within `region` and such
  // leaves, for which `fits` holds; at most `farthest` each way.
  PageRange RowAround(PageNumber page, PageRange region, uint64_t farthest, Leaves leaves,
                      absl::FunctionRef<bool(PageTableEntry)> fits) const;
  // The page has a resident frame that nobody else can see: every node above it and the frame have count one.
  bool IsExclusive(PageNumber page) const;

  // A frame for a private copy or a zero page at `page`, to be installed there by the caller, whose reference it is. It
  // lies beside the frames of the pages beside it if there is memory left for that (ENOMEM: none at all): so runs of
  // pages are runs of host memory, however they were touched. `region` has the page; all of it may be touched some day.
  // Unshares the path.
  ErrnoOr<FrameId> AllocateFrame(PageNumber page, PageRange region, bool zeroed, RetiredFrames* retired);
  // After a zeroed frame has been installed at `page`: gives PagesAround, where nothing is mapped yet, frames that lie
  // as far from it as they do, and fills what is then a hole between these and others (HoleFrom). Answers where all
  // that lies. The frames are ready to be written (FramePool::PrepareWrite). The host is asked for a large page when
  // 2 MiB are full.
  PageRange MapAround(PageNumber page, PageRange region, RetiredFrames* retired);
  // Puts `entry` (present) in place, and takes over the caller's reference to its frame. What stood there goes to
  // `retired`. Unshares the path.
  void Install(PageNumber page, PageTableEntry entry, RetiredFrames* retired);
  // Takes an entry out with its reference, which is now the caller's; an entry that is not present if there was none.
  PageTableEntry Take(PageNumber page, RetiredFrames* retired);
  // Empties the range; how many present entries went. Whole subtrees go without being looked through where shared.
  uint64_t Remove(PageRange range, RetiredFrames* retired);
  // The same for entries that are not anonymous.
  uint64_t RemoveOfObject(PageRange range, RetiredFrames* retired);
  // Moves the entries of [from, from + num_pages) to `to`; the ranges do not overlap and the target is empty.
  void Move(PageNumber from, PageNumber to, uint64_t num_pages, RetiredFrames* retired);
  // Likewise, but frames that are this table's alone are copied to where those of `region`, which has the target, lie
  // side by side. Nobody may write to them meanwhile.
  void MoveTogether(PageNumber from, PageNumber to, uint64_t num_pages, PageRange region, RetiredFrames* retired);
  void Clear(RetiredFrames* retired);

  // Present entries in page order, until `visit` returns false.
  void ForEach(PageRange range, absl::FunctionRef<bool(PageNumber, PageTableEntry)> visit) const;

  uint64_t num_resident() const { return num_resident_; }
  void CheckInvariants() const;

 private:
  class EntryReader;
  enum class Direction : uint8_t { kUp, kDown };

  PageTableNode* NewNode(uint8_t level, PageNumber first, void* owner);
  // A copy of a shared node for `owner`; its children or frames get one holder more.
  PageTableNode* CopyNode(const PageTableNode* node, void* owner);
  void DropNode(PageTableNode* node, void* owner, RetiredFrames* retired);
  // The root, or the child in a slot of an exclusive node, made exclusive.
  PageTableInterior* ExclusiveRoot(RetiredFrames* retired);
  PageTableNode* ExclusiveChild(PageTableInterior* parent, uint32_t slot, RetiredFrames* retired);
  // The exclusive leaf of a page; created if `create`, else null where there is none.
  PageTableLeaf* ExclusiveLeaf(PageNumber page, bool create, RetiredFrames* retired);
  PageTableLeaf* FindLeaf(PageNumber page) const;
  PageTableLeaf* FindOwnLeaf(PageNumber page) const;  // see Leaves
  // Where a new reservation for the leaf of `page` had best lie: as far from that of the nearest leaf as the leaf
  // itself. Of those that are not next to it only the region's own count: what is between others' will not be filled.
  // Invalid: anywhere.
  FrameId FindReservationBeside(PageNumber page, PageRange region) const;
  // The pages from `edge` on, up or down, within the region, that have nothing, if they are at most 2 MiB and what
  // may_fill_ allows, and behind them as many in a row, at least 128, have frames of their own; else none. Memory that
  // fills from one end, piece by piece (a heap that a collector takes from above and fills from below), has one such
  // hole between what is old and what is new.
  PageRange HoleFrom(PageNumber edge, PageRange region, Direction direction) const;
  // These give pages that have none zeroed frames that are ready to be written: those of a hole, as long as there is
  // memory; those of a piece of the 2 MiB around `page`, which has one, that lie as far from its frame as they do from
  // it, where such are free. MapPiece answers how many.
  void MapHole(PageRange hole, PageRange region, RetiredFrames* retired);
  uint32_t MapPiece(PageNumber page, PageRange piece, RetiredFrames* retired);
  uint64_t RemoveIn(PageTableNode* node, PageRange range, RetiredFrames* retired);
  // Calls `move` with each present page of the range, which may take it out.
  void ForEachMoved(PageRange range, absl::FunctionRef<void(PageNumber)> move) const;
  // Drops nodes on the path of `page` that have become empty.
  void PruneEmpty(PageNumber page, RetiredFrames* retired);

  FramePool* const frames_;
  ReverseMap* const reverse_map_;
  PageTableOwner* const owner_;
  PageTableInterior* root_ = nullptr;
  uint64_t num_resident_ = 0;
  // How many pages holes may be given: no more than MapAround has given otherwise, and not much at once, since what has
  // been filled looks in use to the next one.
  uint64_t may_fill_ = 0;
};

}  // namespace remora::mm

#endif  // REMORA_MM_PAGE_TABLE_H_
