#ifndef REMORA_PROC_DEADLINE_HEAP_H_
#define REMORA_PROC_DEADLINE_HEAP_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"

namespace remora::proc {

// One entry of a DeadlineHeap, embedded in whoever waits.
struct DeadlineNode {
  static constexpr size_t kNotQueued = ~size_t{0};
  int64_t deadline_nanos = 0;
  uint64_t sequence = 0;  // equal deadlines leave in the order in which they came
  size_t index = kNotQueued;
  void* owner = nullptr;
  bool is_task = false;
  bool queued() const { return index != kNotQueued; }
};

// A binary heap of intrusive nodes that know their place: insert and remove in O(log n), earliest in O(1).
//
// Invariants: 1. nodes_[i]->index == i. 2. No node is earlier than its parent.
// Thread safety: none; the scheduler's lock guards it. Linux twin: the hrtimer queue (a red-black tree there).
class DeadlineHeap {
 public:
  bool empty() const { return nodes_.empty(); }
  size_t size() const { return nodes_.size(); }
  // Null when empty.
  DeadlineNode* earliest() const { return nodes_.empty() ? nullptr : nodes_.front(); }
  int64_t earliest_nanos() const { return nodes_.empty() ? INT64_MAX : nodes_.front()->deadline_nanos; }

  void Insert(DeadlineNode* node, int64_t deadline_nanos) {
    DCHECK(!node->queued());
    node->deadline_nanos = deadline_nanos;
    node->sequence = next_sequence_++;
    node->index = nodes_.size();
    nodes_.push_back(node);
    MoveUp(node->index);
  }
  void Remove(DeadlineNode* node) {
    DCHECK(node->queued() && nodes_[node->index] == node);
    const size_t hole = node->index;
    node->index = DeadlineNode::kNotQueued;
    DeadlineNode* last = nodes_.back();
    nodes_.pop_back();
    if (last == node) return;
    Place(hole, last);
    MoveUp(hole);
    MoveDown(last->index);
  }

  void CheckInvariants() const {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      CHECK(nodes_[i]->index == i);
      if (i != 0) CHECK(!Before(nodes_[i], nodes_[(i - 1) / 2]));
    }
  }

 private:
  static bool Before(const DeadlineNode* a, const DeadlineNode* b) {
    return a->deadline_nanos != b->deadline_nanos ? a->deadline_nanos < b->deadline_nanos : a->sequence < b->sequence;
  }
  void Place(size_t i, DeadlineNode* node) {
    nodes_[i] = node;
    node->index = i;
  }
  void MoveUp(size_t i) {
    DeadlineNode* node = nodes_[i];
    for (; i != 0 && Before(node, nodes_[(i - 1) / 2]); i = (i - 1) / 2) Place(i, nodes_[(i - 1) / 2]);
    Place(i, node);
  }
  void MoveDown(size_t i) {
    DeadlineNode* node = nodes_[i];
    for (;;) {
      size_t child = 2 * i + 1;
      if (child >= nodes_.size()) break;
      if (child + 1 < nodes_.size() && Before(nodes_[child + 1], nodes_[child])) ++child;
      if (!Before(nodes_[child], node)) break;
      Place(i, nodes_[child]);
      i = child;
    }
    Place(i, node);
  }

  std::vector<DeadlineNode*> nodes_;
  uint64_t next_sequence_ = 0;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_DEADLINE_HEAP_H_
