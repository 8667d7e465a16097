#include "base/striped_counter.h"

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace remora {
namespace {

TEST(StripedCounterTest, CountsWhatIsAlive) {
  StripedCounter counter;
  EXPECT_EQ(counter.num_alive(), 0u);
  std::vector<std::unique_ptr<uint64_t>> objects;
  for (uint64_t i = 0; i < 1000; ++i) {
    objects.push_back(std::make_unique<uint64_t>(i));
    counter.OnMade(objects.back().get());
    ASSERT_EQ(counter.num_alive(), i + 1);
  }
  while (!objects.empty()) {
    counter.OnDropped(objects.back().get());
    objects.pop_back();
    ASSERT_EQ(counter.num_alive(), objects.size());
  }
}

TEST(StripedCounterTest, ThreadsDropWhatOthersMade) {
  constexpr int kObjects = 100'000;
  StripedCounter counter;
  std::vector<uint64_t> objects(kObjects);
  {
    std::vector<std::jthread> makers;
    for (int thread = 0; thread < 2; ++thread)
      makers.emplace_back([&, thread] {
        for (int i = thread; i < kObjects; i += 2) counter.OnMade(&objects[i]);
      });
  }
  EXPECT_EQ(counter.num_alive(), uint64_t{kObjects});
  {
    std::vector<std::jthread> droppers;
    for (int thread = 0; thread < 2; ++thread)
      droppers.emplace_back([&, thread] {
        for (int i = 1 - thread; i < kObjects; i += 2) counter.OnDropped(&objects[i]);
      });
  }
  EXPECT_EQ(counter.num_alive(), 0u);
}

}  // namespace
}  // namespace remora
