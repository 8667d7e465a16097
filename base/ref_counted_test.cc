#include "base/ref_counted.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace remora {
namespace {

class Base : public RefCounted {};
class Counted : public Base {
 public:
  explicit Counted(std::atomic<int>* destroyed) : destroyed_(destroyed) {}

 protected:
  ~Counted() override { ++*destroyed_; }

 private:
  std::atomic<int>* const destroyed_;
};

TEST(RefTest, TheLastReferenceDestroys) {
  std::atomic<int> destroyed{0};
  Ref<Counted> a = MakeRef<Counted>(&destroyed);
  Ref<Counted> b = a;
  EXPECT_EQ(a->ref_count(), 2u);
  a.reset();
  EXPECT_EQ(destroyed, 0);
  b = nullptr;
  EXPECT_EQ(destroyed, 1);
}

TEST(RefTest, MovesTakeNoReference) {
  std::atomic<int> destroyed{0};
  Ref<Counted> a = MakeRef<Counted>(&destroyed);
  Ref<Counted> b = std::move(a);
  EXPECT_EQ(b->ref_count(), 1u);
  Ref<Base> base = std::move(b);
  EXPECT_EQ(base->ref_count(), 1u);
  Ref<Base> other = base;
  EXPECT_EQ(base, other);
}

TEST(RefTest, AssigningItselfKeepsTheObject) {
  std::atomic<int> destroyed{0};
  Ref<Counted> a = MakeRef<Counted>(&destroyed);
  Ref<Counted>& same = a;
  a = same;
  EXPECT_EQ(a->ref_count(), 1u);
  EXPECT_EQ(destroyed, 0);
}

TEST(RefTest, ReleaseAndAdoptHandTheCountOver) {
  std::atomic<int> destroyed{0};
  Counted* raw = MakeRef<Counted>(&destroyed).release();
  EXPECT_EQ(destroyed, 0);
  Ref<Counted>::Adopt(raw).reset();
  EXPECT_EQ(destroyed, 1);
}

// An object that outlives its last reference, as those that lock-free readers may still see do.
class Retired final : public RefCounted {
 public:
  bool last_release_called = false;
  ~Retired() override = default;

 protected:
  void OnLastRelease() override { last_release_called = true; }
};

TEST(RefCountedTest, TryAddRefFailsOnceTheLastReferenceIsGone) {
  Retired object;
  EXPECT_TRUE(object.TryAddRef());
  object.Release();
  object.Release();
  EXPECT_TRUE(object.last_release_called);
  EXPECT_FALSE(object.TryAddRef());
}

TEST(RefCountedTest, TryDropLastDropsOnlyTheLastReference) {
  Retired object;
  object.AddRef();
  EXPECT_FALSE(object.TryDropLast());
  object.Release();
  EXPECT_TRUE(object.TryDropLast());
  EXPECT_FALSE(object.last_release_called);
  EXPECT_FALSE(object.TryAddRef());
}

TEST(RefCountedStressTest, ManyThreadsDestroyOnce) {
  std::atomic<int> destroyed{0};
  for (int round = 0; round < 50; ++round) {
    Ref<Counted> shared = MakeRef<Counted>(&destroyed);
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([ref = shared]() mutable {
        for (int i = 0; i < 100; ++i) Ref<Counted> copy = ref;
        ref.reset();
      });
    shared.reset();
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(destroyed, 50);
}

}  // namespace
}  // namespace remora
