#include "benchmarks/rivals/stream_read_write_rival.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/guest_memory.h"
#include "fs/positional_io.h"
#include "gtest/gtest.h"
#include "mm/user_buffer.h"

namespace remora {
namespace {

constexpr uint64_t kFileBytes = 100'000, kGuestBytes = 20 * kPageSize;
using Direction = mm::IoBuffer::Direction;

std::vector<std::byte> GuestBytes(GuestMemory::Worker& worker) {
  std::vector<std::byte> bytes(kGuestBytes);
  EXPECT_TRUE(worker.user().CopyIn(bytes, GuestMemory::kBase).ok());
  return bytes;
}
std::vector<std::byte> FileBytes(fs::File& file) {
  std::vector<std::byte> bytes(2 * kFileBytes);
  mm::KernelBuffer buffer(Direction::kFill, bytes);
  bytes.resize(*file.Read(buffer, 0));
  return bytes;
}

// The same random calls on two worlds, some of which run off the end of guest memory.
TEST(StreamReadWriteRivalTest, GivesTheSameAnswers) {
  GuestMemory ours(kFileBytes, kGuestBytes), theirs(kFileBytes, kGuestBytes);
  GuestMemory::Worker our_worker(&ours), their_worker(&theirs);
  std::mt19937_64 random(1);
  for (int step = 0; step < 2000; ++step) {
    const GuestAddr at = GuestMemory::kBase + random() % (kGuestBytes + 100);
    const uint64_t length = random() % (random() % 2 ? 30'000 : 300);
    mm::UserBuffer buffer(our_worker.user(), random() % 2 ? Direction::kFill : Direction::kDrain,
                          mm::UserRange{at, length});
    const bool reads = buffer.direction() == Direction::kFill;
    if (step % 8 == 0) {
      const uint64_t position = random() % kFileBytes;
      for (GuestMemory* world : {&ours, &theirs}) {
        MutexLock lock(&world->file().position_mutex());
        world->file().set_position(position);
      }
    }
    const auto mine = fs::TransferAt(ours.file(), buffer, {});
    const auto other = reads ? StreamReadWriteRival::Read(theirs.file(), their_worker.user(), at, length)
                             : StreamReadWriteRival::Write(theirs.file(), their_worker.user(), at, length);
    ASSERT_EQ(mine.error_number(), other.error_number()) << step;
    if (mine.ok()) ASSERT_EQ(*mine, *other);
  }
  EXPECT_EQ(GuestBytes(our_worker), GuestBytes(their_worker));
  EXPECT_EQ(FileBytes(ours.file()), FileBytes(theirs.file()));
}

}  // namespace
}  // namespace remora
