#include "cpu/translator/extent_sharing.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "base/guest_addr.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/guest_context.h"

namespace remora::cpu::translator {
namespace {

constexpr uint32_t kClassOfEight = 3;
constexpr uint64_t kFirst = 0x10000000, kFar = 0x20000000, kRunBytes = 16 * kPageSize;

class ExtentSharingTest : public testing::Test {
 protected:
  ExtentSharingTest() { context_->tlb = machine_.tlb.get(); }

  void Map(uint64_t address, uint64_t num_pages = 1) {
    machine_.memory.Map(address, num_pages, mm::Protection(3));
    for (uint64_t i = 0; i < num_pages; ++i) machine_.tlb->Fill(GuestAddr(address + i * kPageSize), mm::Access::kWrite);
  }
  std::optional<uint32_t> Choose(uint64_t address, bool write = false, uint32_t size_class = kClassOfEight) {
    return sharing_.Choose(context_.get(), size_class, write, address,
                           [&] { return FirstExtentOf(size_class) + num_new_++; });
  }
  const Extent& At(std::optional<uint32_t> number, bool write = false) const {
    return context_->extent(write, number.value());
  }

  FakeMachine machine_;
  const std::unique_ptr<GuestContext> context_ = std::make_unique<GuestContext>();
  ExtentSharing sharing_;
  uint32_t num_new_ = 0;
};

TEST_F(ExtentSharingTest, NeighboursInTheSameRunHaveTheSameOne) {
  EXPECT_FALSE(Choose(kFirst));  // not known at once
  EXPECT_EQ(num_new_, 0u);
  Map(kFirst, 3);
  const std::optional<uint32_t> number = Choose(kFirst + 100);
  ASSERT_TRUE(number);
  EXPECT_EQ(SizeClassOf(*number), kClassOfEight);
  EXPECT_LE(At(number).start, kFirst + 100);
  EXPECT_EQ(At(number).host - At(number).start, At(number).delta);
  EXPECT_EQ(context_->used_extents[0], *number);
  EXPECT_EQ(Choose(kFirst), number);
  EXPECT_EQ(num_new_, 1u);
  // Of another right, or another size.
  EXPECT_NE(At(Choose(kFirst, /*write=*/true), /*write=*/true).host, 0u);
  EXPECT_NE(Choose(kFirst, /*write=*/false, /*size_class=*/2), number);
  EXPECT_EQ(num_new_, 3u);
}

TEST_F(ExtentSharingTest, WhoIsInAnotherRunHasAnother) {
  std::set<uint32_t> numbers;
  for (uint64_t i = 0; i < ExtentSharing::kWindow; ++i) {
    Map(kFar + i * kRunBytes);
    const std::optional<uint32_t> number = Choose(kFar + i * kRunBytes + 8);
    EXPECT_EQ(At(number).start, kFar + i * kRunBytes);
    numbers.insert(number.value());
  }
  EXPECT_EQ(numbers.size(), ExtentSharing::kWindow);
  // All of them are still known, whatever the order; one more, and the oldest is not.
  for (uint64_t i = 0; i < ExtentSharing::kWindow; ++i)
    EXPECT_TRUE(numbers.contains(Choose(kFar + i * kRunBytes).value()));
  Map(kFirst);
  EXPECT_FALSE(numbers.contains(Choose(kFirst).value()));
  EXPECT_TRUE(numbers.contains(Choose(kFar + kRunBytes).value()));
  EXPECT_FALSE(numbers.contains(Choose(kFar).value()));
}

TEST_F(ExtentSharingTest, NotMoreSitesThanAFewHaveOne) {
  Map(kFirst);
  const std::optional<uint32_t> number = Choose(kFirst);
  for (uint32_t i = 1; i < ExtentSharing::kMaxSites; ++i) EXPECT_EQ(Choose(kFirst + 8 * i), number);
  EXPECT_NE(Choose(kFirst), number);
}

TEST_F(ExtentSharingTest, OneThatHoldsSomethingElseByNowIsNotShared) {
  Map(kFirst);
  const std::optional<uint32_t> number = Choose(kFirst);
  context_->extent(false, *number) = Extent();
  EXPECT_NE(Choose(kFirst), number);
}

}  // namespace
}  // namespace remora::cpu::translator
