#include "base/zeroed.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace remora {
namespace {

struct alignas(64) Entry {
  uint64_t key = 1;
  uint64_t value = 2;
};

TEST(ZeroedTest, AllBytesAreZeroAndTheFirstIsAligned) {
  constexpr size_t kCount = 10'000;
  const Zeroed<Entry> entries = MakeZeroed<Entry>(kCount);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(entries.get()) % alignof(Entry), 0u);
  for (size_t i = 0; i < kCount; ++i) ASSERT_EQ(entries.get()[i].key | entries.get()[i].value, 0u);
  entries.get()[kCount - 1].key = 3;
  EXPECT_EQ(entries.get()[kCount - 1].key, 3u);
}

}  // namespace
}  // namespace remora
