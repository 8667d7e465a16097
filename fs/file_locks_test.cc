#include "fs/file_locks.h"

#include <array>
#include <random>

#include "gtest/gtest.h"

namespace remora::fs {
namespace {

const int kOwners[3] = {};
const void* Owner(int i) { return &kOwners[i]; }
FileLocks::Record Lock(int owner, uint64_t start, uint64_t end, bool exclusive) {
  return {Owner(owner), owner, {start, end}, exclusive};
}

TEST(FileLocksTest, ExclusiveRecordsExcludeOthersWhereTheyOverlap) {
  FileLocks locks;
  ASSERT_TRUE(locks.SetRecord(Lock(0, 0, 10, true)).ok());
  EXPECT_EQ(locks.SetRecord(Lock(1, 9, 11, false)).error_number(), EAGAIN);
  EXPECT_TRUE(locks.SetRecord(Lock(1, 10, 11, true)).ok());
  EXPECT_TRUE(locks.SetRecord(Lock(0, 0, 10, true)).ok());
}

TEST(FileLocksTest, TouchingLocksOfOneKindAreToldAsOne) {
  FileLocks locks;
  ASSERT_TRUE(locks.SetRecord(Lock(0, 0, 10, true)).ok());
  ASSERT_TRUE(locks.SetRecord(Lock(0, 10, 20, true)).ok());
  const auto conflict = locks.FindConflict(Lock(1, 15, 16, false));
  ASSERT_TRUE(conflict.has_value());
  EXPECT_EQ(conflict->range, (FileLocks::Range{0, 20}));
}

TEST(FileLocksTest, UnlockingTheMiddleLeavesTwoLocks) {
  FileLocks locks;
  ASSERT_TRUE(locks.SetRecord(Lock(0, 0, FileLocks::kToEnd, true)).ok());
  locks.ClearRecord(Owner(0), {5, 10});
  EXPECT_TRUE(locks.SetRecord(Lock(1, 5, 10, true)).ok());
  EXPECT_EQ(locks.SetRecord(Lock(1, 4, 5, true)).error_number(), EAGAIN);
  EXPECT_EQ(locks.SetRecord(Lock(1, 10, 11, true)).error_number(), EAGAIN);
}

TEST(FileLocksTest, FlockDoesNotSeeRecordsAndGoesWithItsOwner) {
  FileLocks locks;
  ASSERT_TRUE(locks.SetRecord(Lock(0, 0, FileLocks::kToEnd, true)).ok());
  ASSERT_TRUE(locks.SetFlock(Owner(1), true).ok());
  EXPECT_EQ(locks.SetFlock(Owner(2), false).error_number(), EAGAIN);
  locks.ReleaseOwner(Owner(1));
  EXPECT_TRUE(locks.SetFlock(Owner(2), false).ok());
}

// Beside a map of bytes: who holds each, shared or exclusively.
TEST(FileLocksTest, RandomRecordsAgreeWithAMapOfBytes) {
  constexpr uint64_t kBytes = 40;
  std::mt19937 random(1);
  FileLocks locks;
  std::array<std::array<int, kBytes>, 3> held{};  // 0 none, 1 shared, 2 exclusive
  for (int step = 0; step < 20'000; ++step) {
    const int owner = static_cast<int>(random() % 3);
    const uint64_t start = random() % kBytes, end = start + 1 + random() % (kBytes - start);
    const int kind = static_cast<int>(random() % 3);
    if (kind == 0) {
      locks.ClearRecord(Owner(owner), {start, end});
      for (uint64_t b = start; b < end; ++b) held[owner][b] = 0;
      continue;
    }
    bool conflict = false;
    for (int other = 0; other < 3; ++other)
      for (uint64_t b = start; b < end && other != owner; ++b)
        conflict |= held[other][b] == 2 || (held[other][b] == 1 && kind == 2);
    ASSERT_EQ(locks.SetRecord(Lock(owner, start, end, kind == 2)).ok(), !conflict) << step;
    if (conflict) continue;
    for (uint64_t b = start; b < end; ++b) held[owner][b] = kind;
    // Invariant 1.
    const auto records = locks.RecordsForTesting();
    for (size_t i = 0; i < records.size(); ++i)
      for (size_t j = 0; j < i; ++j) {
        if (records[i].owner != records[j].owner) continue;
        EXPECT_FALSE(records[i].range.Overlaps(records[j].range));
        if (records[i].exclusive == records[j].exclusive) {
          EXPECT_NE(records[i].range.start, records[j].range.end);
        }
      }
  }
}

}  // namespace
}  // namespace remora::fs
