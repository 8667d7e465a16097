#include "mm/page_table.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "base/check.h"
#include "mm/frame_allocator.h"
#include "mm/guest_copy.h"

namespace remora::mm {
namespace {

constexpr uint32_t kFanOut = PageTableNode::kFanOut;
// So many pages in a row were hardly touched here and there by chance.
constexpr uint64_t kLongRow = 128;

PageTableInterior* Interior(PageTableNode* node) { return static_cast<PageTableInterior*>(node); }
const PageTableInterior* Interior(const PageTableNode* node) { return static_cast<const PageTableInterior*>(node); }
PageTableLeaf* Leaf(PageTableNode* node) { return static_cast<PageTableLeaf*>(node); }
const PageTableLeaf* Leaf(const PageTableNode* node) { return static_cast<const PageTableLeaf*>(node); }

// How owners are written down: see PageTableNode, invariant 2.
void* AsOwner(PageTableNode* node) { return node; }
void* AsOwner(PageTableOwner* owner) { return owner; }

PageRange RangeOfSlot(const PageTableNode* node, uint32_t slot) {
  const uint64_t pages = PageTableNode::PagesPerSlot(node->level);
  const PageNumber first = node->first_page + slot * pages;
  return {first, first + pages};
}

// Slots of `node` that meet `range`, which lies within the node.
struct SlotSpan {
  uint32_t first, end;
};
SlotSpan SlotsIn(const PageTableNode* node, PageRange range) {
  return {PageTableNode::SlotOf(range.first, node->level), PageTableNode::SlotOf(range.end - 1, node->level) + 1};
}
PageRange Clip(PageRange a, PageRange b) { return {std::max(a.first, b.first), std::min(a.end, b.end)}; }

struct Count {
  uint64_t present = 0, resident = 0;
};
void CountBelow(const PageTableNode* node, Count* count) {
  if (node->level == 0) {
    count->present += node->num_used;
    count->resident += Leaf(node)->num_resident;
    return;
  }
  for (const PageTableNode* child : Interior(node)->children)
    if (child != nullptr) CountBelow(child, count);
}

// How many leaves the region may have before and behind that of `page`. What is small may grow, and what has grown may
// grow as much again.
FrameAllocator::Room RoomFor(PageNumber page, PageRange region) {
  constexpr uint64_t kBefore = 4, kBehind = 6;
  const uint64_t leaf = page.value() / kFanOut;
  const uint64_t before = std::max(kBefore, leaf - region.first.value() / kFanOut);
  const uint64_t behind = std::max({kBehind, (region.end - 1).value() / kFanOut - leaf, before});
  const auto cut = [](uint64_t n) { return static_cast<uint32_t>(std::min<uint64_t>(n, FrameAllocator::kMaxRoom)); };
  return {cut(before), cut(behind)};
}

bool AnyIn(const PageTableNode* node, PageRange range) {
  const auto [first, end] = SlotsIn(node, range);
  for (uint32_t slot = first; slot < end; ++slot) {
    if (node->level == 0) {
      if (Leaf(node)->entries[slot].present()) return true;
      continue;
    }
    const PageTableNode* child = Interior(node)->children[slot];
    if (child != nullptr && AnyIn(child, Clip(range, RangeOfSlot(node, slot)))) return true;
  }
  return false;
}

bool Visit(const PageTableNode* node, PageRange range, absl::FunctionRef<bool(PageNumber, PageTableEntry)> visit) {
  const auto [first, end] = SlotsIn(node, range);
  for (uint32_t slot = first; slot < end; ++slot) {
    if (node->level == 0) {
      const PageTableEntry entry = Leaf(node)->entries[slot];
      if (entry.present() && !visit(node->first_page + slot, entry)) return false;
      continue;
    }
    const PageTableNode* child = Interior(node)->children[slot];
    if (child != nullptr && !Visit(child, Clip(range, RangeOfSlot(node, slot)), visit)) return false;
  }
  return true;
}

}  // namespace

PageTable::~PageTable() { CHECK_MSG(root_ == nullptr, "page table destroyed with entries"); }

PageTableNode* PageTable::NewNode(uint8_t level, PageNumber first, void* owner) {
  PageTableNode* node = level == 0 ? static_cast<PageTableNode*>(new PageTableLeaf(first))
                                   : static_cast<PageTableNode*>(new PageTableInterior(level, first));
  // Nobody can see it yet, but the reverse map's walk up will once entries are below it.
  MutexLock lock(&reverse_map_->sharing_mutex());
  node->owners.push_back(owner);
  node->count.store(1, std::memory_order_release);
  return node;
}

PageTableNode* PageTable::CopyNode(const PageTableNode* node, void* owner) {
  PageTableNode* copy = NewNode(node->level, node->first_page, owner);
  copy->num_used = node->num_used;
  if (node->level == 0) {
    PageTableLeaf* leaf = Leaf(copy);
    leaf->entries = Leaf(node)->entries;
    leaf->num_resident = Leaf(node)->num_resident;
    for (uint32_t slot = 0; slot < kFanOut; ++slot) {
      if (!leaf->entries[slot].resident()) continue;
      frames_->AddRef(leaf->entries[slot].frame());
      reverse_map_->Add(leaf->entries[slot].frame(), leaf, slot);
    }
    return copy;
  }
  PageTableInterior* interior = Interior(copy);
  interior->children = Interior(node)->children;
  MutexLock lock(&reverse_map_->sharing_mutex());
  for (PageTableNode* child : interior->children) {
    if (child == nullptr) continue;
    child->owners.push_back(AsOwner(copy));
    child->count.fetch_add(1, std::memory_order_relaxed);
  }
  return copy;
}

void PageTable::DropNode(PageTableNode* node, void* owner, RetiredFrames* retired) {
  {
    MutexLock lock(&reverse_map_->sharing_mutex());
    auto it = std::find(node->owners.begin(), node->owners.end(), owner);
    CHECK(it != node->owners.end());
    *it = node->owners.back();
    node->owners.pop_back();
    // Release: what this space read and copied is done before another finds the node exclusive. Acquire: the same of
    // others, before it is destroyed.
    if (node->count.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  }
  if (node->level == 0) {
    PageTableLeaf* leaf = Leaf(node);
    for (uint32_t slot = 0; slot < kFanOut; ++slot) {
      if (!leaf->entries[slot].resident()) continue;
      reverse_map_->Remove(leaf->entries[slot].frame(), leaf, slot);
      retired->Add(leaf->entries[slot].frame());
    }
    delete leaf;
    return;
  }
  for (PageTableNode* child : Interior(node)->children)
    if (child != nullptr) DropNode(child, AsOwner(node), retired);
  delete Interior(node);
}

void PageTable::ShareFrom(const PageTable& other) {
  CHECK(root_ == nullptr);
  if (other.root_ == nullptr) return;
  MutexLock lock(&reverse_map_->sharing_mutex());
  other.root_->owners.push_back(AsOwner(owner_));
  other.root_->count.fetch_add(1, std::memory_order_relaxed);
  root_ = other.root_;
  num_resident_ = other.num_resident_;
}

PageTableInterior* PageTable::ExclusiveRoot(RetiredFrames* retired) {
  if (root_ == nullptr) {
    root_ = Interior(NewNode(PageTableNode::kRootLevel, PageNumber(0), AsOwner(owner_)));
  } else if (!root_->exclusive()) {
    PageTableInterior* shared = root_;
    root_ = Interior(CopyNode(shared, AsOwner(owner_)));
    DropNode(shared, AsOwner(owner_), retired);
  }
  return root_;
}

PageTableNode* PageTable::ExclusiveChild(PageTableInterior* parent, uint32_t slot, RetiredFrames* retired) {
  PageTableNode* child = parent->children[slot];
  if (child->exclusive()) return child;
  parent->children[slot] = CopyNode(child, AsOwner(static_cast<PageTableNode*>(parent)));
  DropNode(child, AsOwner(static_cast<PageTableNode*>(parent)), retired);
  return parent->children[slot];
}

PageTableLeaf* PageTable::ExclusiveLeaf(PageNumber page, bool create, RetiredFrames* retired) {
  if (root_ == nullptr && !create) return nullptr;
  PageTableInterior* node = ExclusiveRoot(retired);
  while (true) {
    const uint32_t slot = PageTableNode::SlotOf(page, node->level);
    if (node->children[slot] == nullptr) {
      if (!create) return nullptr;
      node->children[slot] =
          NewNode(node->level - 1, RangeOfSlot(node, slot).first, AsOwner(static_cast<PageTableNode*>(node)));
      ++node->num_used;
    }
    PageTableNode* child = ExclusiveChild(node, slot, retired);
    if (child->level == 0) return Leaf(child);
    node = Interior(child);
  }
}

PageTableLeaf* PageTable::FindLeaf(PageNumber page) const {
  PageTableNode* node = root_;
  while (node != nullptr && node->level != 0) node = Interior(node)->children[PageTableNode::SlotOf(page, node->level)];
  return node == nullptr ? nullptr : Leaf(node);
}

PageTableEntry PageTable::Find(PageNumber page) const {
  const PageTableLeaf* leaf = FindLeaf(page);
  return leaf == nullptr ? PageTableEntry() : leaf->entries[PageTableNode::SlotOf(page, 0)];
}

PageTableLeaf* PageTable::FindOwnLeaf(PageNumber page) const {
  PageTableNode* node = root_;
  while (node != nullptr && node->exclusive() && node->level != 0)
    node = Interior(node)->children[PageTableNode::SlotOf(page, node->level)];
  return node != nullptr && node->exclusive() ? Leaf(node) : nullptr;
}

// Entries one after the other, mostly of one leaf.
class PageTable::EntryReader {
 public:
  EntryReader(const PageTable& table, Leaves leaves) : table_(table), leaves_(leaves) {}
  // Not present: there is none, or it is in a leaf that is left out.
  PageTableEntry At(PageNumber page) {
    if (const uint64_t leaf = page.value() / kFanOut; leaf != number_) {
      number_ = leaf;
      leaf_ = leaves_ == Leaves::kOwn ? table_.FindOwnLeaf(page) : table_.FindLeaf(page);
    }
    return leaf_ == nullptr ? PageTableEntry() : leaf_->entries[PageTableNode::SlotOf(page, 0)];
  }

 private:
  const PageTable& table_;
  const Leaves leaves_;
  uint64_t number_ = UINT64_MAX;
  const PageTableLeaf* leaf_ = nullptr;
};

PageRange PageTable::RowAround(PageNumber page, PageRange region, uint64_t farthest, Leaves leaves,
                               absl::FunctionRef<bool(PageTableEntry)> fits) const {
  const PageRange within = Clip({page - std::min(page.value(), farthest), page + farthest}, region);
  EntryReader entries(*this, leaves);
  const uint32_t frame = entries.At(page).frame().value();
  const auto continues = [&](PageNumber other) {
    const PageTableEntry entry = entries.At(other);
    return entry.present() && entry.frame().value() - frame == static_cast<uint32_t>(other - page) && fits(entry);
  };
  PageRange row = {page, page + 1};
  while (row.end < within.end && continues(row.end)) ++row.end;
  while (within.first < row.first && continues(row.first - 1)) row.first = row.first - 1;
  return row;
}

bool PageTable::IsExclusive(PageNumber page) const {
  const PageTableLeaf* leaf = FindOwnLeaf(page);
  if (leaf == nullptr) return false;
  const PageTableEntry entry = leaf->entries[PageTableNode::SlotOf(page, 0)];
  return entry.resident() && frames_->ref_count(entry.frame()) == 1;
}

FrameId PageTable::FindReservationBeside(PageNumber page, PageRange region) const {
  constexpr uint64_t kMaxLeavesAway = FrameAllocator::kMaxRoom;
  const uint64_t own = page.value() / kFanOut;
  uint64_t before = own - region.first.value() / kFanOut, behind = (region.end - 1).value() / kFanOut - own;
  if (before == 0 && behind == 0) before = behind = 1;
  const auto continued = [&](PageNumber other) {
    const PageTableLeaf* leaf = FindLeaf(other);
    // A shared one's block belongs to a relative as well, and what continues it to that one.
    if (leaf == nullptr || !leaf->exclusive() || leaf->reservation.empty()) return FrameId();
    return leaf->reservation.Beside(static_cast<int64_t>(page.value() / kFanOut) -
                                    static_cast<int64_t>(other.value() / kFanOut));
  };
  for (uint64_t away = 1; away <= std::min(std::max(before, behind), kMaxLeavesAway); ++away) {
    const uint64_t pages = away * kFanOut;
    if (away <= before && page.value() >= pages)
      if (const FrameId place = continued(PageNumber(page.value() - pages)); place.valid()) return place;
    if (away <= behind)
      if (const FrameId place = continued(page + pages); place.valid()) return place;
  }
  return FrameId();
}

ErrnoOr<FrameId> PageTable::AllocateFrame(PageNumber page, PageRange region, bool zeroed, RetiredFrames* retired) {
  PageTableLeaf* leaf = ExclusiveLeaf(page, /*create=*/true, retired);
  const uint32_t slot = PageTableNode::SlotOf(page, 0);
  const auto own_place = [&] { return leaf->reservation.empty() ? FrameId() : leaf->reservation.frame(slot); };
  // Beside the neighbours' frames first, which may lie in a block that was the leaf's before a fork; but what is still
  // shared with a relative would only be left piece by piece.
  const auto beside = [&](uint32_t neighbour) {
    const PageTableEntry entry = leaf->entries[neighbour];
    const uint32_t there = entry.frame().value();
    const uint32_t place = there + slot - neighbour;
    const bool usable = entry.resident() && entry.anonymous() && frames_->ref_count(entry.frame()) == 1 &&
                        there / FrameReservation::kNumFrames == place / FrameReservation::kNumFrames;
    return usable ? FrameId(place) : FrameId();
  };
  const FrameId places[] = {slot > 0 ? beside(slot - 1) : FrameId(), slot + 1 < kFanOut ? beside(slot + 1) : FrameId(),
                            own_place()};
  FrameId frame = frames_->TryAllocateAt(places, own_place(), zeroed);
  if (frame.valid()) return frame;
  // The place is taken: by a relative that shares what stood there, by a frame in its grace period, or lent.
  if (FrameReservation fresh = frames_->Reserve(FindReservationBeside(page, region), RoomFor(page, region));
      !fresh.empty()) {
    leaf->reservation = std::move(fresh);
    const FrameId place[] = {own_place()};
    frame = frames_->TryAllocateAt(place, own_place(), zeroed);
    if (frame.valid()) return frame;
  }
  const ErrnoOr<FrameId> any = zeroed ? frames_->AllocateZeroed() : frames_->AllocateUninitialized();
  if (!any.ok() && leaf->num_used == 0) PruneEmpty(page, retired);
  return any;
}

void PageTable::Install(PageNumber page, PageTableEntry entry, RetiredFrames* retired) {
  DCHECK(entry.present());
  PageTableLeaf* leaf = ExclusiveLeaf(page, /*create=*/true, retired);
  const uint32_t slot = PageTableNode::SlotOf(page, 0);
  PageTableEntry& place = leaf->entries[slot];
  if (place.resident()) {
    reverse_map_->Remove(place.frame(), leaf, slot);
    retired->Add(place.frame());
    --leaf->num_resident;
    --num_resident_;
  }
  if (!place.present()) ++leaf->num_used;
  place = entry;
  if (entry.resident()) {
    reverse_map_->Add(entry.frame(), leaf, slot);
    ++leaf->num_resident;
    ++num_resident_;
  }
}

PageRange PageTable::PagesAround(PageNumber page, PageRange region, Counted counted) const {
  const PageTableLeaf* leaf = FindLeaf(page);
  if (leaf == nullptr || !frames_->has_plenty()) return {page, page + 1};
  const PageRange part = Clip({leaf->first_page, leaf->first_page + kFanOut}, region);
  uint64_t in_use = leaf->num_resident, of = kFanOut;
  if (counted == Counted::kRegion) {
    const auto first = leaf->entries.begin() + (part.first - leaf->first_page);
    of = part.num_pages();
    in_use = static_cast<uint64_t>(
        std::count_if(first, first + static_cast<int64_t>(of), [](PageTableEntry entry) { return entry.resident(); }));
  }
  // A sixteenth of the region, at most 128 KiB, at first; then half of what is mapped; in the end all.
  constexpr uint64_t kPart = 16, kAtFirst = 32;
  if (in_use >= of / 2) return part;
  const uint64_t at_first = std::min(region.num_pages() / kPart, kAtFirst);
  const uint64_t size = std::bit_floor(std::max({at_first, in_use / 2, uint64_t{1}}));
  const PageNumber first(page.value() & ~(size - 1));
  return Clip({first, first + size}, part);
}

bool PageTable::IsBeingFilled(PageNumber page) const {
  constexpr uint32_t kAtLeast = 4;
  const PageTableLeaf* leaf = FindLeaf(page);
  return leaf != nullptr && leaf->num_resident >= kAtLeast;
}

PageRange PageTable::HoleFrom(PageNumber edge, PageRange region, Direction direction) const {
  const PageRange none = {edge, edge};
  const bool up = direction == Direction::kUp;
  const uint64_t pages = up ? region.end - edge : edge - region.first;
  if (pages <= kLongRow) return none;
  const auto page_at = [&](uint64_t away) { return up ? edge + away : edge - (away + 1); };
  const uint64_t longest = std::min({pages / 2, pages - kLongRow, uint64_t{kFanOut}, may_fill_});
  EntryReader entries(*this, Leaves::kAll);
  uint64_t hole = 0;
  while (hole < longest && !entries.At(page_at(hole)).present()) ++hole;
  if (hole == 0) return none;
  EntryReader own(*this, Leaves::kOwn);
  for (uint64_t away = hole; away < hole + std::max(hole, kLongRow); ++away) {
    const PageTableEntry entry = own.At(page_at(away));
    if (!entry.resident() || frames_->ref_count(entry.frame()) != 1) return none;
  }
  return up ? PageRange{edge, edge + hole} : PageRange{edge - hole, edge};
}

PageRange PageTable::MapAround(PageNumber page, PageRange region, RetiredFrames* retired) {
  constexpr uint64_t kMostToFill = 4 * kFanOut;
  const PageRange around = PagesAround(page, region, Counted::kAll);
  may_fill_ = std::min(may_fill_ + 1 + MapPiece(page, around, retired), kMostToFill);
  if (!frames_->has_plenty()) return around;
  const PageRange below = HoleFrom(around.first, region, Direction::kDown);
  MapHole(below, region, retired);
  const PageRange above = HoleFrom(around.end, region, Direction::kUp);
  MapHole(above, region, retired);
  return {below.first, above.end};
}

void PageTable::MapHole(PageRange hole, PageRange region, RetiredFrames* retired) {
  may_fill_ -= hole.num_pages();
  while (!hole.empty()) {
    const PageNumber first = hole.first;
    const ErrnoOr<FrameId> frame = AllocateFrame(first, region, /*zeroed=*/true, retired);
    if (!frame.ok()) return;
    Install(first, PageTableEntry(*frame, /*anonymous=*/true), retired);
    frames_->PrepareWrite(*frame);
    hole.first = std::min(hole.end, first + (kFanOut - PageTableNode::SlotOf(first, 0)));
    MapPiece(first, {first, hole.first}, retired);
  }
}

uint32_t PageTable::MapPiece(PageNumber page, PageRange piece, RetiredFrames* retired) {
  PageTableLeaf* leaf = ExclusiveLeaf(page, /*create=*/true, retired);
  const uint32_t slot = PageTableNode::SlotOf(page, 0);
  const FrameId frame = leaf->entries[slot].frame();
  const FrameId own_place = leaf->reservation.empty() ? FrameId() : leaf->reservation.frame(0);
  const auto end = static_cast<uint32_t>(piece.end - leaf->first_page);
  uint32_t given = 0;
  for (auto first = static_cast<uint32_t>(piece.first - leaf->first_page); first < end;) {
    uint32_t behind = first;
    while (behind < end && !leaf->entries[behind].present()) ++behind;
    const int64_t place = int64_t{frame.value()} + first - slot;
    const bool beside = place / FrameReservation::kNumFrames == frame.value() / FrameReservation::kNumFrames;
    const uint32_t count = behind == first || !beside ? 0
                                                      : frames_->TryAllocateRow(FrameId(static_cast<uint32_t>(place)),
                                                                                behind - first, own_place);
    for (uint32_t i = 0; i < count; ++i) {
      const FrameId fresh(static_cast<uint32_t>(place) + i);
      frames_->PrepareWrite(fresh);
      leaf->entries[first + i] = PageTableEntry(fresh, /*anonymous=*/true);
      reverse_map_->Add(fresh, leaf, first + i);
    }
    given += count;
    first = behind + 1;
  }
  leaf->num_used += given;
  leaf->num_resident += given;
  num_resident_ += given;
  if (leaf->num_resident == kFanOut && given > 0) frames_->MakeLargePage(frame);
  return given;
}

PageTableEntry PageTable::Take(PageNumber page, RetiredFrames* retired) {
  if (!Find(page).present()) return {};
  PageTableLeaf* leaf = ExclusiveLeaf(page, /*create=*/false, retired);
  const uint32_t slot = PageTableNode::SlotOf(page, 0);
  const PageTableEntry entry = std::exchange(leaf->entries[slot], PageTableEntry());
  --leaf->num_used;
  if (entry.resident()) {
    reverse_map_->Remove(entry.frame(), leaf, slot);
    --leaf->num_resident;
    --num_resident_;
  }
  if (leaf->num_used == 0) PruneEmpty(page, retired);
  return entry;
}

void PageTable::PruneEmpty(PageNumber page, RetiredFrames* retired) {
  // The path is exclusive: its caller has just changed the leaf.
  while (true) {
    PageTableInterior* node = root_;
    while (true) {
      const uint32_t slot = PageTableNode::SlotOf(page, node->level);
      PageTableNode* child = node->children[slot];
      if (child == nullptr) return;
      if (child->num_used == 0) {
        node->children[slot] = nullptr;
        --node->num_used;
        DropNode(child, AsOwner(static_cast<PageTableNode*>(node)), retired);
        break;
      }
      if (child->level == 0) return;
      node = Interior(child);
    }
  }
}

uint64_t PageTable::RemoveIn(PageTableNode* node, PageRange range, RetiredFrames* retired) {
  uint64_t removed = 0;
  const auto [first, end] = SlotsIn(node, range);
  if (node->level == 0) {
    PageTableLeaf* leaf = Leaf(node);
    for (uint32_t slot = first; slot < end; ++slot) {
      const PageTableEntry entry = std::exchange(leaf->entries[slot], PageTableEntry());
      if (!entry.present()) continue;
      ++removed;
      --leaf->num_used;
      if (!entry.resident()) continue;
      reverse_map_->Remove(entry.frame(), leaf, slot);
      retired->Add(entry.frame());
      --leaf->num_resident;
      --num_resident_;
    }
    return removed;
  }
  PageTableInterior* interior = Interior(node);
  for (uint32_t slot = first; slot < end; ++slot) {
    PageTableNode* child = interior->children[slot];
    if (child == nullptr) continue;
    const PageRange whole = RangeOfSlot(node, slot);
    if (range.Contains(whole)) {
      Count count;
      CountBelow(child, &count);
      removed += count.present;
      num_resident_ -= count.resident;
    } else {
      const PageRange part = Clip(range, whole);
      if (!child->exclusive() && !AnyIn(child, part)) continue;
      child = ExclusiveChild(interior, slot, retired);
      removed += RemoveIn(child, part, retired);
      if (child->num_used != 0) continue;
    }
    interior->children[slot] = nullptr;
    --interior->num_used;
    DropNode(child, AsOwner(node), retired);
  }
  return removed;
}

uint64_t PageTable::Remove(PageRange range, RetiredFrames* retired) {
  if (root_ == nullptr || range.empty()) return 0;
  if (!root_->exclusive() && !AnyIn(root_, range)) return 0;
  return RemoveIn(ExclusiveRoot(retired), range, retired);
}

uint64_t PageTable::RemoveOfObject(PageRange range, RetiredFrames* retired) {
  uint64_t removed = 0;
  absl::InlinedVector<PageNumber, 64> found;
  while (!range.empty()) {
    found.clear();
    ForEach(range, [&](PageNumber page, PageTableEntry entry) {
      if (!entry.anonymous()) found.push_back(page);
      return found.size() < found.capacity();
    });
    if (found.empty()) break;
    for (const PageNumber page : found) retired->Add(Take(page, retired).frame());
    removed += found.size();
    range.first = found.back() + 1;
  }
  return removed;
}

void PageTable::ForEachMoved(PageRange range, absl::FunctionRef<void(PageNumber)> move) const {
  absl::InlinedVector<PageNumber, 64> found;
  while (!range.empty()) {
    found.clear();
    ForEach(range, [&](PageNumber page, PageTableEntry) {
      found.push_back(page);
      return found.size() < found.capacity();
    });
    if (found.empty()) break;
    for (const PageNumber page : found) move(page);
    range.first = found.back() + 1;
  }
}

void PageTable::Move(PageNumber from, PageNumber to, uint64_t num_pages, RetiredFrames* retired) {
  ForEachMoved({from, from + num_pages},
               [&](PageNumber page) { Install(to + (page - from), Take(page, retired), retired); });
}

void PageTable::MoveTogether(PageNumber from, PageNumber to, uint64_t num_pages, PageRange region,
                             RetiredFrames* retired) {
  ForEachMoved({from, from + num_pages}, [&](PageNumber page) {
    const PageNumber target = to + (page - from);
    const bool own = IsExclusive(page);
    PageTableEntry entry = Take(page, retired);
    if (own && entry.anonymous()) {
      const ErrnoOr<FrameId> copy = AllocateFrame(target, region, /*zeroed=*/false, retired);
      if (copy.ok()) {
        CopyGuestMemory(frames_->Data(*copy), frames_->Data(entry.frame()), kPageSize);
        frames_->PrepareWrite(*copy);
        retired->Add(entry.frame());
        entry = PageTableEntry(*copy, /*anonymous=*/true);
      }
    }
    Install(target, entry, retired);
  });
}

void PageTable::Clear(RetiredFrames* retired) {
  if (root_ == nullptr) return;
  DropNode(std::exchange(root_, nullptr), AsOwner(owner_), retired);
  num_resident_ = 0;
}

void PageTable::ForEach(PageRange range, absl::FunctionRef<bool(PageNumber, PageTableEntry)> visit) const {
  if (root_ != nullptr && !range.empty()) Visit(root_, range, visit);
}

void PageTable::CheckInvariants() const {
  if (root_ == nullptr) {
    CHECK(num_resident_ == 0);
    return;
  }
  Count count;
  CountBelow(root_, &count);
  CHECK(count.resident == num_resident_);
  uint64_t resident = 0;
  ForEach({PageNumber(0), PageNumber(uint64_t{1} << 36)}, [&](PageNumber, PageTableEntry entry) {
    if (entry.resident()) {
      ++resident;
      CHECK(frames_->ref_count(entry.frame()) >= 1);
      CHECK(reverse_map_->num_entries(entry.frame()) >= 1);
    }
    return true;
  });
  CHECK(resident == num_resident_);
}

}  // namespace remora::mm
