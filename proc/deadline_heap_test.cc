#include "proc/deadline_heap.h"

#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace remora::proc {
namespace {

TEST(DeadlineHeapTest, EqualDeadlinesLeaveInOrderOfArrival) {
  DeadlineHeap heap;
  std::vector<DeadlineNode> nodes(5);
  for (DeadlineNode& node : nodes) heap.Insert(&node, 7);
  for (DeadlineNode& node : nodes) {
    EXPECT_EQ(heap.earliest(), &node);
    heap.Remove(&node);
  }
  EXPECT_TRUE(heap.empty());
  EXPECT_EQ(heap.earliest_nanos(), INT64_MAX);
}

TEST(DeadlineHeapTest, BehavesAsASortedMap) {
  DeadlineHeap heap;
  std::vector<DeadlineNode> nodes(200);
  std::map<std::pair<int64_t, uint64_t>, DeadlineNode*> model;
  std::mt19937 random(3);
  for (int step = 0; step < 20'000; ++step) {
    DeadlineNode& node = nodes[random() % nodes.size()];
    if (node.queued()) {
      heap.Remove(&node);
      model.erase({node.deadline_nanos, node.sequence});
    } else {
      heap.Insert(&node, static_cast<int64_t>(random() % 50));
      model[{node.deadline_nanos, node.sequence}] = &node;
    }
    ASSERT_EQ(heap.size(), model.size());
    ASSERT_EQ(heap.earliest(), model.empty() ? nullptr : model.begin()->second);
    if (step % 500 == 0) heap.CheckInvariants();
  }
}

}  // namespace
}  // namespace remora::proc
