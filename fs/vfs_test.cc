#include "fs/vfs.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "fs/vfs_for_testing.h"
#include "gtest/gtest.h"

namespace remora::fs {
namespace {

class VfsTest : public ::testing::Test {
 protected:
  VfsTest() { t_.vfs().MountRoot(t_.NewTmpfs({.root_permissions = 0755, .uid = 0, .gid = 0}), 0); }
  int OpenErrno(std::string_view path, uint32_t flags, uint64_t resolve = 0) {
    return OpenErrno(t_.context(), path, flags, resolve);
  }
  int OpenErrno(const WalkContext& context, std::string_view path, uint32_t flags, uint64_t resolve = 0) {
    return vfs().Open(context, path, {.flags = flags, .permissions = 0644, .resolve = resolve}).error_number();
  }
  int StatErrno(std::string_view path) { return t_.Stat(path).error_number(); }
  int Symlink(std::string_view text, std::string_view path) {
    return vfs().MakeSymlink(t_.context(), text, path).error_number();
  }
  int Rename(std::string_view a, std::string_view b) {
    return vfs().Rename(t_.context(), a, t_.context(), b, 0).error_number();
  }
  // A context whose working directory is `path`.
  WalkContext At(std::string_view path) {
    WalkContext c = t_.context();
    c.start = vfs().Resolve(c, path).value();
    return c;
  }
  Vfs& vfs() { return t_.vfs(); }

