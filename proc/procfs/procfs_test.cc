#include "proc/procfs/procfs.h"

#include <fcntl.h>

#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/dentry_cache.h"
#include "fs/file.h"
#include "fs/path_walk.h"
#include "gtest/gtest.h"
#include "mm/io_buffer.h"
#include "proc/pid_table.h"
#include "proc/procfs/numbers.h"
#include "proc/task_builder.h"
#include "proc/testing/scripted_kernel.h"

namespace remora::proc {
namespace {

// The procfs of a Kernel whose processes never run.
class ProcfsTest : public ::testing::Test {
 protected:
  Kernel& kernel() { return scripted_.kernel(); }
  PidTable& pids() { return kernel().pids(); }
  void Publish(int32_t pid) {
    pids().Publish(pid, TaskBuilder::NewTask(&kernel(), pid, TaskBuilder::NewGroup(&kernel(), pid)));
  }
  int32_t NewProcess() {
    const int32_t pid = pids().Allocate().value();
    Publish(pid);
    return pid;
  }
  Ref<fs::Dentry> Find(const Ref<fs::Dentry>& directory, std::string_view name) {
    auto found = fs::LookupName(cache_, directory, name);
    return found.ok() ? *found : nullptr;
  }
  Ref<fs::Dentry> Find(int32_t pid) { return Find(root_, NumberName(pid).view()); }
  static std::string ReadAll(fs::File& file) {
    std::string bytes(4096, '\0');
    mm::KernelBuffer buffer(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(bytes)));
    const auto n = file.Read(buffer, 0);
    if (!n.ok()) return "errno " + std::to_string(n.error_number());
    bytes.resize(*n);
    return bytes;
  }

  ScriptedKernel scripted_{1};
  sync::Reclaimer::ReadSection section_{&kernel().reclaimer()};
  Ref<fs::FileSystem> procfs_ = MakeProcfs(&kernel());
  fs::DentryCache cache_{&kernel().reclaimer()};
  Ref<fs::Dentry> root_ = cache_.MakeRoot(procfs_->root());
};

TEST_F(ProcfsTest, AKnownProcessIsFoundAgainWithoutALockOrANewInode) {
  const int32_t pid = NewProcess();
  const Ref<fs::Dentry> first = Find(pid), status = Find(first, "status");
  ASSERT_TRUE(status);
  const uint64_t before = LocksTakenByThisThread();
  EXPECT_EQ(Find(pid), first);
  EXPECT_EQ(Find(first, "status"), status);
  EXPECT_EQ(LocksTakenByThisThread(), before);
}

TEST_F(ProcfsTest, ANumberThatIsUsedAgainIsAnotherProcess) {
  const int32_t pid = NewProcess();
  const Ref<fs::Dentry> first = Find(pid);
  const Ref<fs::File> comm = Find(first, "comm")->inode()->Open(fs::Path(), O_RDONLY).value();
  EXPECT_EQ(ReadAll(*comm), "\n");
  pids().Hold(pid);  // so that the number can be published again at once
  pids().Remove(pid);
  EXPECT_FALSE(Find(pid));
  Publish(pid);
  const Ref<fs::Dentry> second = Find(pid);
  ASSERT_TRUE(second);
  EXPECT_NE(second, first);
  EXPECT_TRUE(Find(second, "comm"));
  // Who still knows the first one does not get to the second by it.
  EXPECT_EQ(ReadAll(*comm), "errno 3");
  EXPECT_EQ(fs::LookupName(cache_, first, "comm").error_number(), ESRCH);
}

TEST_F(ProcfsTest, TasksThatWereReapedAreNotKept) {
  const int32_t pid = NewProcess();
  Ref<Task> task = pids().FindTask(pid);
  const Ref<fs::Dentry> directory = Find(pid), stat = Find(directory, "stat"), fd = Find(directory, "fd");
  pids().Remove(pid);
  EXPECT_EQ(task->ref_count(), 1u);
}

TEST_F(ProcfsTest, ForksGoOnWhileAListingStandsStill) {
  std::set<int32_t> expected;
  for (int i = 0; i < 300; ++i) expected.insert(NewProcess());
  const Ref<fs::File> directory = procfs_->root()->Open(fs::Path(), O_RDONLY).value();
  std::set<int32_t> seen;
  int32_t last = 0;
  ASSERT_TRUE(directory
                  ->ReadDirectory(2,
                                  [&](const fs::DirectoryEntry& entry) {
                                    const auto pid = ParseNumber(entry.name);
                                    if (!pid) return true;
                                    AssertNoLocksHeld();
                                    EXPECT_GT(*pid, last);
                                    last = *pid;
                                    EXPECT_TRUE(seen.insert(*pid).second);
                                    if (seen.size() <= 300) pids().Remove(NewProcess());
                                    return true;
                                  })
                  .ok());
  EXPECT_EQ(seen, expected);
}

TEST_F(ProcfsTest, TenThousandProcessesAreListedInSmallPieces) {
  constexpr int kProcesses = 10'000;
  for (int i = 0; i < kProcesses; ++i) NewProcess();
  const Ref<fs::File> directory = procfs_->root()->Open(fs::Path(), O_RDONLY).value();
  uint64_t position = 2;
  int num_processes = 0;
  for (bool more = true; more;) {
    int num_taken = 0;
    ASSERT_TRUE(directory
                    ->ReadDirectory(position,
                                    [&](const fs::DirectoryEntry& entry) {
                                      if (num_taken == 10) return false;
                                      ++num_taken;
                                      position = entry.next_offset;
                                      num_processes += ParseNumber(entry.name).has_value();
                                      return true;
                                    })
                    .ok());
    more = num_taken != 0;
  }
  EXPECT_EQ(num_processes, kProcesses);
}

}  // namespace
}  // namespace remora::proc
