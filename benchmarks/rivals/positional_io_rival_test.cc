#include "benchmarks/rivals/positional_io_rival.h"

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

TEST(PositionalIoRivalTest, GivesTheSameAnswers) {
  GuestMemory ours(kFileBytes, kGuestBytes), theirs(kFileBytes, kGuestBytes);
  GuestMemory::Worker our_worker(&ours), their_worker(&theirs);
  PositionalIoRival rival(&theirs.file());
  std::mt19937_64 random(4);
  for (int step = 0; step < 2000; ++step) {
    const GuestAddr at = GuestMemory::kBase + random() % (kGuestBytes + 100);
    const uint64_t length = random() % 10'000, offset = random() % (kFileBytes + 5000);
    mm::UserBuffer buffer(our_worker.user(), random() % 2 ? Direction::kFill : Direction::kDrain,
                          mm::UserRange{at, length});
    const auto mine = fs::TransferAt(ours.file(), buffer, {.offset = offset, .append = false});
    const auto other = buffer.direction() == Direction::kFill ? rival.Pread(their_worker.user(), at, length, offset)
                                                              : rival.Pwrite(their_worker.user(), at, length, offset);
    ASSERT_EQ(mine.error_number(), other.error_number()) << step;
    if (mine.ok()) ASSERT_EQ(*mine, *other);
  }
  std::vector<std::byte> mine(kGuestBytes), other(kGuestBytes);
  ASSERT_TRUE(our_worker.user().CopyIn(mine, GuestMemory::kBase).ok());
  ASSERT_TRUE(their_worker.user().CopyIn(other, GuestMemory::kBase).ok());
  EXPECT_EQ(mine, other);
  for (GuestMemory* world : {&ours, &theirs}) {
    MutexLock lock(&world->file().position_mutex());
    EXPECT_EQ(world->file().position(), 0u);
  }
}

}  // namespace
}  // namespace remora
