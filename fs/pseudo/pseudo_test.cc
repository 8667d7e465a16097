#include <fcntl.h>
#include <sys/stat.h>

#include <string>

#include "fs/pseudo/pseudo_directory.h"
#include "fs/pseudo/pseudo_symlink.h"
#include "fs/pseudo/snapshot_file.h"
#include "fs/vfs_for_testing.h"
#include "gtest/gtest.h"

namespace remora::fs {
namespace {

// Children "0", "10", "20" ... are found by number.
class Tens final : public PseudoDirectory {
 public:
  Tens(PseudoFileSystem* fs, int* num_lookups) : PseudoDirectory(fs), fs_(fs), num_lookups_(num_lookups) {}
  bool cacheable_lookups() const override { return false; }

 protected:
  ErrnoOr<Ref<Inode>> LookupDynamic(std::string_view name) override {
    ++*num_lookups_;
    if (name.empty() || name.back() != '0') return Errno(ENOENT);
    return Ref<Inode>(MakeRef<PseudoDirectory>(fs_, 0555, 1000 + std::stoul(std::string(name))));
  }
  ErrnoOr<void> ListDynamic(uint64_t from_key, absl::FunctionRef<bool(const DynamicEntry&)> visit) override {
    for (uint64_t n = (from_key + 9) / 10 * 10; n < 1000; n += 10)
      if (!visit({n, std::to_string(n), 1000 + n, S_IFDIR >> 12})) break;
    return Ok();
  }

 private:
  PseudoFileSystem* const fs_;
  int* const num_lookups_;
};

class PseudoTest : public ::testing::Test {
 protected:
  PseudoTest() {
    t_.vfs().MountRoot(t_.NewTmpfs(), 0);
    CHECK(t_.MakeDirectory("/proc") == 0);
    auto root = MakeRef<Tens>(fs_.get(), &num_lookups_);
    root->Add(
        "count",
        MakeRef<SnapshotInode>(
            fs_.get(), [this]() -> ErrnoOr<std::string> { return "made " + std::to_string(++num_made_) + "\n"; }, 0644,
            [this](std::string_view text) -> ErrnoOr<void> {
              written_ = text;
              return text == "bad" ? Errno(EINVAL) : Ok();
            }));
    root->Add("self", MakeRef<PseudoSymlink>(fs_.get(), [](const CallerIds& caller) -> ErrnoOr<std::string> {
                return std::to_string(caller.process_id);
              }));
    root->Add("jump", MakeRef<PseudoSymlink>(
                          fs_.get(), [](const CallerIds&) -> ErrnoOr<std::string> { return std::string("pipe:[1]"); },
                          [this]() -> ErrnoOr<Path> { return t_.vfs().Resolve(t_.context(), "/elsewhere"); }));
    fs_->set_root(root);
    CHECK(t_.vfs().Mount(t_.context(), "/proc", fs_, "proc", 0).ok());
  }

  VfsForTesting t_;
  HostClock clock_;
  int num_lookups_ = 0, num_made_ = 0;
  std::string written_;
  Ref<PseudoFileSystem> fs_ = MakeRef<PseudoFileSystem>("proc", 0x9fa0, 77, &clock_);
};

TEST_F(PseudoTest, ContentIsMadeOnceUntilTheReaderRewinds) {
  auto file = t_.vfs().Open(t_.context(), "/proc/count", {.flags = O_RDONLY, .permissions = 0, .resolve = 0});
  ASSERT_TRUE(file.ok());
  std::string all;
  for (uint64_t i = 0;; ++i) {
    const std::string byte = VfsForTesting::Read(**file, i, 1);
    if (byte.empty()) break;
    all += byte;
  }
  EXPECT_EQ(all, "made 1\n");
  EXPECT_EQ(num_made_, 1);
  EXPECT_EQ(VfsForTesting::Read(**file, 0), "made 2\n");
  EXPECT_EQ(t_.Stat("/proc/count")->size_bytes, 0u);
}

TEST_F(PseudoTest, AWriteReachesTheFunction) {
  EXPECT_EQ(t_.WriteFile("/proc/count", "5\n"), 0);
  EXPECT_EQ(written_, "5\n");
  EXPECT_EQ(t_.WriteFile("/proc/count", "bad"), EINVAL);
  EXPECT_EQ(t_.WriteFile("/proc/count", std::string(5000, 'x')), EINVAL);
  EXPECT_EQ(t_.WriteFile("/proc/new", "x"), EPERM);
}

TEST_F(PseudoTest, SelfDependsOnWhoAsks) {
  WalkContext c = t_.context();
  c.caller.process_id = 20;
  EXPECT_EQ(t_.vfs().ReadLink(c, "/proc/self").value(), "20");
  EXPECT_EQ(t_.vfs().Stat(c, "/proc/self/", {}).value().inode_number, 1020u);
  c.caller.process_id = 30;
  EXPECT_EQ(t_.vfs().Stat(c, "/proc/self/", {}).value().inode_number, 1030u);
}

TEST_F(PseudoTest, AMagicLinkJumps) {
  ASSERT_EQ(t_.WriteFile("/elsewhere", "there"), 0);
  EXPECT_EQ(t_.vfs().ReadLink(t_.context(), "/proc/jump").value(), "pipe:[1]");
  EXPECT_EQ(t_.ReadFile("/proc/jump"), "there");
  EXPECT_EQ(
      t_.vfs().Open(t_.context(), "/proc/jump", {.flags = O_RDONLY, .permissions = 0, .resolve = 2}).error_number(),
      ELOOP);  // RESOLVE_NO_MAGICLINKS
}

TEST_F(PseudoTest, AnAnonymousInodeCanBeJumpedTo) {
  Ref<Inode> inode = t_.vfs().Resolve(t_.context(), "/proc").value().dentry->inode();
  const Path path = t_.vfs().PathOfAnonymous(inode);
  EXPECT_EQ(t_.vfs().NameOf(path, t_.vfs().root()), "");
  EXPECT_TRUE(t_.vfs().OpenAt(t_.context(), path, O_RDONLY).ok());
}

TEST_F(PseudoTest, DynamicChildrenAreFoundByNameAndListedInOrder) {
  EXPECT_TRUE(t_.Stat("/proc/120").ok());
  EXPECT_EQ(t_.Stat("/proc/121").error_number(), ENOENT);
  EXPECT_EQ(num_lookups_, 2);
  const std::vector<std::string> names = t_.List("/proc");
  ASSERT_EQ(names.size(), 103u);
  EXPECT_EQ(names[0], "count");
  EXPECT_EQ(names[3], "0");
  EXPECT_EQ(names[102], "990");
  EXPECT_EQ(num_lookups_, 2);  // a listing looks nothing up
}

TEST_F(PseudoTest, AListingGoesOnWhereItStopped) {
  auto file = t_.vfs().Open(t_.context(), "/proc", {.flags = O_RDONLY, .permissions = 0, .resolve = 0});
  ASSERT_TRUE(file.ok());
  uint64_t position = 0;
  int num_names = 0;
  for (bool more = true; more;) {
    more = false;
    ASSERT_TRUE((*file)
                    ->ReadDirectory(position,
                                    [&](const DirectoryEntry& entry) {
                                      if (more) return false;
                                      position = entry.next_offset;
                                      ++num_names;
                                      return more = true;
                                    })
                    .ok());
  }
  EXPECT_EQ(num_names, 105);
}

}  // namespace
}  // namespace remora::fs
