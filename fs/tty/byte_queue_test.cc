#include "fs/tty/byte_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

namespace remora::fs {
namespace {

TEST(ByteQueueTest, DoesWhatADequeDoes) {
  std::mt19937_64 random(1);
  ByteQueue queue(100);
  std::deque<uint8_t> model;
  uint8_t next = 0;
  for (int i = 0; i < 100'000; ++i) {
    switch (random() % 8) {
      case 0:
        queue.Truncate(random() % 120);
        if (queue.size() < model.size()) model.resize(queue.size());
        break;
      case 1:
        if (random() % 20 == 0) {
          queue.Clear();
          model.clear();
        }
        break;
      case 2:
      case 3:
      case 4: {
        std::vector<uint8_t> bytes(random() % (queue.room() + 1));
        for (uint8_t& byte : bytes) byte = next++;
        queue.Append(bytes);
        model.insert(model.end(), bytes.begin(), bytes.end());
        break;
      }
      default: {
        const size_t n = random() % (queue.size() + 1);
        queue.Consume(n);
        model.erase(model.begin(), model.begin() + static_cast<ptrdiff_t>(n));
      }
    }
    ASSERT_EQ(queue.size(), model.size());
    ASSERT_EQ(queue.room(), 100 - model.size());
    ASSERT_TRUE(std::ranges::equal(queue.front(), model));
  }
}

}  // namespace
}  // namespace remora::fs
