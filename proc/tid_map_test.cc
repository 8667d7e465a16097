#include "proc/tid_map.h"

#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace remora::proc {
namespace {

// Retires itself, as what lock-free readers may see has to.
class Item final : public RefCounted {
 public:
  Item(sync::Reclaimer* reclaimer, int32_t number) : number(number), reclaimer_(reclaimer) { ++live; }
  const int32_t number;
  static std::atomic<int> live;

 private:
  ~Item() override { --live; }
  void OnLastRelease() override {
    reclaimer_->Retire(this, [](void* p) { delete static_cast<Item*>(p); });
  }
  sync::Reclaimer* const reclaimer_;
};
std::atomic<int> Item::live{0};

TEST(TidMapTest, HandsNumbersOutRoundRobin) {
  sync::Reclaimer reclaimer;
  TidMap map(&reclaimer, 5);
  for (int32_t expected : {1, 2, 3, 4}) EXPECT_EQ(*map.Allocate(), expected);
  EXPECT_EQ(map.Allocate().error_number(), EAGAIN);
  EXPECT_FALSE(map.Remove(2));
  EXPECT_EQ(*map.Allocate(), 2);
  EXPECT_FALSE(map.Remove(1));
  EXPECT_FALSE(map.Remove(3));
  EXPECT_EQ(*map.Allocate(), 3);  // the search goes on behind 2
  EXPECT_EQ(*map.Allocate(), 1);
}

TEST(TidMapTest, HeldNumbersAreNotReused) {
  sync::Reclaimer reclaimer;
  TidMap map(&reclaimer, 4);
  const int32_t n = *map.Allocate();
  map.Hold(n);
  EXPECT_FALSE(map.Remove(n));
  EXPECT_EQ(*map.Allocate(), 2);
  EXPECT_EQ(*map.Allocate(), 3);
  EXPECT_EQ(map.Allocate().error_number(), EAGAIN);
  map.Unhold(n);
  EXPECT_EQ(*map.Allocate(), n);
}

TEST(TidMapTest, BehavesAsAMap) {
  sync::Reclaimer reclaimer;
  {
    constexpr int32_t kMax = 3000;
    TidMap map(&reclaimer, kMax);
    std::map<int32_t, bool> model;  // number -> marked
    std::mt19937 random(1);
    for (int step = 0; step < 40'000; ++step) {
      const auto n = static_cast<int32_t>(random() % (kMax + 10));
      switch (random() % 5) {
        case 0:
        case 1: {
          const ErrnoOr<int32_t> number = map.Allocate();
          ASSERT_EQ(number.ok(), model.size() < kMax - 1);
          if (!number.ok()) break;
          ASSERT_FALSE(model.contains(*number));
          const bool mark = random() % 2 == 0;
          EXPECT_FALSE(map.Publish(*number, MakeRef<Item>(&reclaimer, *number), mark));
          model[*number] = mark;
          break;
        }
        case 2: {
          const auto found = model.lower_bound(n);
          if (found == model.end()) break;
          EXPECT_TRUE(map.Remove(found->first));
          model.erase(found);
          break;
        }
        case 3: {
          const Ref<RefCounted> item = map.Lookup(n);
          ASSERT_EQ(static_cast<bool>(item), model.contains(n));
          if (item) {
            EXPECT_EQ(static_cast<Item*>(item.get())->number, n);
          }
          break;
        }
        default: {
          auto found = model.lower_bound(n);
          while (found != model.end() && !found->second) ++found;
          ASSERT_EQ(map.NextMarked(n), found == model.end() ? 0 : found->first) << n;
          break;
        }
      }
      if (step % 64 == 0) reclaimer.Collect();
    }
    uint32_t marked = 0;
    for (const auto& [number, mark] : model) marked += mark;
    EXPECT_EQ(map.num_marked(), marked);
  }
  while (reclaimer.num_pending() != 0) reclaimer.Collect();
  EXPECT_EQ(Item::live, 0);
}

TEST(TidMapTest, LookupsRunBesideChanges) {
  sync::Reclaimer reclaimer;
  {
    TidMap map(&reclaimer, 700);
    std::atomic<bool> stop{false};
    std::vector<std::thread> readers;
    for (int i = 0; i < 2; ++i) {
      readers.emplace_back([&] {
        sync::Reclaimer::Participant participant(&reclaimer);
        participant.Online();
        uint32_t n = 0;
        while (!stop) {
          n = n * 1103515245 + 12345;
          const auto number = static_cast<int32_t>(n >> 8) % 700;
          if (const Ref<RefCounted> item = map.Lookup(number)) {
            EXPECT_EQ(static_cast<Item*>(item.get())->number, number);
          }
          map.NextMarked(number);
          participant.Quiesce();
        }
        participant.Offline();
      });
    }
    std::vector<int32_t> numbers;
    std::mt19937 random(2);
    for (int step = 0; step < 20'000; ++step) {
      if (numbers.size() < 300 || random() % 2 == 0) {
        const ErrnoOr<int32_t> number = map.Allocate();
        if (number.ok()) {
          (void)map.Publish(*number, MakeRef<Item>(&reclaimer, *number), true);
          numbers.push_back(*number);
        }
      } else {
        std::swap(numbers[random() % numbers.size()], numbers.back());
        (void)map.Remove(numbers.back());
        numbers.pop_back();
      }
      if (step % 16 == 0) reclaimer.Collect();
    }
    stop = true;
    for (std::thread& reader : readers) reader.join();
  }
  while (reclaimer.num_pending() != 0) reclaimer.Collect();
  EXPECT_EQ(Item::live, 0);
}

}  // namespace
}  // namespace remora::proc