  VfsForTesting t_;
};

TEST_F(VfsTest, FortySymlinksAreFollowedAndNoMore) {
  ASSERT_EQ(t_.WriteFile("/l0", "end"), 0);
  for (int i = 1; i <= 41; ++i) ASSERT_EQ(Symlink("l" + std::to_string(i - 1), "/l" + std::to_string(i)), 0);
  EXPECT_EQ(t_.ReadFile("/l40"), "end");
  EXPECT_EQ(OpenErrno("/l41", O_RDONLY), ELOOP);
  ASSERT_EQ(Symlink("loop", "/loop"), 0);
  EXPECT_EQ(StatErrno("/loop"), ELOOP);
}

TEST_F(VfsTest, LengthsAreChecked) {
  EXPECT_EQ(StatErrno("/" + std::string(255, 'a')), ENOENT);
  EXPECT_EQ(StatErrno("/" + std::string(256, 'a')), ENAMETOOLONG);
  EXPECT_EQ(StatErrno(std::string(4095, '/')), 0);
  EXPECT_EQ(StatErrno(std::string(4096, '/')), ENAMETOOLONG);
  EXPECT_EQ(StatErrno(""), ENOENT);
}

TEST_F(VfsTest, OpenThroughADanglingSymlinkCreatesItsTarget) {
  ASSERT_EQ(t_.MakeDirectory("/d"), 0);
  ASSERT_EQ(Symlink("d/new", "/link"), 0);
  EXPECT_EQ(OpenErrno("/link", O_CREAT | O_EXCL | O_WRONLY), EEXIST);
  EXPECT_EQ(OpenErrno("/link", O_CREAT | O_NOFOLLOW | O_WRONLY), ELOOP);
  EXPECT_EQ(t_.WriteFile("/link", "x"), 0);
  EXPECT_EQ(t_.ReadFile("/d/new"), "x");
}

TEST_F(VfsTest, ResolveFlagsKeepTheWalkIn) {
  ASSERT_EQ(t_.MakeDirectory("/jail"), 0);
  ASSERT_EQ(t_.MakeDirectory("/jail/sub"), 0);
  ASSERT_EQ(t_.WriteFile("/jail/file", "in"), 0);
  ASSERT_EQ(t_.WriteFile("/file", "out"), 0);
  ASSERT_EQ(Symlink("/file", "/jail/absolute"), 0);
  ASSERT_EQ(Symlink("../file", "/jail/relative"), 0);
  const WalkContext jail = At("/jail");
  EXPECT_EQ(OpenErrno(jail, "sub/../file", O_RDONLY, RESOLVE_BENEATH), 0);
  EXPECT_EQ(OpenErrno(jail, "../file", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  EXPECT_EQ(OpenErrno(jail, "absolute", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  EXPECT_EQ(OpenErrno(jail, "relative", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  EXPECT_EQ(OpenErrno(jail, "/file", O_RDONLY, RESOLVE_BENEATH), EXDEV);
  EXPECT_EQ(OpenErrno(jail, "relative", O_RDONLY, RESOLVE_NO_SYMLINKS), ELOOP);
  for (const char* path : {"absolute", "relative", "/file", "../../file"}) {
    auto file = vfs().Open(jail, path, {.flags = O_RDONLY, .permissions = 0, .resolve = RESOLVE_IN_ROOT});
    ASSERT_TRUE(file.ok()) << path;
    EXPECT_EQ(VfsForTesting::Read(**file), "in") << path;
  }
}

TEST_F(VfsTest, DotDotStopsAtTheCallersRoot) {
  ASSERT_EQ(t_.MakeDirectory("/new_root"), 0);
  ASSERT_EQ(t_.WriteFile("/new_root/file", "in"), 0);
  WalkContext c = At("/new_root");
  c.root = c.start;
  auto file = vfs().Open(c, "/../../file", {.flags = O_RDONLY, .permissions = 0, .resolve = 0});
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(vfs().NameOf((*file)->path(), c.root), "/file");
  EXPECT_EQ(vfs().NameOf(vfs().root(), c.root), "(unreachable)/");
}

TEST_F(VfsTest, MountsAreCrossedBothWays) {
  ASSERT_EQ(t_.MakeDirectory("/a"), 0);
  ASSERT_EQ(t_.MakeDirectory("/a/mnt"), 0);
  ASSERT_EQ(t_.WriteFile("/a/mnt/hidden", "h"), 0);
  ASSERT_TRUE(vfs().Mount(t_.context(), "/a/mnt", t_.NewTmpfs(), "none", MS_NOSUID).ok());
  EXPECT_EQ(StatErrno("/a/mnt/hidden"), ENOENT);
  ASSERT_EQ(t_.WriteFile("/a/mnt/seen", "s"), 0);
  EXPECT_EQ(t_.ReadFile("/a/mnt/../mnt/./seen"), "s");
  EXPECT_NE(t_.Stat("/a/mnt")->device_minor, t_.Stat("/a")->device_minor);
  EXPECT_EQ(OpenErrno("/a/mnt/seen", O_RDONLY, RESOLVE_NO_XDEV), EXDEV);
  EXPECT_EQ(vfs().NameOf(vfs().Resolve(t_.context(), "/a/mnt/seen").value(), vfs().root()), "/a/mnt/seen");
  EXPECT_EQ(Rename("/a/mnt", "/b"), EBUSY);
  EXPECT_EQ(Rename("/a/mnt/seen", "/seen"), EXDEV);
  EXPECT_EQ(vfs().RemoveDirectory(t_.context(), "/a/mnt").error_number(), EBUSY);

  ASSERT_EQ(Rename("/a", "/c"), 0);
  EXPECT_EQ(t_.ReadFile("/c/mnt/seen"), "s");
  const std::vector<Vfs::MountInfo> mounts = vfs().ListMounts(vfs().root());
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[1].target, "/c/mnt");
  EXPECT_EQ(mounts[1].options, "rw,nosuid,relatime");
  EXPECT_EQ(vfs().FindMount("/c/mnt/x/y").rest, "x/y");
  EXPECT_EQ(vfs().FindMount("/a/mnt/x").rest, "a/mnt/x");

  {
    auto held = vfs().Open(t_.context(), "/c/mnt/seen", {.flags = O_RDONLY, .permissions = 0, .resolve = 0});
    ASSERT_TRUE(held.ok());
    EXPECT_EQ(vfs().Unmount(t_.context(), "/c/mnt", 0).error_number(), EBUSY);
  }
  EXPECT_EQ(vfs().Unmount(t_.context(), "/c", 0).error_number(), EINVAL);
  EXPECT_EQ(vfs().Unmount(t_.context(), "/c/mnt", 0).error_number(), 0);
  EXPECT_EQ(t_.ReadFile("/c/mnt/hidden"), "h");
}

TEST_F(VfsTest, AMountCoversTheOneBeforeUntilItGoes) {
  ASSERT_EQ(t_.MakeDirectory("/m"), 0);
  for (const char* text : {"first", "second"}) {
    ASSERT_TRUE(vfs().Mount(t_.context(), "/m", t_.NewTmpfs(), "none", 0).ok());
    ASSERT_EQ(t_.WriteFile("/m/which", text), 0);
  }
  EXPECT_EQ(t_.ReadFile("/m/which"), "second");
  ASSERT_EQ(vfs().Unmount(t_.context(), "/m", 0).error_number(), 0);
  EXPECT_EQ(t_.ReadFile("/m/which"), "first");
  EXPECT_EQ(vfs().FindMount("/m/which").mount, vfs().Resolve(t_.context(), "/m").value().mount);
}

TEST_F(VfsTest, AReadOnlyMountRefusesChanges) {
  ASSERT_EQ(t_.MakeDirectory("/ro"), 0);
  Ref<Tmpfs> fs = t_.NewTmpfs();
  ASSERT_TRUE(vfs().Mount(t_.context(), "/ro", fs, "none", 0).ok());
  ASSERT_EQ(t_.WriteFile("/ro/file", "x"), 0);
  ASSERT_EQ(vfs().Unmount(t_.context(), "/ro", 0).error_number(), 0);
  ASSERT_TRUE(vfs().Mount(t_.context(), "/ro", fs, "none", MS_RDONLY).ok());
  EXPECT_EQ(t_.ReadFile("/ro/file"), "x");
  EXPECT_EQ(t_.WriteFile("/ro/file", "y"), EROFS);
  EXPECT_EQ(t_.WriteFile("/ro/new", "y"), EROFS);
  EXPECT_EQ(t_.MakeDirectory("/ro/d"), EROFS);
  EXPECT_EQ(vfs().Unlink(t_.context(), "/ro/file").error_number(), EROFS);
  EXPECT_EQ(vfs().Truncate(t_.context(), "/ro/file", 0).error_number(), EROFS);
  EXPECT_EQ(vfs().Access(t_.context(), "/ro/file", W_OK, {}).error_number(), EROFS);
}

TEST_F(VfsTest, PermissionsAreThoseOfOwnerGroupAndOthers) {
  ASSERT_EQ(t_.MakeDirectory("/closed", 0700), 0);
  ASSERT_EQ(t_.WriteFile("/closed/file", "x"), 0);
  const WalkContext user = t_.ContextOf(1000, 1000);
  EXPECT_EQ(OpenErrno(user, "/closed/file", O_RDONLY), EACCES);
  EXPECT_EQ(OpenErrno(user, "/new", O_CREAT | O_WRONLY), EACCES);
  AttributeChange open_up;
  open_up.permissions = 0755;
  EXPECT_EQ(vfs().SetAttributes(user, "/closed", open_up, {}).error_number(), EPERM);
  ASSERT_TRUE(vfs().SetAttributes(t_.context(), "/closed", open_up, {}).ok());
  EXPECT_EQ(OpenErrno(user, "/closed/file", O_RDONLY), 0);
  EXPECT_EQ(OpenErrno(user, "/closed/file", O_RDWR), EACCES);
  AttributeChange shut;
  shut.permissions = 0700;
  ASSERT_TRUE(vfs().SetAttributes(t_.context(), "/closed", shut, {}).ok());
  EXPECT_EQ(OpenErrno(user, "/closed/file", O_RDONLY), EACCES);  // nothing of the walk before is believed
}

TEST_F(VfsTest, AStickyDirectoryKeepsOthersNames) {
  ASSERT_EQ(t_.MakeDirectory("/tmp", 0), 0);
  AttributeChange sticky;
  sticky.permissions = 01777;
  ASSERT_TRUE(vfs().SetAttributes(t_.context(), "/tmp", sticky, {}).ok());
  const WalkContext one = t_.ContextOf(1001, 1001), two = t_.ContextOf(1002, 1002);
  EXPECT_EQ(OpenErrno(one, "/tmp/mine", O_CREAT | O_WRONLY), 0);
  EXPECT_EQ(vfs().Unlink(two, "/tmp/mine").error_number(), EPERM);
  EXPECT_EQ(vfs().Rename(two, "/tmp/mine", two, "/tmp/yours", 0).error_number(), EPERM);
  EXPECT_EQ(vfs().Unlink(one, "/tmp/mine").error_number(), 0);
}

TEST_F(VfsTest, NamesFollowRenamesAndSayWhenTheyAreGone) {
  ASSERT_EQ(t_.MakeDirectory("/a"), 0);
  ASSERT_EQ(t_.WriteFile("/a/f", "x"), 0);
  auto file = vfs().Open(t_.context(), "/a/f", {.flags = O_RDONLY, .permissions = 0, .resolve = 0});
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(Rename("/a", "/b"), 0);
  EXPECT_EQ(vfs().NameOf((*file)->path(), vfs().root()), "/b/f");
  EXPECT_EQ((*file)->DescribePath(), "/b/f");
  ASSERT_EQ(vfs().Unlink(t_.context(), "/b/f").error_number(), 0);
  EXPECT_EQ(vfs().NameOf((*file)->path(), vfs().root()), "/b/f (deleted)");
  EXPECT_EQ(VfsForTesting::Read(**file), "x");
  const WalkContext in_b = At("/b");
  ASSERT_EQ(vfs().RemoveDirectory(t_.context(), "/b").error_number(), 0);
  EXPECT_EQ(OpenErrno(in_b, "new", O_CREAT | O_WRONLY), ENOENT);
}

TEST_F(VfsTest, APathOnlyFileIsAPlaceAndNothingElse) {
  ASSERT_EQ(t_.WriteFile("/f", "x"), 0);
  auto file = vfs().Open(t_.context(), "/f", {.flags = 010000000, .permissions = 0, .resolve = 0});
  ASSERT_TRUE(file.ok());
  EXPECT_FALSE((*file)->readable());
  EXPECT_EQ(VfsForTesting::Read(**file), "errno " + std::to_string(EBADF));
  EXPECT_EQ((*file)->inode()->GetAttributes()->size_bytes, 1u);
}

TEST_F(VfsTest, AnUnnamedFileCanBeGivenAName) {
  ASSERT_EQ(t_.MakeDirectory("/d"), 0);
  auto file = vfs().Open(t_.context(), "/d", {.flags = 020200000 | O_RDWR, .permissions = 0600, .resolve = 0});
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(VfsForTesting::Write(**file, "text"), 0);
  EXPECT_EQ((*file)->inode()->GetAttributes()->num_links, 0u);
  EXPECT_TRUE(t_.List("/d").empty());
  WalkContext from = t_.context();
  from.start = (*file)->path();
  WalkOptions empty;
  empty.allow_empty = true;
  ASSERT_EQ(vfs().Link(from, "", empty, t_.context(), "/d/name").error_number(), 0);
  EXPECT_EQ(t_.ReadFile("/d/name"), "text");
}

TEST_F(VfsTest, AFifoOpensRemorasOwnPipe) {
  ASSERT_TRUE(vfs().MakeNode(t_.context(), "/fifo", S_IFIFO | 0644, 0, 0).ok());
  EXPECT_EQ(OpenErrno("/fifo", O_WRONLY | O_NONBLOCK), ENXIO);
  auto reader = vfs().Open(t_.context(), "/fifo", {.flags = O_RDONLY, .permissions = 0, .resolve = 0});
  ASSERT_TRUE(reader.ok());
  EXPECT_TRUE((*reader)->open_pending());
  auto writer = vfs().Open(t_.context(), "/fifo", {.flags = O_WRONLY, .permissions = 0, .resolve = 0});
  ASSERT_TRUE(writer.ok());
  EXPECT_FALSE((*reader)->open_pending());
  EXPECT_EQ(VfsForTesting::Write(**writer, "through"), 0);
  EXPECT_EQ(VfsForTesting::Read(**reader), "through");
}

TEST_F(VfsTest, ADeviceNodeOpensWhatIsRegistered) {
  ASSERT_TRUE(vfs().MakeNode(t_.context(), "/dev", S_IFCHR | 0644, 7, 9).ok());
  EXPECT_EQ(OpenErrno("/dev", O_RDONLY), ENXIO);
  uint32_t opened_minor = 0;
  t_.devices().RegisterMajor(DeviceRegistry::Kind::kCharacter, 7,
                             [&](const DeviceRegistry::Opening& opening) -> ErrnoOr<Ref<File>> {
                               opened_minor = opening.minor;
                               return Errno(EBUSY);
                             });
  EXPECT_EQ(OpenErrno("/dev", O_RDONLY), EBUSY);
  EXPECT_EQ(opened_minor, 9u);
}

TEST_F(VfsTest, AListingSurvivesUnlinksAndCreates) {
  ASSERT_EQ(t_.MakeDirectory("/d"), 0);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(t_.WriteFile("/d/" + std::to_string(i), ""), 0);
  auto file = vfs().Open(t_.context(), "/d", {.flags = O_RDONLY | O_DIRECTORY, .permissions = 0, .resolve = 0});
  ASSERT_TRUE(file.ok());
  std::vector<std::string> seen;
  uint64_t position = 0;
  // One name for each call, as a small getdents buffer does; each one seen is removed, and one is made.
  while (true) {
    std::string name;
    ASSERT_TRUE((*file)
                    ->ReadDirectory(position,
                                    [&](const DirectoryEntry& entry) {
                                      if (!name.empty()) return false;
                                      name = entry.name;
                                      position = entry.next_offset;
                                      return true;
                                    })
                    .ok());
    if (name.empty()) break;
    if (name == "." || name == "..") continue;
    if (name[0] != 'n') {
      seen.push_back(name);
      ASSERT_EQ(vfs().Unlink(t_.context(), "/d/" + name).error_number(), 0);
      if (seen.size() < 10) ASSERT_EQ(t_.WriteFile("/d/n" + name, ""), 0);
    }
  }
  ASSERT_EQ(seen.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], std::to_string(i));
  EXPECT_EQ(t_.List("/d").size(), 9u);
}

TEST_F(VfsTest, AWarmWalkAsksTheCacheOnly) {
  std::string path;
  for (int i = 0; i < 16; ++i) {
    path += "/c" + std::to_string(i);
    ASSERT_EQ(t_.MakeDirectory(path), 0);
  }
  ASSERT_EQ(StatErrno(path), 0);
  const Vfs::Counters before = vfs().counters();
  ASSERT_TRUE(vfs().Resolve(t_.context(), path).ok());
  const Vfs::Counters after = vfs().counters();
  EXPECT_EQ(after.dentry_hits - before.dentry_hits, 16u);
  EXPECT_EQ(after.dentry_misses, before.dentry_misses);
  ASSERT_EQ(StatErrno(path + "/none"), ENOENT);
  ASSERT_EQ(StatErrno(path + "/none"), ENOENT);
  EXPECT_EQ(vfs().counters().negative_hits, after.negative_hits + 1);
}

}  // namespace
}  // namespace remora::fs
