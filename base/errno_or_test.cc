#include "base/errno_or.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

namespace remora {
namespace {

ErrnoOr<int> Half(int n) {
  if (n % 2 != 0) return Errno(EINVAL);
  return n / 2;
}

ErrnoOr<int> Quarter(int n) {
  REMORA_ASSIGN_OR_RETURN(const int half, Half(n));
  return Half(half);
}

ErrnoOr<void> CheckEven(int n) {
  REMORA_RETURN_IF_ERROR(Half(n));
  return Ok();
}

TEST(ErrnoOrTest, HoldsAValueOrAnError) {
  EXPECT_TRUE(Half(4).ok());
  EXPECT_EQ(*Half(4), 2);
  EXPECT_EQ(Half(4).error_number(), 0);
  EXPECT_FALSE(Half(3).ok());
  EXPECT_EQ(Half(3).error(), Errno(EINVAL));
}

TEST(ErrnoOrTest, MacrosPassErrorsOn) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).error_number(), EINVAL);
  EXPECT_TRUE(CheckEven(2).ok());
  EXPECT_EQ(CheckEven(1).error_number(), EINVAL);
}

TEST(ErrnoOrTest, CarriesWhatCanOnlyBeMoved) {
  ErrnoOr<std::unique_ptr<int>> made = std::make_unique<int>(5);
  ErrnoOr<std::unique_ptr<int>> moved = std::move(made);
  std::unique_ptr<int> taken = *std::move(moved);
  EXPECT_EQ(*taken, 5);
}

TEST(ErrnoOrTest, CopiesAndAssigns) {
  ErrnoOr<std::string> a = std::string(100, 'x');
  const ErrnoOr<std::string> b = a;
  EXPECT_EQ(b->size(), 100u);
  a = Errno(ENOENT);
  EXPECT_EQ(a.error_number(), ENOENT);
  a = std::string("again");
  EXPECT_EQ(*a, "again");
  EXPECT_EQ(b->size(), 100u);
}

TEST(ErrnoOrDeathTest, TheValueOfAnErrorIsABug) { EXPECT_DEATH((void)Half(1).value(), "ok\\(\\)"); }

}  // namespace
}  // namespace remora
