#include "sync/reclaimer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

namespace remora::sync {
namespace {

struct Flagged {
  explicit Flagged(int* deleted) : deleted(deleted) {}
  ~Flagged() { ++*deleted; }
  int* const deleted;
};

TEST(ReclaimerTest, FreesAtOnceWhereNobodyReads) {
  int deleted = 0;
  Reclaimer reclaimer;
  reclaimer.RetireDelete(new Flagged(&deleted));
  EXPECT_EQ(deleted, 0);
  EXPECT_EQ(reclaimer.num_pending(), 1u);
  reclaimer.Collect();
  EXPECT_EQ(deleted, 1);
  EXPECT_EQ(reclaimer.num_pending(), 0u);
}

TEST(ReclaimerTest, WaitsForAnOnlineParticipantToQuiesce) {
  int deleted = 0;
  Reclaimer reclaimer;
  Reclaimer::Participant worker(&reclaimer);
  worker.Online();
  reclaimer.RetireDelete(new Flagged(&deleted));
  reclaimer.Collect();
  EXPECT_EQ(deleted, 0);
  worker.Quiesce();
  reclaimer.Collect();
  EXPECT_EQ(deleted, 1);
  worker.Offline();
}

TEST(ReclaimerTest, AnOfflineParticipantHoldsNothingUp) {
  int deleted = 0;
  Reclaimer reclaimer;
  Reclaimer::Participant worker(&reclaimer);
  worker.Online();
  reclaimer.RetireDelete(new Flagged(&deleted));
  worker.Offline();
  reclaimer.Collect();
  EXPECT_EQ(deleted, 1);
}

TEST(ReclaimerTest, AParticipantThatCameLaterDoesNotMatter) {
  int deleted = 0;
  Reclaimer reclaimer;
  reclaimer.RetireDelete(new Flagged(&deleted));
  Reclaimer::ReadSection later(&reclaimer);
  reclaimer.Collect();
  EXPECT_EQ(deleted, 1);
}

TEST(ReclaimerTest, TheSlowestParticipantDecides) {
  int deleted = 0;
  Reclaimer reclaimer;
  Reclaimer::Participant fast(&reclaimer);
  std::optional<Reclaimer::ReadSection> slow(&reclaimer);
  fast.Online();
  reclaimer.RetireDelete(new Flagged(&deleted));
  fast.Quiesce();
  reclaimer.Collect();
  EXPECT_EQ(deleted, 0);
  slow.reset();
  reclaimer.Collect();
  EXPECT_EQ(deleted, 1);
  fast.Offline();
}

TEST(ReclaimerTest, OnlyWhatIsDueIsFreed) {
  int first = 0, second = 0;
  Reclaimer reclaimer;
  Reclaimer::Participant worker(&reclaimer);
  worker.Online();
  reclaimer.RetireDelete(new Flagged(&first));
  worker.Quiesce();
  reclaimer.RetireDelete(new Flagged(&second));
  reclaimer.Collect();
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 0);
  worker.Offline();
}

TEST(ReclaimerTest, DeletersMayRetire) {
  struct Parent {
    ~Parent() { reclaimer->RetireDelete(new Flagged(deleted)); }
    Reclaimer* reclaimer;
    int* deleted;
  };
  int deleted = 0;
  {
    Reclaimer reclaimer;
    reclaimer.RetireDelete(new Parent{&reclaimer, &deleted});
  }
  EXPECT_EQ(deleted, 1);
}

TEST(ReclaimerTest, ManyAreFreedInBatches) {
  int deleted = 0;
  Reclaimer reclaimer;
  for (int i = 0; i < 1000; ++i) reclaimer.RetireDelete(new Flagged(&deleted));
  reclaimer.Collect();
  EXPECT_EQ(deleted, 1000);
}

// Readers follow a pointer that a writer keeps replacing; ASan and TSan see a use after free. The object checks itself.
struct Node {
  explicit Node(uint64_t value) : value(value), copy(value) {}
  ~Node() { copy = ~value; }
  uint64_t value;
  uint64_t copy;
};

TEST(ReclaimerStressTest, ReadersNeverSeeAFreedObject) {
  constexpr uint64_t kRounds = 4000;
  Reclaimer reclaimer;
  std::atomic<Node*> current{new Node(0)};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> torn{0};
  const auto read = [&] {
    const Node* node = current.load(std::memory_order_acquire);
    if (node->value != node->copy) torn.fetch_add(1);
  };
  std::vector<std::thread> threads;
  // A worker that is quiescent between slices and now and then goes idle; it also collects.
  threads.emplace_back([&] {
    Reclaimer::Participant self(&reclaimer);
    for (uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      self.Online();
      for (int slice = 0; slice < 8; ++slice) {
        for (int j = 0; j < 16; ++j) read();
        self.Quiesce();
        reclaimer.Collect();
      }
      self.Offline();
      if (i % 8 == 0) std::this_thread::yield();
    }
  });
  // A foreign thread.
  threads.emplace_back([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      Reclaimer::ReadSection section(&reclaimer);
      read();
      read();
    }
  });
  for (uint64_t i = 1; i <= kRounds; ++i) {
    Node* old = current.exchange(new Node(i), std::memory_order_acq_rel);
    reclaimer.RetireDelete(old);
    if (i % 4 == 0) reclaimer.Collect();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  reclaimer.RetireDelete(current.load());
  reclaimer.Collect();
  EXPECT_EQ(reclaimer.num_pending(), 0u);
  EXPECT_EQ(torn.load(), 0u);
}

}  // namespace
}  // namespace remora::sync
