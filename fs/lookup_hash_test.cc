#include "fs/lookup_hash.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace remora::fs {
namespace {

struct Number {
  uint64_t hash;
  uint64_t value;
};

// Few hashes, so that probes run long.
uint64_t WeakHash(uint64_t value) { return value % 97; }

TEST(LookupHashTest, AnswersAsAMapDoes) {
  sync::Reclaimer reclaimer;
  LookupHash<Number> hash(&reclaimer);
  std::map<uint64_t, std::unique_ptr<Number>> model;
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const uint64_t value = random() % 500;
    const auto equals = [&](const Number& n) { return n.value == value; };
    Number* found = hash.Find(WeakHash(value), equals);
    auto it = model.find(value);
    ASSERT_EQ(found, it == model.end() ? nullptr : it->second.get());
    if (random() % 2 == 0) {
      if (found == nullptr) {
        auto number = std::make_unique<Number>(Number{WeakHash(value), value});
        hash.Insert(number.get());
        model[value] = std::move(number);
      }
    } else if (found != nullptr) {
      hash.Erase(found);
      model.erase(it);
    }
    ASSERT_EQ(hash.size(), model.size());
  }
  uint64_t visited = 0;
  hash.ForEach([&](Number* n) {
    ++visited;
    EXPECT_EQ(model.at(n->value).get(), n);
  });
  EXPECT_EQ(visited, model.size());
}

TEST(LookupHashTest, ReadersFindWhatStaysWhileOthersComeAndGo) {
  sync::Reclaimer reclaimer;
  LookupHash<Number> hash(&reclaimer);
  std::vector<std::unique_ptr<Number>> staying;
  for (uint64_t i = 0; i < 100; ++i) {
    staying.push_back(std::make_unique<Number>(Number{WeakHash(i), i}));
    hash.Insert(staying.back().get());
  }
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    sync::Reclaimer::Participant participant(&reclaimer);
    participant.Online();
    std::mt19937_64 random(2);
    while (!stop.load(std::memory_order_relaxed)) {
      const uint64_t value = random() % 100;
      const Number* found = hash.Find(WeakHash(value), [&](const Number& n) { return n.value == value; });
      ASSERT_EQ(found, staying[value].get());
      participant.Quiesce();
    }
    participant.Offline();
  });
  std::mt19937_64 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<Number*> passing;
    for (uint64_t i = 0; i < 50; ++i) {
      const uint64_t value = 1000 + i;
      passing.push_back(new Number{WeakHash(value), value});
      hash.Insert(passing.back());
    }
    for (Number* n : passing) {
      hash.Erase(n);
      reclaimer.RetireDelete(n);
    }
  }
  stop = true;
  reader.join();
}

}  // namespace
}  // namespace remora::fs
