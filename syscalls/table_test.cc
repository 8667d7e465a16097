#include "syscalls/table.h"

#include <fstream>
#include <set>
#include <string>

#include "gtest/gtest.h"

namespace remora::syscalls {
namespace {

TEST(SyscallTableTest, RowsStandAtTheirNumber) {
  for (uint32_t number = 0; number < kNumSyscalls; ++number) EXPECT_EQ(RowOf(number).number, number);
}

TEST(SyscallTableTest, NamesAreUniqueAndOnlyUnassignedNumbersHaveNone) {
  std::set<std::string_view> names;
  for (uint32_t number = 0; number < kNumSyscalls; ++number) {
    const SyscallRow& row = RowOf(number);
    EXPECT_EQ(row.name.empty(), row.support == Support::kUnassigned) << number;
    if (!row.name.empty()) {
      EXPECT_TRUE(names.insert(row.name).second) << row.name;
    }
  }
}

TEST(SyscallTableTest, WellKnownNumbersHaveTheirNames) {
  EXPECT_EQ(RowOf(0).name, "read");
  EXPECT_EQ(RowOf(60).name, "exit");
  EXPECT_EQ(RowOf(231).name, "exit_group");
  EXPECT_EQ(RowOf(257).name, "openat");
  EXPECT_EQ(RowOf(334).name, "rseq");
  EXPECT_EQ(RowOf(424).name, "pidfd_send_signal");
  EXPECT_EQ(RowOf(461).name, "lsm_list_modules");
}

TEST(SyscallTableTest, WhatIsThereHasAHandlerAndATestAndPartialSaysWhatIsMissing) {
  for (uint32_t number = 0; number < kNumSyscalls; ++number) {
    const SyscallRow& row = RowOf(number);
    const bool there = row.support == Support::kSupported || row.support == Support::kPartial;
    EXPECT_EQ(there, !row.handler.empty()) << row.name;
    EXPECT_EQ(there, !row.test.empty()) << row.name;
    EXPECT_EQ(row.support == Support::kPartial, there && !row.note.empty()) << row.name;
    for (uint8_t i = 0; i < row.num_args; ++i) EXPECT_NE(row.args[i], ArgKind::kNone) << row.name;
  }
}

TEST(SyscallTableTest, TheGuestTestsThatItNamesExist) {
  for (uint32_t number = 0; number < kNumSyscalls; ++number) {
    const SyscallRow& row = RowOf(number);
    if (row.test.empty()) continue;
    const std::string path = "testing/guest/" + std::string(row.test) + ".c";
    EXPECT_TRUE(std::ifstream(path).good()) << row.name << " names " << path;
  }
}

// Kinds that look at their neighbour.
TEST(SyscallTableTest, BuffersAreFollowedByTheirLength) {
  for (uint32_t number = 0; number < kNumSyscalls; ++number) {
    const SyscallRow& row = RowOf(number);
    for (uint8_t i = 0; i < row.num_args; ++i) {
      if (row.args[i] != ArgKind::kBytesIn && row.args[i] != ArgKind::kBytesOut) continue;
      ASSERT_LT(i + 1, row.num_args) << row.name;
      EXPECT_EQ(row.args[i + 1], ArgKind::kSize) << row.name;
    }
  }
}

}  // namespace
}  // namespace remora::syscalls
