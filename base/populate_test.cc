#include "base/populate.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace remora {
namespace {

constexpr size_t kHostPage = 4096;

class PopulateTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 64;

  void SetUp() override {
    void* const mapped = mmap(nullptr, kPages * kHostPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(mapped, MAP_FAILED);
    memory_ = static_cast<std::byte*>(mapped);
    // No large page, which would be there as a whole.
    ASSERT_EQ(madvise(memory_, kPages * kHostPage, MADV_NOHUGEPAGE), 0);
  }
  void TearDown() override { munmap(memory_, kPages * kHostPage); }

  // Where the host cannot, all is left to the writes.
  static size_t IfHostCan(size_t populated, size_t written) {
    static const bool can = [] {
      void* const probe = mmap(nullptr, kHostPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      const bool succeeded = madvise(probe, kHostPage, /*MADV_POPULATE_WRITE*/ 23) == 0;
      munmap(probe, kHostPage);
      return succeeded;
    }();
    return can ? populated : written;
  }
  // The pages that have memory, from the first on; SIZE_MAX: with gaps.
  size_t NumPopulated() const {
    std::vector<unsigned char> present(kPages);
    EXPECT_EQ(mincore(memory_, kPages * kHostPage, present.data()), 0);
    size_t count = 0;
    while (count < kPages && (present[count] & 1) != 0) ++count;
    for (size_t i = count; i < kPages; ++i)
      if ((present[i] & 1) != 0) return SIZE_MAX;
    return count;
  }

  std::byte* memory_ = nullptr;
};

TEST_F(PopulateTest, AllPagesThatARangeTouchesAreThereAndKeepWhatIsInThem) {
  memory_[0] = std::byte{7};
  EXPECT_EQ(NumPopulated(), 1u);
  Populate(memory_ + kHostPage - 1, 2);
  EXPECT_EQ(NumPopulated(), IfHostCan(2, 1));
  Populate(memory_, 0);
  EXPECT_EQ(NumPopulated(), IfHostCan(2, 1));
  Populate(memory_ + kHostPage, 3 * kHostPage);
  EXPECT_EQ(NumPopulated(), IfHostCan(4, 1));
  EXPECT_EQ(memory_[0], std::byte{7});
}

TEST_F(PopulateTest, WhatIsUsedFromItsBeginningOnIsPopulatedAheadButNotBeyondItsEnd) {
  constexpr size_t kBytes = 40 * kHostPage;
  constexpr size_t kStepPages = PopulatedAhead::kStepBytes / kHostPage;
  // Up to where the host's addresses are a multiple of the step.
  const size_t first = kStepPages - reinterpret_cast<uintptr_t>(memory_) / kHostPage % kStepPages;
  PopulatedAhead ahead;
  ahead.Reach(memory_, 1, kBytes);
  EXPECT_EQ(NumPopulated(), IfHostCan(first, 0));
  ahead.Reach(memory_, first * kHostPage, kBytes);
  EXPECT_EQ(NumPopulated(), IfHostCan(first, 0));
  ahead.Reach(memory_, first * kHostPage + 1, kBytes);
  EXPECT_EQ(NumPopulated(), IfHostCan(first + kStepPages, 0));
  ahead.Reach(memory_, kBytes, kBytes);
  EXPECT_EQ(NumPopulated(), IfHostCan(kBytes / kHostPage, 0));
}

TEST_F(PopulateTest, WhatHasMemoryIsNotAskedFor) {
  PopulatedAhead ahead;
  ahead.NoteThere(20 * kHostPage);
  ahead.Reach(memory_, 20 * kHostPage, kPages * kHostPage);
  ahead.NoteThere(1);
  ahead.Reach(memory_, 2, kPages * kHostPage);
  EXPECT_EQ(NumPopulated(), 0u);
  ahead.Reach(memory_, 20 * kHostPage + 1, kPages * kHostPage);
  memory_[0] = std::byte{1};
  EXPECT_EQ(NumPopulated(), IfHostCan(SIZE_MAX, 1)) << "what was said to be there is left out";
}

}  // namespace
}  // namespace remora
