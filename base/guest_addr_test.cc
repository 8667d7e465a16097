#include "base/guest_addr.h"

#include <gtest/gtest.h>

namespace remora {
namespace {

TEST(GuestAddrTest, SplitsIntoPageAndOffset) {
  constexpr GuestAddr addr(0x12345);
  EXPECT_EQ(addr.page(), PageNumber(0x12));
  EXPECT_EQ(addr.page_offset(), 0x345u);
  EXPECT_FALSE(addr.page_aligned());
  EXPECT_EQ(GuestAddr(addr.page()), GuestAddr(0x12000));
}

TEST(GuestAddrTest, ArithmeticWrapsAndCheckedAddDoesNot) {
  constexpr GuestAddr last(~uint64_t{0});
  EXPECT_EQ(last + 1, GuestAddr(0));
  EXPECT_EQ(last.CheckedAdd(1), std::nullopt);
  EXPECT_EQ(last.CheckedAdd(0), last);
  EXPECT_EQ(GuestAddr(16) - GuestAddr(6), 10u);
}

TEST(PageRoundTest, RoundsToWholePages) {
  EXPECT_EQ(PageRoundUp(0), 0u);
  EXPECT_EQ(PageRoundUp(1), kPageSize);
  EXPECT_EQ(PageRoundUp(kPageSize), kPageSize);
  EXPECT_EQ(PageRoundDown(kPageSize - 1), 0u);
}

TEST(PageRangeTest, ForUserRoundsTheLengthUp) {
  EXPECT_EQ(PageRange::ForUser(GuestAddr(0x1000), 1), (PageRange{PageNumber(1), PageNumber(2)}));
  EXPECT_EQ(PageRange::ForUser(GuestAddr(0x1000), 0x1001), (PageRange{PageNumber(1), PageNumber(3)}));
  EXPECT_TRUE(PageRange::ForUser(GuestAddr(0x1000), 0)->empty());
}

TEST(PageRangeTest, ForUserRefusesWhatIsNoUserMemory) {
  EXPECT_EQ(PageRange::ForUser(GuestAddr(0x1001), 1), std::nullopt);
  EXPECT_EQ(PageRange::ForUser(GuestAddr(kUserAddressEnd), 1), std::nullopt);
  EXPECT_EQ(PageRange::ForUser(GuestAddr(0x1000), kUserAddressEnd), std::nullopt);
  EXPECT_EQ(PageRange::ForUser(GuestAddr(0x1000), ~uint64_t{0}), std::nullopt);
  EXPECT_EQ(PageRange::ForUser(GuestAddr(~kPageMask), 2 * kPageSize), std::nullopt);
  EXPECT_TRUE(PageRange::ForUser(GuestAddr(0), kUserAddressEnd));
  EXPECT_TRUE(PageRange::ForUser(GuestAddr(kUserAddressEnd), 0)->empty());
}

TEST(PageRangeTest, ContainsAndOverlaps) {
  constexpr PageRange range{PageNumber(10), PageNumber(20)};
  EXPECT_TRUE(range.Contains(PageNumber(19)));
  EXPECT_FALSE(range.Contains(PageNumber(20)));
  EXPECT_TRUE(range.Overlaps({PageNumber(19), PageNumber(30)}));
  EXPECT_FALSE(range.Overlaps({PageNumber(20), PageNumber(30)}));
  EXPECT_TRUE(range.Contains(PageRange{PageNumber(10), PageNumber(20)}));
  EXPECT_EQ(range.length_bytes(), 10 * kPageSize);
}

}  // namespace
}  // namespace remora
