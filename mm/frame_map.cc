#include "mm/frame_map.h"

#include <algorithm>

#include "base/check.h"

namespace remora::mm {

FrameMap::~FrameMap() {
  if (Node* root = root_.load(std::memory_order_relaxed)) FreeTree(root);
}

FrameMap::Node* FrameMap::NewNode(uint32_t level) {
  if (level == 0) return new Leaf;
  return new Inner(level);
}

// Of a tree that nobody reads any more.
void FrameMap::FreeTree(Node* node) {
  if (node->level == 0) {
    delete static_cast<Leaf*>(node);
    return;
  }
  Inner* inner = static_cast<Inner*>(node);
  for (std::atomic<Node*>& child : inner->child)
    if (Node* below = child.load(std::memory_order_relaxed)) FreeTree(below);
  delete inner;
}

// Only nodes without entries are retired, so there is nothing below.
void FrameMap::Retire(Node* node) {
  if (node->level == 0)
    reclaimer_->RetireDelete(static_cast<Leaf*>(node));
  else
    reclaimer_->RetireDelete(static_cast<Inner*>(node));
}

std::pair<FrameId, bool> FrameMap::TryInsert(uint64_t index, FrameId frame) {
  DCHECK(frame.valid());
  Node* root = root_.load(std::memory_order_relaxed);
  if (root == nullptr) {
    uint32_t level = 0;
    while (level < kMaxLevel && index >> (kBits * (level + 1)) != 0) ++level;
    root = NewNode(level);
    root_.store(root, std::memory_order_release);
  }
  // A reader that is in the old root misses what only the new one covers: it looked before the insertion.
  while (!root->Covers(index)) {
    auto* wider = new Inner(root->level + 1);
    wider->child[0].store(root, std::memory_order_relaxed);
    wider->count = 1;
    root_.store(wider, std::memory_order_release);
    root = wider;
  }
  Node* node = root;
  for (uint32_t level = root->level; level > 0; --level) {
    Inner* inner = static_cast<Inner*>(node);
    std::atomic<Node*>& slot = inner->child[SlotOf(index, level)];
    node = slot.load(std::memory_order_relaxed);
    if (node == nullptr) {
      node = NewNode(level - 1);
      slot.store(node, std::memory_order_release);
      ++inner->count;
    }
  }
  Leaf* leaf = static_cast<Leaf*>(node);
  std::atomic<uint32_t>& entry = leaf->frame[SlotOf(index, 0)];
  const uint32_t present = entry.load(std::memory_order_relaxed);
  if (present != kNoFrame) return {FrameId(present), false};
  entry.store(frame.value(), std::memory_order_release);
  ++leaf->count;
  ++size_;
  return {frame, true};
}

bool FrameMap::EraseIn(Node* node, uint64_t base, uint64_t first, uint64_t last,
                       absl::FunctionRef<void(uint64_t, FrameId)> erased) {
  const uint32_t level = node->level;
  const uint32_t from = first <= base ? 0 : SlotOf(first, level);
  const uint64_t end = level >= kMaxLevel ? ~uint64_t{0} : base + ((uint64_t{kFanOut} << (kBits * level)) - 1);
  const uint32_t to = last >= end ? kFanOut - 1 : SlotOf(last, level);
  for (uint32_t slot = from; slot <= to; ++slot) {
    const uint64_t below = base + (uint64_t{slot} << (kBits * level));
    if (level == 0) {
      std::atomic<uint32_t>& entry = static_cast<Leaf*>(node)->frame[slot];
      const uint32_t frame = entry.load(std::memory_order_relaxed);
      if (frame == kNoFrame) continue;
      entry.store(kNoFrame, std::memory_order_release);
      --node->count;
      --size_;
      erased(below, FrameId(frame));
    } else {
      std::atomic<Node*>& entry = static_cast<Inner*>(node)->child[slot];
      Node* child = entry.load(std::memory_order_relaxed);
      if (child == nullptr || !EraseIn(child, below, first, last, erased)) continue;
      entry.store(nullptr, std::memory_order_release);
      --node->count;
      Retire(child);
    }
  }
  return node->count == 0;
}

void FrameMap::EraseRange(uint64_t first, uint64_t num_pages, absl::FunctionRef<void(uint64_t, FrameId)> erased) {
  Node* root = root_.load(std::memory_order_relaxed);
  if (root == nullptr || num_pages == 0 || !root->Covers(first)) return;
  const uint64_t last = num_pages - 1 > ~uint64_t{0} - first ? ~uint64_t{0} : first + (num_pages - 1);
  if (!EraseIn(root, 0, first, last, erased)) return;
  root_.store(nullptr, std::memory_order_release);
  Retire(root);
}

void FrameMap::VisitIn(const Node* node, uint64_t base, absl::FunctionRef<void(uint64_t, FrameId)> visit) {
  for (uint32_t slot = 0; slot < kFanOut; ++slot) {
    const uint64_t below = base + (uint64_t{slot} << (kBits * node->level));
    if (node->level == 0) {
      const uint32_t frame = static_cast<const Leaf*>(node)->frame[slot].load(std::memory_order_relaxed);
      if (frame != kNoFrame) visit(below, FrameId(frame));
    } else if (const Node* child = static_cast<const Inner*>(node)->child[slot].load(std::memory_order_relaxed)) {
      VisitIn(child, below, visit);
    }
  }
}

void FrameMap::ForEach(absl::FunctionRef<void(uint64_t, FrameId)> visit) const {
  if (const Node* root = root_.load(std::memory_order_relaxed)) VisitIn(root, 0, visit);
}

void FrameMap::CheckNode(const Node* node, uint64_t* num_frames) const {
  uint32_t count = 0;
  for (uint32_t slot = 0; slot < kFanOut; ++slot) {
    if (node->level == 0) {
      count += static_cast<const Leaf*>(node)->frame[slot].load(std::memory_order_relaxed) != kNoFrame;
    } else if (const Node* child = static_cast<const Inner*>(node)->child[slot].load(std::memory_order_relaxed)) {
      ++count;
      CHECK(child->level == node->level - 1);  // 2
      CheckNode(child, num_frames);
    }
  }
  CHECK(count == node->count && count != 0);  // 1
  if (node->level == 0) *num_frames += count;
}

void FrameMap::CheckInvariants() const {
  uint64_t num_frames = 0;
  if (const Node* root = root_.load(std::memory_order_relaxed)) CheckNode(root, &num_frames);
  CHECK(num_frames == size_);  // 1
}

}  // namespace remora::mm
