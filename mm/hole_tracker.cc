#include "mm/hole_tracker.h"

#include <algorithm>

#include "base/check.h"

namespace remora::mm {
namespace {

// Makes room at `at` in the first `count` entries.
template <typename Array, typename Value>
void InsertAt(Array& array, uint32_t count, uint32_t at, Value value) {
  std::move_backward(array.begin() + at, array.begin() + count, array.begin() + count + 1);
  array[at] = value;
}
template <typename Array>
void EraseAt(Array& array, uint32_t count, uint32_t at) {
  std::move(array.begin() + at + 1, array.begin() + count, array.begin() + at);
}
// The last of the first `count` values that is <= page, or 0 if there is none.
template <typename Array>
uint32_t LastAtOrBefore(const Array& array, uint32_t count, uint64_t page) {
  const auto it = std::upper_bound(array.begin(), array.begin() + count, page);
  return it == array.begin() ? 0 : static_cast<uint32_t>(it - array.begin()) - 1;
}

}  // namespace

HoleTracker::HoleTracker(PageRange space) : space_(space) {
  root_ = NewLeaf();
  if (!space.empty()) Insert({space.first.value(), space.end.value()});
}

uint32_t HoleTracker::NewLeaf() {
  if (!free_leaves_.empty()) {
    const uint32_t leaf = free_leaves_.back();
    free_leaves_.pop_back();
    leaves_[leaf].count = 0;
    return leaf;
  }
  leaves_.emplace_back();
  return static_cast<uint32_t>(leaves_.size() - 1);
}

uint32_t HoleTracker::NewInner() {
  if (!free_inners_.empty()) {
    const uint32_t inner = free_inners_.back();
    free_inners_.pop_back();
    inners_[inner].count = 0;
    return inner;
  }
  inners_.emplace_back();
  return static_cast<uint32_t>(inners_.size() - 1);
}

// The leaf whose holes surround `page`, and the way there.
uint32_t HoleTracker::Descend(uint64_t page, Path* path) const {
  uint32_t node = root_;
  for (uint32_t level = height_; level > 0; --level) {
    const Inner& inner = inners_[node];
    const uint32_t slot = LastAtOrBefore(inner.first, inner.count, page);
    path->node[level] = node;
    path->slot[level] = slot;
    node = inner.child[slot];
  }
  path->leaf = node;
  return node;
}

std::optional<HoleTracker::Hole> HoleTracker::FindAtOrBefore(uint64_t page) const {
  Path path;
  const Leaf& leaf = leaves_[Descend(page, &path)];
  if (leaf.count == 0) return std::nullopt;
  const uint32_t i = LastAtOrBefore(leaf.first, leaf.count, page);
  if (leaf.first[i] > page) return std::nullopt;
  return Hole{leaf.first[i], leaf.end[i]};
}

bool HoleTracker::IsFull(uint32_t level, uint32_t node) const {
  return (level == 0 ? leaves_[node].count : inners_[node].count) == kFanOut;
}

// What an inner slot says of the child `node` that lies at `level`.
void HoleTracker::Summarize(uint32_t level, uint32_t node, uint64_t* first, uint64_t* longest) const {
  *longest = 0;
  if (level == 0) {
    const Leaf& leaf = leaves_[node];
    *first = leaf.first[0];
    for (uint32_t i = 0; i < leaf.count; ++i) *longest = std::max(*longest, leaf.end[i] - leaf.first[i]);
  } else {
    const Inner& inner = inners_[node];
    *first = inner.first[0];
    for (uint32_t i = 0; i < inner.count; ++i) *longest = std::max(*longest, inner.longest[i]);
  }
}

void HoleTracker::UpdateSummaries(const Path& path, uint32_t from_level) {
  for (uint32_t level = from_level; level <= height_; ++level) {
    Inner& inner = inners_[path.node[level]];
    const uint32_t slot = path.slot[level];
    Summarize(level - 1, inner.child[slot], &inner.first[slot], &inner.longest[slot]);
  }
}

// Moves the upper half of a full child, which lies at level - 1, into a new node behind it. The parent has room.
void HoleTracker::SplitChild(uint32_t level, uint32_t parent, uint32_t slot) {
  constexpr uint32_t kHalf = kFanOut / 2;
  const uint32_t child = inners_[parent].child[slot];
  uint32_t sibling;
  if (level == 1) {
    sibling = NewLeaf();
    Leaf& from = leaves_[child];
    Leaf& to = leaves_[sibling];
    std::copy(from.first.begin() + kHalf, from.first.end(), to.first.begin());
    std::copy(from.end.begin() + kHalf, from.end.end(), to.end.begin());
    from.count = kHalf;
    to.count = kFanOut - kHalf;
  } else {
    sibling = NewInner();
    Inner& from = inners_[child];
    Inner& to = inners_[sibling];
    std::copy(from.child.begin() + kHalf, from.child.end(), to.child.begin());
    std::copy(from.first.begin() + kHalf, from.first.end(), to.first.begin());
    std::copy(from.longest.begin() + kHalf, from.longest.end(), to.longest.begin());
    from.count = kHalf;
    to.count = kFanOut - kHalf;
  }
  Inner& inner = inners_[parent];
  InsertAt(inner.child, inner.count, slot + 1, sibling);
  InsertAt(inner.first, inner.count, slot + 1, uint64_t{0});
  InsertAt(inner.longest, inner.count, slot + 1, uint64_t{0});
  ++inner.count;
  for (const uint32_t s : {slot, slot + 1}) Summarize(level - 1, inner.child[s], &inner.first[s], &inner.longest[s]);
}

// Full nodes are split on the way down, so that a split always finds room in its parent.
void HoleTracker::Insert(Hole hole) {
  if (IsFull(height_, root_)) {
    CHECK(height_ + 1 < kMaxHeight);
    const uint32_t root = NewInner();
    inners_[root].count = 1;
    inners_[root].child[0] = root_;
    root_ = root;
    ++height_;
    SplitChild(height_, root_, 0);
  }
  Path path;
  uint32_t node = root_;
  for (uint32_t level = height_; level > 0; --level) {
    uint32_t slot = LastAtOrBefore(inners_[node].first, inners_[node].count, hole.first);
    if (IsFull(level - 1, inners_[node].child[slot])) {
      SplitChild(level, node, slot);
      if (inners_[node].first[slot + 1] <= hole.first) ++slot;
    }
    path.node[level] = node;
    path.slot[level] = slot;
    node = inners_[node].child[slot];
  }
  Leaf& leaf = leaves_[node];
  const uint32_t at = static_cast<uint32_t>(
      std::upper_bound(leaf.first.begin(), leaf.first.begin() + leaf.count, hole.first) - leaf.first.begin());
  InsertAt(leaf.first, leaf.count, at, hole.first);
  InsertAt(leaf.end, leaf.count, at, hole.end);
  ++leaf.count;
  ++num_holes_;
  num_free_pages_ += hole.end - hole.first;
  UpdateSummaries(path, 1);
}

void HoleTracker::Erase(uint64_t first) {
  Path path;
  Leaf& leaf = leaves_[Descend(first, &path)];
  const uint32_t at = LastAtOrBefore(leaf.first, leaf.count, first);
  DCHECK(leaf.count > 0 && leaf.first[at] == first);
  num_free_pages_ -= leaf.end[at] - leaf.first[at];
  --num_holes_;
  EraseAt(leaf.first, leaf.count, at);
  EraseAt(leaf.end, leaf.count, at);
  --leaf.count;
  // Nodes that became empty leave their parents; the root stays.
  uint32_t level = 0;
  uint32_t node = path.leaf;
  while (level < height_ && (level == 0 ? leaves_[node].count : inners_[node].count) == 0) {
    (level == 0 ? free_leaves_ : free_inners_).push_back(node);
    ++level;
    node = path.node[level];
    Inner& parent = inners_[node];
    EraseAt(parent.child, parent.count, path.slot[level]);
    EraseAt(parent.first, parent.count, path.slot[level]);
    EraseAt(parent.longest, parent.count, path.slot[level]);
    --parent.count;
  }
  UpdateSummaries(path, level + 1);
  while (height_ > 0 && inners_[root_].count == 1) {
    free_inners_.push_back(root_);
    root_ = inners_[root_].child[0];
    --height_;
  }
}

// Moves the edges of the hole that starts at `first`, without passing a neighbour.
void HoleTracker::Resize(uint64_t first, Hole now) {
  Path path;
  Leaf& leaf = leaves_[Descend(first, &path)];
  const uint32_t at = LastAtOrBefore(leaf.first, leaf.count, first);
  DCHECK(leaf.count > 0 && leaf.first[at] == first);
  num_free_pages_ -= leaf.end[at] - leaf.first[at];
  num_free_pages_ += now.end - now.first;
  leaf.first[at] = now.first;
  leaf.end[at] = now.end;
  UpdateSummaries(path, 1);
}

void HoleTracker::Reserve(PageRange range) {
  CHECK(space_.Contains(range));
  if (range.empty()) return;
  const uint64_t first = range.first.value(), end = range.end.value();
  // From the top: each turn takes the last hole that starts below `end`.
  for (;;) {
    const std::optional<Hole> hole = FindAtOrBefore(end - 1);
    if (!hole || hole->end <= first) return;
    if (hole->first < first) {
      Resize(hole->first, {hole->first, first});
      if (hole->end > end) Insert({end, hole->end});
      return;
    }
    if (hole->end > end)
      Resize(hole->first, {end, hole->end});
    else
      Erase(hole->first);
  }
}

void HoleTracker::Release(PageRange range) {
  CHECK(space_.Contains(range));
  if (range.empty()) return;
  // The holes that overlap or touch the range become one with it: the topmost is widened, the others go.
  Hole merged{range.first.value(), range.end.value()};
  std::optional<Hole> hole = FindAtOrBefore(merged.end);
  if (!hole || hole->end < merged.first) return Insert(merged);
  const uint64_t widened = hole->first;
  const uint64_t floor = merged.first;
  merged.end = std::max(merged.end, hole->end);
  merged.first = std::min(merged.first, hole->first);
  while (widened > 0 && (hole = FindAtOrBefore(widened - 1)) && hole->end >= floor) {
    merged.first = std::min(merged.first, hole->first);
    Erase(hole->first);
  }
  Resize(widened, merged);
}

bool HoleTracker::FindTopmostIn(uint32_t level, uint32_t node, uint64_t num_pages, Hole within, Hole* found) const {
  if (level == 0) {
    const Leaf& leaf = leaves_[node];
    for (uint32_t i = leaf.count; i-- > 0;) {
      const uint64_t first = std::max(leaf.first[i], within.first);
      const uint64_t end = std::min(leaf.end[i], within.end);
      if (first < end && end - first >= num_pages) {
        *found = {end - num_pages, end};
        return true;
      }
      if (leaf.first[i] <= within.first) return false;
    }
    return false;
  }
  const Inner& inner = inners_[node];
  for (uint32_t i = inner.count; i-- > 0;) {
    // Only a child that an edge of `within` cuts can promise a length that is not there: at most two for each level.
    if (inner.first[i] < within.end && inner.longest[i] >= num_pages &&
        FindTopmostIn(level - 1, inner.child[i], num_pages, within, found))
      return true;
    if (inner.first[i] <= within.first) return false;
  }
  return false;
}

bool HoleTracker::FindLowestIn(uint32_t level, uint32_t node, uint64_t num_pages, Hole within, Hole* found) const {
  if (level == 0) {
    const Leaf& leaf = leaves_[node];
    for (uint32_t i = 0; i < leaf.count && leaf.first[i] < within.end; ++i) {
      const uint64_t first = std::max(leaf.first[i], within.first);
      const uint64_t end = std::min(leaf.end[i], within.end);
      if (first < end && end - first >= num_pages) {
        *found = {first, first + num_pages};
        return true;
      }
    }
    return false;
  }
  const Inner& inner = inners_[node];
  for (uint32_t i = LastAtOrBefore(inner.first, inner.count, within.first);
       i < inner.count && inner.first[i] < within.end; ++i) {
    if (inner.longest[i] >= num_pages && FindLowestIn(level - 1, inner.child[i], num_pages, within, found)) return true;
  }
  return false;
}

std::optional<PageRange> HoleTracker::FindTopmost(uint64_t num_pages, PageRange within) const {
  Hole found;
  if (num_pages == 0 || within.empty() ||
      !FindTopmostIn(height_, root_, num_pages, {within.first.value(), within.end.value()}, &found))
    return std::nullopt;
  return PageRange{PageNumber(found.first), PageNumber(found.end)};
}

std::optional<PageRange> HoleTracker::FindLowest(uint64_t num_pages, PageRange within) const {
  Hole found;
  if (num_pages == 0 || within.empty() ||
      !FindLowestIn(height_, root_, num_pages, {within.first.value(), within.end.value()}, &found))
    return std::nullopt;
  return PageRange{PageNumber(found.first), PageNumber(found.end)};
}

bool HoleTracker::IsFree(PageRange range) const {
  if (range.empty()) return true;
  const std::optional<Hole> hole = FindAtOrBefore(range.first.value());
  return hole && hole->end >= range.end.value();
}

void HoleTracker::VisitIn(uint32_t level, uint32_t node, absl::FunctionRef<void(PageRange)> visit) const {
  if (level == 0) {
    const Leaf& leaf = leaves_[node];
    for (uint32_t i = 0; i < leaf.count; ++i) visit({PageNumber(leaf.first[i]), PageNumber(leaf.end[i])});
    return;
  }
  const Inner& inner = inners_[node];
  for (uint32_t i = 0; i < inner.count; ++i) VisitIn(level - 1, inner.child[i], visit);
}

void HoleTracker::ForEachHole(absl::FunctionRef<void(PageRange)> visit) const { VisitIn(height_, root_, visit); }

void HoleTracker::CheckNode(uint32_t level, uint32_t node) const {
  if (level == 0) {
    CHECK(leaves_[node].count > 0 || level == height_);  // 3
    return;
  }
  const Inner& inner = inners_[node];
  CHECK(inner.count >= (level == height_ ? 2u : 1u));  // 3
  for (uint32_t i = 0; i < inner.count; ++i) {
    uint64_t first, longest;
    Summarize(level - 1, inner.child[i], &first, &longest);
    CHECK(inner.first[i] == first && inner.longest[i] == longest);  // 2
    CheckNode(level - 1, inner.child[i]);
  }
}

void HoleTracker::CheckInvariants() const {
  CheckNode(height_, root_);
  uint64_t holes = 0, pages = 0;
  std::optional<PageNumber> previous_end;
  ForEachHole([&](PageRange hole) {
    CHECK(!hole.empty() && space_.Contains(hole));       // 1
    CHECK(!previous_end || *previous_end < hole.first);  // 1, 2
    previous_end = hole.end;
    ++holes;
    pages += hole.num_pages();
  });
  CHECK(holes == num_holes_ && pages == num_free_pages_);
}

}  // namespace remora::mm
