#include "proc/tid_map.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <random>
#include <thread>
#include <utility>
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

TEST(TidMapTest, BehavesAsAnArray) {
#ifdef NDEBUG
  constexpr int kSteps = 1'000'000;
#else
  constexpr int kSteps = 10'000;
#endif
  sync::Reclaimer reclaimer;
  {
    constexpr int32_t kMax = 1500;
    TidMap map(&reclaimer, kMax);
    struct Entry {
      bool used = false, published = false, marked = false;
      int holds = 0;
    };
    std::vector<Entry> model(kMax);
    int32_t next = 1, num_used = 0;
    uint32_t num_marked = 0;
    std::mt19937 random(1);
    const auto release = [&](int32_t n) {
      Entry& entry = model[static_cast<size_t>(n)];
      if (!entry.used || entry.published || entry.holds != 0) return;
      entry.used = false;
      --num_used;
    };
    for (int step = 0; step < kSteps; ++step) {
      const auto n = static_cast<int32_t>(random() % (kMax + 10));
      switch (random() % 8) {
        case 0:
        case 1: {
          if (num_used > kMax / 2 && random() % 4 != 0) break;
          const ErrnoOr<int32_t> number = map.Allocate();
          ASSERT_EQ(number.ok(), num_used < kMax - 1);
          if (!number.ok()) break;
          while (model[static_cast<size_t>(next)].used) next = next + 1 < kMax ? next + 1 : 1;
          ASSERT_EQ(*number, next);
          next = next + 1 < kMax ? next + 1 : 1;
          Entry& entry = model[static_cast<size_t>(*number)];
          entry = {.used = true, .published = random() % 8 != 0, .marked = random() % 2 == 0, .holds = 0};
          entry.marked &= entry.published;
          ++num_used;
          num_marked += entry.marked;
          if (entry.published) {
            ASSERT_FALSE(map.Publish(*number, MakeRef<Item>(&reclaimer, *number), entry.marked));
          } else if (random() % 2 == 0) {  // given back
            ASSERT_FALSE(map.Remove(*number));
            release(*number);
          }
          break;
        }
        case 2: {
          if (n <= 0 || n >= kMax) break;
          Entry& entry = model[static_cast<size_t>(n)];
          ASSERT_EQ(static_cast<bool>(map.Remove(n)), entry.published);
          num_marked -= entry.marked;
          entry.published = entry.marked = false;
          release(n);
          break;
        }
        case 3:
        case 4: {
          const Ref<RefCounted> item = map.Lookup(n);
          ASSERT_EQ(static_cast<bool>(item), n < kMax && model[static_cast<size_t>(n)].published);
          if (item) ASSERT_EQ(static_cast<Item*>(item.get())->number, n);
          break;
        }
        case 5: {
          if (n <= 0 || n >= kMax || !model[static_cast<size_t>(n)].used) break;
          map.Hold(n);
          ++model[static_cast<size_t>(n)].holds;
          break;
        }
        case 6: {
          if (n >= kMax || model[static_cast<size_t>(n)].holds == 0) break;
          map.Unhold(n);
          --model[static_cast<size_t>(n)].holds;
          release(n);
          break;
        }
        default: {
          int32_t found = std::max(n, 1);
          while (found < kMax && !model[static_cast<size_t>(found)].marked) ++found;
          ASSERT_EQ(map.NextMarked(n), found >= kMax ? 0 : found) << n;
          break;
        }
      }
      ASSERT_EQ(map.num_marked(), num_marked);
#ifndef NDEBUG
      map.CheckInvariants();
#endif
      if (step % 64 == 0) reclaimer.Collect();
    }
    map.CheckInvariants();
  }
  while (reclaimer.num_pending() != 0) reclaimer.Collect();
  EXPECT_EQ(Item::live, 0);
}

// What a thread that forks and reaps did, and what one that lists saw, between draws from one counter.
struct Change {
  uint64_t start, end;
  bool born;
};

TEST(TidMapTest, AListingBesideForksNamesTheLivingOnce) {
#ifdef NDEBUG
  constexpr int kListings = 3'000;
#else
  constexpr int kListings = 200;
#endif
  constexpr int32_t kMax = 4000;
  sync::Reclaimer reclaimer;
  {
    TidMap map(&reclaimer, kMax);
    std::atomic<uint64_t> counter{1};
    std::atomic<bool> stop{false};
    std::vector<std::vector<Change>> changes(kMax);
    std::vector<int32_t> stable;  // there all along
    for (int i = 0; i < 60; ++i) {
      const int32_t number = *map.Allocate();
      (void)map.Publish(number, MakeRef<Item>(&reclaimer, number), true);
      stable.push_back(number);
      for (int j = 0; j < 40; ++j) (void)map.Remove(*map.Allocate());  // over several chunks
    }
    std::thread forker([&] {
      sync::Reclaimer::Participant participant(&reclaimer);
      participant.Online();
      std::vector<int32_t> numbers;
      std::mt19937 random(4);
      while (!stop) {
        const uint64_t start = counter.fetch_add(1);
        int32_t number = 0;
        const bool born = numbers.size() < 50 || random() % 2 == 0;
        if (born) {
          number = *map.Allocate();
          (void)map.Publish(number, MakeRef<Item>(&reclaimer, number), true);
          numbers.push_back(number);
        } else {
          std::swap(numbers[random() % numbers.size()], numbers.back());
          number = numbers.back();
          numbers.pop_back();
          (void)map.Remove(number);
        }
        changes[static_cast<size_t>(number)].push_back({start, counter.fetch_add(1), born});
        if (numbers.size() > 500)
          for (; numbers.size() > 50; numbers.pop_back()) {
            const uint64_t at = counter.fetch_add(1);
            (void)map.Remove(numbers.back());
            changes[static_cast<size_t>(numbers.back())].push_back({at, counter.fetch_add(1), false});
          }
        participant.Quiesce();
        reclaimer.Collect();
      }
      participant.Offline();
    });
    struct Listing {
      uint64_t start, end;
      std::vector<int32_t> numbers;
    };
    std::vector<Listing> listings(kListings);
    {
      sync::Reclaimer::Participant participant(&reclaimer);
      participant.Online();
      for (Listing& listing : listings) {
        listing.start = counter.fetch_add(1);
        int32_t batch[7];
        size_t n = 0;
        for (int32_t from = 1; (n = map.ListMarked(from, batch)) != 0; from = batch[n - 1] + 1)
          listing.numbers.insert(listing.numbers.end(), batch, batch + n);
        listing.end = counter.fetch_add(1);
        participant.Quiesce();
      }
      participant.Offline();
    }
    stop = true;
    forker.join();
    map.CheckInvariants();
    for (const Listing& listing : listings) {
      ASSERT_TRUE(std::is_sorted(listing.numbers.begin(), listing.numbers.end(), std::less_equal<>()));
      ASSERT_TRUE(std::includes(listing.numbers.begin(), listing.numbers.end(), stable.begin(), stable.end()));
      for (int32_t n : listing.numbers) {
        if (std::binary_search(stable.begin(), stable.end(), n)) continue;
        // It lived from a birth's start, at the earliest, to the end of the death that follows, at the latest.
        const std::vector<Change>& life = changes[static_cast<size_t>(n)];
        bool explained = false;
        for (size_t i = 0; i < life.size() && !explained; ++i) {
          explained =
              life[i].born && life[i].start < listing.end && (i + 1 == life.size() || life[i + 1].end > listing.start);
        }
        ASSERT_TRUE(explained) << n;
      }
    }
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
