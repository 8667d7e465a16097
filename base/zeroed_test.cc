#include "base/zeroed.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "base/large_page.h"

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

TEST(ZeroedTest, WhatLargePagesAreForBeginsAtOne) {
  for (void* (*map)(size_t) : {&MapAtLargePage, &MapForLargePages}) {
    const Zeroed<Entry> entries = MakeZeroedBy<Entry>(map, 40'000);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(entries.get()) % kLargePageBytes, 0u);
    entries.get()[7].key = 3;
    AskForLargePage(entries.get(), kLargePageBytes);
    EXPECT_EQ(entries.get()[7].key, 3u);
    for (size_t i = 8; i < 40'000; ++i) ASSERT_EQ(entries.get()[i].key | entries.get()[i].value, 0u);
  }
}

}  // namespace
}  // namespace remora
