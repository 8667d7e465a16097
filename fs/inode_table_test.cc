#include "fs/inode_table.h"

#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "gtest/gtest.h"
#include "sync/reclaimer.h"

namespace remora::fs {
namespace {

class Numbered;
using Table = InodeTable<uint64_t, Numbered>;

class Numbered final : public RefCounted {
 public:
  Numbered(Table* table, sync::Reclaimer* reclaimer, uint64_t n) : table_(table), reclaimer_(reclaimer), number(n) {
    ++living;
    ++existing;
  }
  static inline std::atomic<int> living{0};    // with a count
  static inline std::atomic<int> existing{0};  // in memory

 private:
  ~Numbered() override { --existing; }
  void OnLastRelease() override {
    --living;
    table_->Remove(number, this);
    reclaimer_->Retire(this, [](void* self) { delete static_cast<Numbered*>(self); });
  }
  Table* const table_;
  sync::Reclaimer* const reclaimer_;

 public:
  const uint64_t number;
};

class InodeTableTest : public testing::Test {
 protected:
  // Frees what was dropped, with the threads that only hold what they count.
  void Collect() {
    section_.Quiesce();
    reclaimer_.Collect();
  }
  ~InodeTableTest() override {
    Collect();
    EXPECT_EQ(Numbered::existing, 0);
  }
  sync::Reclaimer reclaimer_;
  sync::Reclaimer::ReadSection section_{&reclaimer_};
};

TEST_F(InodeTableTest, OneObjectForANumberAsLongAsItIsUsed) {
  Table table(&reclaimer_, 4);
  int made = 0;
  const auto get = [&](uint64_t n) {
    return table.GetOrCreate(n, [&] {
      ++made;
      return MakeRef<Numbered>(&table, &reclaimer_, n);
    });
  };
  Ref<Numbered> a = get(7);
  EXPECT_EQ(get(7), a);
  EXPECT_EQ(made, 1);
  EXPECT_EQ(table.Find(8), nullptr);
  a = nullptr;
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.Find(7), nullptr);
  EXPECT_EQ(get(7)->number, 7u);
  EXPECT_EQ(made, 2);
}

TEST_F(InodeTableTest, AnswersAsTheModelDoes) {
#ifdef NDEBUG
  constexpr int kNumSteps = 1'000'000;
#else
  constexpr int kNumSteps = 50'000;
#endif
  Table table(&reclaimer_, 4);
  std::map<uint64_t, Ref<Numbered>> model;
  std::mt19937_64 random(5);
  for (int i = 0; i < kNumSteps; ++i) {
    // In strides, as numbers of real file systems are. Now many, now few.
    const uint64_t range = (i >> 14) % 2 == 0 ? 2000 : 20;
    const uint64_t n = random() % range * 1024;
    const auto it = model.find(n);
    switch (random() % 4) {
      case 0: {
        bool made = false;
        const Ref<Numbered> got = table.GetOrCreate(n, [&] {
          made = true;
          return MakeRef<Numbered>(&table, &reclaimer_, n);
        });
        ASSERT_EQ(made, it == model.end());
        if (it != model.end()) ASSERT_EQ(got, it->second);
        model[n] = got;
        break;
      }
      case 1:
        if (it != model.end()) model.erase(it);
        break;
      case 2:
        if (random() % 4096 == 0) model.clear();
        break;
      default:
        ASSERT_EQ(table.Find(n), it == model.end() ? nullptr : it->second);
    }
    ASSERT_EQ(Numbered::living, static_cast<int>(model.size()));
#ifndef NDEBUG
    table.CheckInvariants();
#else
    if (i % 1024 == 0) table.CheckInvariants();
#endif
    if (i % 256 == 0) Collect();
  }
  ASSERT_EQ(table.size(), model.size());
}

TEST_F(InodeTableTest, StridesSpread) {
  for (const uint64_t stride : {1u, 64u, 1024u, 4096u}) {
    Table table(&reclaimer_);
    std::vector<Ref<Numbered>> all;
    constexpr uint64_t kNumObjects = 100'000;
    for (uint64_t i = 0; i < kNumObjects; ++i)
      all.push_back(table.GetOrCreate(i * stride, [&] { return MakeRef<Numbered>(&table, &reclaimer_, i * stride); }));
    EXPECT_EQ(table.size(), kNumObjects);
    EXPECT_LT(table.longest_chain(), 150u) << stride;
    table.CheckInvariants();
  }
}

// Counted in debug and sanitizer builds.
TEST_F(InodeTableTest, AHitTakesNoLock) {
  Table table(&reclaimer_, 4);
  std::vector<Ref<Numbered>> all;
  for (uint64_t n = 0; n < 100; ++n)
    all.push_back(table.GetOrCreate(n, [&] { return MakeRef<Numbered>(&table, &reclaimer_, n); }));
  const uint64_t locks = LocksTakenByThisThread();
  for (uint64_t n = 0; n < 100; ++n) {
    EXPECT_EQ(table.Find(n), all[n]);
    EXPECT_EQ(table.GetOrCreate(n, [] { return Ref<Numbered>(); }), all[n]);
  }
  EXPECT_EQ(table.Find(1000), nullptr);
  EXPECT_EQ(LocksTakenByThisThread(), locks);
}

TEST_F(InodeTableTest, MakingRunsWithoutALock) {
  Table table(&reclaimer_, 1);
  const Ref<Numbered> outer = table.GetOrCreate(1, [&] {
    AssertNoLocksHeld();
    const Ref<Numbered> inner = table.GetOrCreate(2, [&] { return MakeRef<Numbered>(&table, &reclaimer_, 2); });
    EXPECT_EQ(table.size(), 1u);
    return MakeRef<Numbered>(&table, &reclaimer_, 1);
  });
  EXPECT_EQ(table.size(), 1u);
}

// Threads get, hold and drop objects of few numbers. While anybody holds the object of a number, all others get that.
TEST_F(InodeTableTest, NeverTwoLiveObjectsForANumber) {
  constexpr uint64_t kNumNumbers = 8;
#ifdef NDEBUG
  constexpr int kNumSteps = 100'000;
#else
  constexpr int kNumSteps = 5000;
#endif
  struct Holders {
    Mutex mu{LockRank::kLeaf};
    Numbered* object = nullptr;
    int count = 0;
  };
  Table table(&reclaimer_, 2);
  Holders holders[kNumNumbers];
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      sync::Reclaimer::ReadSection section(&reclaimer_);
      std::mt19937_64 random(t);
      for (int i = 0; i < kNumSteps; ++i) {
        if (i % 64 == 0) {
          section.Quiesce();
          reclaimer_.Collect();
        }
        const uint64_t n = random() % kNumNumbers;
        Ref<Numbered> mine = random() % 4 == 0 ? table.Find(n * 1024) : table.GetOrCreate(n * 1024, [&] {
          return MakeRef<Numbered>(&table, &reclaimer_, n * 1024);
        });
        if (!mine) continue;
        {
          MutexLock lock(&holders[n].mu);
          if (holders[n].count++ == 0) holders[n].object = mine.get();
          ASSERT_EQ(holders[n].object, mine.get());
        }
        if (random() % 8 == 0) std::this_thread::yield();
        MutexLock lock(&holders[n].mu);
        --holders[n].count;
      }
    });
  section_.Quiesce();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(Numbered::living, 0);
  table.CheckInvariants();
}

TEST_F(InodeTableTest, ThreadsAgreeOnTheObject) {
  Table table(&reclaimer_, 4);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      sync::Reclaimer::ReadSection section(&reclaimer_);
      std::mt19937_64 random(t);
      for (int i = 0; i < 5000; ++i) {
        section.Quiesce();
        reclaimer_.Collect();
        const uint64_t n = random() % 8 * 1024;  // strided, as numbers of real file systems are
        Ref<Numbered> mine = table.GetOrCreate(n, [&] { return MakeRef<Numbered>(&table, &reclaimer_, n); });
        ASSERT_EQ(mine->number, n);
        ASSERT_EQ(table.Find(n), mine);
      }
    });
  }
  section_.Quiesce();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(Numbered::living, 0);
}

}  // namespace
}  // namespace remora::fs
