#include "mm/user_buffer.h"

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "gtest/gtest.h"
#include "mm/address_space.h"
#include "mm/io_buffer.h"
#include "mm/memory_for_testing.h"
#include "mm/tlb.h"
#include "mm/user_buffer_model.h"
#include "mm/user_memory.h"

namespace remora::mm {
namespace {

constexpr GuestAddr kBase(0x10000000);

// Pages 0-3 are mapped, 4 is a hole, 5 is read-only.
class UserBufferTest : public ::testing::Test {
 protected:
  UserBufferTest() {
    EXPECT_TRUE(space_->Map(FixedRequest(kBase, 4)).ok());
    EXPECT_TRUE(space_->Map(FixedRequest(kBase + 5 * kPageSize, 1, Protection(1))).ok());
    tlb_->Bind(space_.get(), space_->id());
  }
  UserBuffer Fill(UserRange range) { return UserBuffer(user_, IoBuffer::Direction::kFill, range); }
  UserBuffer Drain(UserRange range) { return UserBuffer(user_, IoBuffer::Direction::kDrain, range); }
  std::string ReadBack(GuestAddr at, uint64_t n) {
    std::string text(n, '?');
    EXPECT_TRUE(user_.CopyIn(std::as_writable_bytes(std::span(text)), at).ok());
    return text;
  }

