#include "benchmarks/rivals/getrandom_stream_rival.h"

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "base/seeded_entropy.h"
#include "benchmarks/guest_memory.h"
#include "gtest/gtest.h"
#include "mm/user_buffer.h"

namespace remora {
namespace {

constexpr uint64_t kGuestBytes = 20 * kPageSize;

// With an entropy that a seed determines both make the same bytes, as long as lengths and pages are whole words.
TEST(GetrandomStreamRivalTest, GivesTheSameAnswers) {
  GuestMemory ours(4096, kGuestBytes), theirs(4096, kGuestBytes);
  GuestMemory::Worker our_worker(&ours), their_worker(&theirs);
  std::mt19937_64 random(6);
  for (uint64_t step = 0; step < 2000; ++step) {
    SeededEntropy mine(step), other(step);
    const GuestAddr at = GuestMemory::kBase + 8 * (random() % (kGuestBytes / 8 + 16));
    const uint64_t length = 8 * (random() % (random() % 2 ? 3000 : 20));
    mm::UserBuffer buffer(our_worker.user(), mm::IoBuffer::Direction::kFill, mm::UserRange{at, length});
    const auto n = buffer.Produce(length, [&](std::span<std::byte> piece) { mine.Fill(piece); });
    const auto m = GetrandomStreamRival::Getrandom(other, their_worker.user(), at, length);
    ASSERT_EQ(n.error_number(), m.error_number());
    if (n.ok()) ASSERT_EQ(*n, *m);
  }
  std::vector<std::byte> mine(kGuestBytes), other(kGuestBytes);
  ASSERT_TRUE(our_worker.user().CopyIn(mine, GuestMemory::kBase).ok());
  ASSERT_TRUE(their_worker.user().CopyIn(other, GuestMemory::kBase).ok());
  EXPECT_EQ(mine, other);
}

}  // namespace
}  // namespace remora
