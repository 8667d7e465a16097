#include "benchmarks/rivals/scatter_gather_rival.h"

#include <cstdint>
#include <random>
#include <vector>

#include "benchmarks/guest_memory.h"
#include "fs/positional_io.h"
#include "gtest/gtest.h"
#include "mm/user_buffer.h"

namespace remora {
namespace {

constexpr uint64_t kFileBytes = 100'000, kGuestBytes = 20 * kPageSize;
using Direction = mm::IoBuffer::Direction;

// The same random calls on two worlds: empty pieces, overlapping ones, some that run off the end of guest memory, and
// files that end before the pieces do.
TEST(ScatterGatherRivalTest, GivesTheSameAnswers) {
  GuestMemory ours(kFileBytes, kGuestBytes), theirs(kFileBytes, kGuestBytes);
  GuestMemory::Worker our_worker(&ours), their_worker(&theirs);
  std::mt19937_64 random(2);
  for (int step = 0; step < 2000; ++step) {
    std::vector<mm::UserRange> ranges(random() % 20);
    for (mm::UserRange& range : ranges)
      range = {GuestMemory::kBase + random() % (random() % 16 == 0 ? kGuestBytes + 100 : kGuestBytes - 9000),
               random() % 4 == 0 ? 0 : random() % 9000};
    const uint64_t offset = random() % kFileBytes;
    mm::UserBuffer buffer(our_worker.user(), random() % 2 ? Direction::kFill : Direction::kDrain, ranges);
    const bool reads = buffer.direction() == Direction::kFill;
    const auto mine = fs::TransferAt(ours.file(), buffer, {.offset = offset, .append = false});
    const auto other = reads ? ScatterGatherRival::ReadAt(theirs.file(), their_worker.user(), ranges, offset)
                             : ScatterGatherRival::WriteAt(theirs.file(), their_worker.user(), ranges, offset);
    ASSERT_EQ(mine.error_number(), other.error_number()) << step;
    if (mine.ok()) ASSERT_EQ(*mine, *other);
  }
  std::vector<std::byte> mine(kGuestBytes), other(kGuestBytes);
  ASSERT_TRUE(our_worker.user().CopyIn(mine, GuestMemory::kBase).ok());
  ASSERT_TRUE(their_worker.user().CopyIn(other, GuestMemory::kBase).ok());
  EXPECT_EQ(mine, other);
}

}  // namespace
}  // namespace remora
