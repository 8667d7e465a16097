#include "mm/scratch_buffer.h"

#include <gtest/gtest.h>

namespace remora::mm {
namespace {

TEST(ScratchBufferTest, NoLengthIsEverGrantedWhole) {
  ScratchBuffer scratch;
  EXPECT_EQ(scratch.peak_bytes(), 0u);
  ScratchBuffer::Lease lease(&scratch);
  EXPECT_EQ(lease.First(~uint64_t{0}).size(), ScratchBuffer::kBytes);
  EXPECT_EQ(scratch.peak_bytes(), ScratchBuffer::kBytes);
}

TEST(ScratchBufferTest, ThePeakIsWhatWasUsed) {
  ScratchBuffer scratch;
  for (const uint64_t n : {100, 5000, 20}) {
    ScratchBuffer::Lease lease(&scratch);
    EXPECT_EQ(lease.First(n).size(), n);
  }
  EXPECT_EQ(scratch.peak_bytes(), 5000u);
}

TEST(ScratchBufferTest, TheMemoryStays) {
  ScratchBuffer scratch;
  const std::byte* first = ScratchBuffer::Lease(&scratch).First(1).data();
  const std::byte* second = ScratchBuffer::Lease(&scratch).First(1).data();
  EXPECT_EQ(first, second);
}

TEST(ScratchBufferDeathTest, TwoLeasesAtOnceAreAMistake) {
  ScratchBuffer scratch;
  ScratchBuffer::Lease lease(&scratch);
  EXPECT_DEATH(ScratchBuffer::Lease(&scratch).First(1), "one scratch buffer");
}

}  // namespace
}  // namespace remora::mm
