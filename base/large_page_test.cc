#include "base/large_page.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/large_pages_for_testing.h"

namespace remora {
namespace {

constexpr size_t kBytes = 2 * kLargePageBytes + 4096;

class LargePageTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(memory_, nullptr); }
  void TearDown() override { munmap(memory_, kBytes); }

  std::byte* const memory_ = static_cast<std::byte*>(ReserveForLargePages(kBytes));
};

TEST_F(LargePageTest, WhatIsReservedIsAlignedAndHasNoMoreThanThat) {
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory_) % kLargePageBytes, 0u);
  // What lies around has gone back: a mapping there replaces nothing.
  for (std::byte* const beside : {memory_ - 4096, memory_ + kBytes}) {
    void* there = mmap(beside, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (there == MAP_FAILED) continue;  // another's by now
    EXPECT_EQ(there, beside);
    munmap(there, 4096);
  }
}

TEST_F(LargePageTest, WhatTheHostCanDoIsDone) {
  ASSERT_EQ(mprotect(memory_, kBytes, PROT_READ | PROT_WRITE), 0);
  std::memset(memory_, 1, kBytes);
  AskForLargePage(memory_ + kLargePageBytes, kLargePageBytes);
  if (HostGivesLargePages()) EXPECT_GE(BytesInLargePages(memory_), kLargePageBytes);
}

TEST_F(LargePageTest, TheBytesStay) {
  ASSERT_EQ(mprotect(memory_, kBytes, PROT_READ | PROT_WRITE), 0);
  for (size_t i = 0; i < kLargePageBytes; i += 64) memory_[i] = static_cast<std::byte>(i / 64);
  AskForLargePage(memory_, kLargePageBytes);
  for (size_t i = 0; i < kLargePageBytes; i += 64) ASSERT_EQ(memory_[i], static_cast<std::byte>(i / 64)) << i;
}

TEST_F(LargePageTest, WhatCannotBeIsLeftAsItIs) {
  AskForLargePage(memory_, kLargePageBytes);           // no memory there
  AskForLargePage(memory_ + 4096, 4096);               // not a large page
  AskForLargePage(memory_ + kBytes, kLargePageBytes);  // perhaps not mapped at all
}

TEST(MapForLargePages, IsAlignedZeroedAndForUse) {
  constexpr size_t kWhole = 2 * kLargePageBytes;
  auto* memory = static_cast<uint8_t*>(MapForLargePages(kWhole));
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % kLargePageBytes, 0u);
  for (size_t i = 0; i < kWhole; i += 512) ASSERT_EQ(memory[i], 0) << i;
  std::memset(memory, 1, kWhole);
  EXPECT_EQ(munmap(memory, kWhole), 0);
}

TEST(MapForLargePages, MoreThanThereIsIsNull) { EXPECT_EQ(MapForLargePages(size_t{1} << 62), nullptr); }

}  // namespace
}  // namespace remora