  MemoryForTesting memory_;
  Ref<AddressSpace> space_ = AddressSpace::Create(&memory_.context, memory_.layout);
  std::unique_ptr<Tlb> tlb_ = std::make_unique<Tlb>();
  UserMemory user_{tlb_.get()};
};

// --- UserMemory ---

TEST_F(UserBufferTest, CopiesCrossPages) {
  const std::string text(2 * kPageSize, 'x');
  ASSERT_TRUE(user_.CopyOut(kBase + 100, std::as_bytes(std::span(text))).ok());
  EXPECT_EQ(ReadBack(kBase + 100, text.size()), text);
  EXPECT_EQ(space_->num_resident_pages(), 3u);
}

TEST_F(UserBufferTest, CopiesIntoHolesAndReadOnlyPagesAreEfault) {
  const uint64_t value = 7;
  EXPECT_EQ(user_.Write(kBase + 4 * kPageSize - 4, value).error_number(), EFAULT);
  EXPECT_EQ(user_.Write(kBase + 5 * kPageSize, value).error_number(), EFAULT);
  EXPECT_EQ(user_.Read<uint64_t>(GuestAddr(~uint64_t{0} - 3)).error_number(), EFAULT);
  EXPECT_TRUE(user_.Read<uint64_t>(kBase + 5 * kPageSize).ok());
}

TEST_F(UserBufferTest, ZeroFillsExactlyTheRange) {
  const std::string text(kPageSize + 20, 'x');
  ASSERT_TRUE(user_.CopyOut(kBase, std::as_bytes(std::span(text))).ok());
  ASSERT_TRUE(user_.Zero(kBase + 10, kPageSize).ok());
  EXPECT_EQ(ReadBack(kBase, text.size()), std::string(10, 'x') + std::string(kPageSize, '\0') + std::string(10, 'x'));
}

TEST_F(UserBufferTest, StringsEndAtTheirNul) {
  const std::string text("/bin/sh\0rest", 12);
  const GuestAddr at = kBase + kPageSize - 3;
  ASSERT_TRUE(user_.CopyOut(at, std::as_bytes(std::span(text))).ok());
  EXPECT_EQ(*user_.ReadString(at, 4096), "/bin/sh");
  EXPECT_EQ(*user_.ReadString(at, 8), "/bin/sh");
  EXPECT_EQ(user_.ReadString(at, 7).error_number(), ENAMETOOLONG);
  EXPECT_EQ(user_.ReadString(kBase + 4 * kPageSize, 10).error_number(), EFAULT);
}

TEST_F(UserBufferTest, WordsAreAligned) {
  EXPECT_TRUE(user_.StoreWord(kBase, 5).ok());
  EXPECT_EQ(*user_.LoadWord(kBase), 5u);
  EXPECT_FALSE(*user_.CompareExchangeWord(kBase, 4, 6));
  EXPECT_TRUE(*user_.CompareExchangeWord(kBase, 5, 6));
  EXPECT_EQ(*user_.LoadWord(kBase), 6u);
  EXPECT_EQ(user_.LoadWord(kBase + 2).error_number(), EINVAL);
  EXPECT_EQ(user_.StoreWord(kBase + 4 * kPageSize, 1).error_number(), EFAULT);
}

// --- UserBuffer ---

TEST_F(UserBufferTest, AFillStopsAtTheFaultAndSaysHowFarItCame) {
  UserBuffer buffer = Fill({kBase + 4 * kPageSize - 10, 100});
  const std::string text(100, 'y');
  EXPECT_EQ(*buffer.Write(std::as_bytes(std::span(text))), 10u);
  EXPECT_EQ(buffer.remaining(), 90u);
  EXPECT_EQ(buffer.transferred(), 10u);
  EXPECT_EQ(buffer.Peek(1).error_number(), EFAULT);
  EXPECT_EQ(buffer.Write(std::as_bytes(std::span(text))).error_number(), EFAULT);
  EXPECT_EQ(ReadBack(kBase + 4 * kPageSize - 10, 10), std::string(10, 'y'));
}

TEST_F(UserBufferTest, PeekTouchesNoPageBeyondItsOwn) {
  UserBuffer buffer = Fill({kBase + 10, 3 * kPageSize});
  EXPECT_EQ(buffer.Peek(~uint64_t{0})->size(), kPageSize - 10);
  EXPECT_EQ(space_->num_resident_pages(), 1u);
}

TEST_F(UserBufferTest, GatherEndsEarlyAtAFault) {
  UserBuffer buffer = Fill({kBase + 2 * kPageSize, 4 * kPageSize});
  std::array<iovec, 8> pieces;
  const uint32_t count = *buffer.Gather(pieces, ~uint64_t{0});
  uint64_t total = 0;
  for (uint32_t i = 0; i < count; ++i) total += pieces[i].iov_len;
  EXPECT_EQ(total, 2 * kPageSize);
  buffer.Advance(total);
  EXPECT_EQ(buffer.Gather(pieces, 1).error_number(), EFAULT);
}

TEST_F(UserBufferTest, GatherKeepsToItsLimits) {
  UserBuffer::Ranges ranges{{kBase, 10}, {kBase + 100, 0}, {kBase + 200, 10}, {kBase + 300, 10}};
  UserBuffer buffer(user_, IoBuffer::Direction::kFill, ranges);
  EXPECT_EQ(buffer.remaining(), 30u);
  std::array<iovec, 2> pieces;
  EXPECT_EQ(*buffer.Gather(pieces, ~uint64_t{0}), 2u);
  EXPECT_EQ(*buffer.Gather(pieces, 5), 1u);
  EXPECT_EQ(pieces[0].iov_len, 5u);
  EXPECT_EQ(*buffer.Gather(pieces, 0), 0u);
}

TEST_F(UserBufferTest, PiecesAreFilledInOrder) {
  UserBuffer::Ranges ranges{{kBase + 100, 2}, {kBase, 0}, {kBase + kPageSize - 1, 3}, {kBase + 50, 4}};
  UserBuffer buffer(user_, IoBuffer::Direction::kFill, ranges);
  const std::string text = "abcdefg";
  EXPECT_EQ(*buffer.Write(std::as_bytes(std::span(text))), 7u);
  EXPECT_EQ(buffer.remaining(), 2u);
  EXPECT_EQ(ReadBack(kBase + 100, 2), "ab");
  EXPECT_EQ(ReadBack(kBase + kPageSize - 1, 3), "cde");
  EXPECT_EQ(ReadBack(kBase + 50, 4), std::string("fg\0\0", 4));
  EXPECT_EQ(*buffer.WriteZeros(100), 2u);
  EXPECT_EQ(buffer.remaining(), 0u);
  EXPECT_EQ(buffer.Peek(1)->size(), 0u);
}

TEST_F(UserBufferTest, ADrainReadsReadOnlyPages) {
  UserBuffer buffer = Drain({kBase + 5 * kPageSize, 100});
  std::array<std::byte, 200> bytes;
  EXPECT_EQ(*buffer.Read(bytes), 100u);
  UserBuffer fill = Fill({kBase + 5 * kPageSize, 100});
  EXPECT_EQ(fill.Peek(1).error_number(), EFAULT);
}

TEST_F(UserBufferTest, IovecsAreCheckedAsLinuxDoes) {
  struct Pair {
    uint64_t base, length;
  };
  auto put = [&](uint64_t i, Pair pair) { ASSERT_TRUE(user_.Write(kBase + i * sizeof(Pair), pair).ok()); };
  EXPECT_EQ(UserBuffer::ReadIovecs(user_, kBase, 1025).error_number(), EINVAL);
  EXPECT_TRUE(UserBuffer::ReadIovecs(user_, GuestAddr(0), 0).ok());
  EXPECT_EQ(UserBuffer::ReadIovecs(user_, GuestAddr(0), 1).error_number(), EFAULT);
  put(0, {kBase.value(), 0x7fffffff});
  put(1, {kBase.value(), 5});
  const UserBuffer::Ranges ranges = *UserBuffer::ReadIovecs(user_, kBase, 2);
  EXPECT_EQ(ranges[0].length_bytes, 0x7ffff000u);
  EXPECT_EQ(ranges[1].length_bytes, 0u);
  put(1, {kBase.value(), ~uint64_t{0}});
  EXPECT_EQ(UserBuffer::ReadIovecs(user_, kBase, 2).error_number(), EINVAL);
  put(1, {kUserAddressEnd - 2, 5});
  EXPECT_EQ(UserBuffer::ReadIovecs(user_, kBase, 2).error_number(), EFAULT);
}

TEST_F(UserBufferTest, TheFirstThingWrongInAnArrayDecides) {
  const GuestAddr last = kBase + 4 * kPageSize - sizeof(UserRange);  // a hole follows
  ASSERT_TRUE(user_.Write(last, UserRange{kBase, ~uint64_t{0}}).ok());
  EXPECT_EQ(UserBuffer::ReadIovecs(user_, last, 2).error_number(), EINVAL);
  ASSERT_TRUE(user_.Write(last, UserRange{kBase, 1}).ok());
  EXPECT_EQ(UserBuffer::ReadIovecs(user_, last, 2).error_number(), EFAULT);
  // Lengths come before addresses.
  ASSERT_TRUE(user_.Write(kBase, UserRange{GuestAddr(kUserAddressEnd), 1}).ok());
  ASSERT_TRUE(user_.Write(kBase + 16, UserRange{kBase, ~uint64_t{0}}).ok());
  EXPECT_EQ(UserBuffer::ReadIovecs(user_, kBase, 2).error_number(), EINVAL);
}

TEST_F(UserBufferTest, ProduceStopsWhenASignalWaitsButNotBelowAPage) {
  ASSERT_TRUE(space_->Map(FixedRequest(kBase + 8 * kPageSize, 64)).ok());
  bool pending = false;
  UserBuffer buffer = Fill({kBase + 8 * kPageSize + 100, 60 * kPageSize});
  buffer.set_interrupt([](const void* p) { return *static_cast<const bool*>(p); }, &pending);
  uint64_t made = 0;
  const auto produce = [&](std::span<std::byte> piece) { made += piece.size(); };
  EXPECT_EQ(*buffer.Produce(20 * kPageSize, produce), 20 * kPageSize);
  pending = true;
  EXPECT_EQ(*buffer.Produce(kPageSize - 1, produce), kPageSize - 1);
  const uint64_t n = *buffer.Produce(~uint64_t{0}, produce);
  EXPECT_GE(n, kPageSize);
  EXPECT_LE(n, 16 * kPageSize);
  EXPECT_EQ(made, buffer.transferred());
}

TEST_F(UserBufferTest, ProduceMakesNoByteThatDoesNotFit) {
  UserBuffer buffer = Fill({kBase + 4 * kPageSize - 6, 20});
  uint64_t made = 0;
  EXPECT_EQ(*buffer.Produce(20, [&](std::span<std::byte> piece) { made += piece.size(); }), 6u);
  EXPECT_EQ(made, 6u);
  EXPECT_EQ(buffer.Produce(1, [&](std::span<std::byte> piece) { made += piece.size(); }).error_number(), EFAULT);
  EXPECT_EQ(made, 6u);
}

// Random ranges, some of them empty, over writable, read-only and missing pages.
TEST(UserBufferModelTest, AgreesWithCountingBytes) {
#ifdef NDEBUG
  constexpr uint64_t kOperations = 1'000'000;
#else
  constexpr uint64_t kOperations = 20'000;
#endif
  ModelMemory memory;
  std::mt19937_64 random(11);
  const auto below = [&](uint64_t n) { return random() % n; };
  uint64_t operations = 0;
  for (uint32_t round = 0; operations < kOperations; ++round) {
    std::vector<UserRange> ranges(below(12));
    for (UserRange& range : ranges) {
      range.start = ModelMemory::kBase + below(below(4) == 0 ? ModelMemory::kPages * kPageSize : 4 * kPageSize);
      range.length_bytes = below(5) == 0 ? 0 : below(below(16) == 0 ? 2 * kPageSize : 120);
    }
    const auto direction = below(2) == 0 ? IoBuffer::Direction::kFill : IoBuffer::Direction::kDrain;
    UserBuffer buffer(memory.user(), direction, ranges);
    UserBufferModel model(direction, ranges);
    bool more = true;
    while (more) {
      more = StepBoth(memory, buffer, model, static_cast<uint32_t>(random()), below(below(8) == 0 ? 5000 : 40));
      ++operations;
    }
    if (round % 512 == 0) memory.Check();
  }
  memory.Check();
}

}  // namespace
}  // namespace remora::mm
