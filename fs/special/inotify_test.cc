#include "fs/special/inotify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/abi/inotify.h"
#include "fs/vfs.h"
#include "fs/vfs_for_testing.h"
#include "gtest/gtest.h"

namespace remora::fs {
namespace {

std::string Describe(const char* bytes, size_t size) {
  std::string text;
  for (size_t at = 0; at + sizeof(abi::InotifyEvent) <= size;) {
    abi::InotifyEvent e;
    std::memcpy(&e, bytes + at, sizeof(e));
    text += std::to_string(e.wd) + ":" + std::to_string(e.mask) + ":" + (e.cookie != 0 ? "c:" : ":") +
            std::string(e.len != 0 ? bytes + at + sizeof(e) : "") + "/" + std::to_string(e.len) + " ";
    at += sizeof(e) + e.len;
  }
  return text;
}

class InotifyTest : public ::testing::Test {
 protected:
  int AddWatch(const std::string& name, uint32_t mask) {
    const auto path = vfs_.vfs().Resolve(vfs_.context(), name);
    if (!path.ok()) return -path.error_number();
    const auto number = inotify_->AddWatch(*path, mask);
    return number.ok() ? *number : -number.error_number();
  }
  std::string Events() {
    const std::string bytes = VfsForTesting::Read(*inotify_);
    return bytes.starts_with("errno") ? "" : Describe(bytes.data(), bytes.size());
  }

  VfsForTesting vfs_;
  Ref<Inotify> inotify_;
};

TEST_F(InotifyTest, AQueueThatIsFullSaysSoOnce) {
  vfs_.vfs().MountRoot(vfs_.NewTmpfs(), 0);
  inotify_ = Inotify::Make(vfs_.vfs().anonymous_files(), 0);
  ASSERT_EQ(AddWatch("/", IN_CREATE | IN_DELETE), 1);
  for (uint32_t i = 0; i < Inotify::kMaxEvents; ++i) {
    ASSERT_EQ(vfs_.WriteFile("/a", ""), 0);
    ASSERT_EQ(vfs_.vfs().Unlink(vfs_.context(), "/a").error_number(), 0);
  }
  const std::string events = VfsForTesting::Read(*inotify_);
  ASSERT_EQ(events.size(), Inotify::kMaxEvents * 32 + 16);
  EXPECT_EQ(Describe(events.data() + events.size() - 16, 16), "-1:16384::/0 ");
  EXPECT_EQ(inotify_->Readiness(sync::kReadable), 0u);
}

TEST_F(InotifyTest, AnInstanceThatIsClosedLeavesNoWatch) {
  vfs_.vfs().MountRoot(vfs_.NewTmpfs(), 0);
  inotify_ = Inotify::Make(vfs_.vfs().anonymous_files(), 0);
  ASSERT_EQ(AddWatch("/", IN_ALL_EVENTS), 1);
  const Ref<Dentry> root = vfs_.vfs().root().dentry;
  EXPECT_TRUE(root->cache().has_watches());
  inotify_.reset();
  EXPECT_FALSE(root->cache().has_watches());
}

// The host's kernel is the model: what happens to a handful of names, in tmpfs and in an overlay.
TEST_F(InotifyTest, RandomOperationsMatchTheHost) {
  for (int round = 0; round < 8; ++round) {
    VfsForTesting fresh;
    if (round % 2 == 0)
      fresh.vfs().MountRoot(fresh.NewTmpfs(), 0);
    else
      fresh.vfs().MountRoot(fresh.NewOverlay(fresh.NewTmpfs()), 0);
    inotify_ = Inotify::Make(fresh.vfs().anonymous_files(), 0);
    std::string folder = ::testing::TempDir() + "/inotifyXXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    const int host = inotify_init1(IN_NONBLOCK);
    ASSERT_GE(host, 0);
    std::mt19937 random(static_cast<uint32_t>(round));
    const std::string names[] = {"/a", "/b", "/d", "/d/a", "/e", "/e/b"};
    const auto any = [&] { return names[random() % std::size(names)]; };
    std::vector<std::pair<int, Ref<File>>> open_files;
    for (int step = 0; step < 400; ++step) {
      const std::string x = any(), y = any();
      const std::string hx = folder + x, hy = folder + y;
      Vfs& vfs = fresh.vfs();
      const WalkContext who = fresh.context();
      int expected = 0, actual = 0;
      switch (random() % 11) {
        case 0:
        case 1: {
          const int flags = O_RDWR | (random() % 2 ? O_CREAT : 0) | (random() % 3 ? 0 : O_TRUNC);
          const int fd = ::open(hx.c_str(), flags, 0644);
          expected = fd < 0 ? errno : 0;
          auto file = vfs.Open(who, x, {.flags = static_cast<uint32_t>(flags), .permissions = 0644, .resolve = 0});
          actual = file.error_number();
          if (fd >= 0 && file.ok()) open_files.emplace_back(fd, *std::move(file));
          break;
        }
        case 2:
          if (open_files.empty()) break;
          std::swap(open_files.back(), open_files[random() % open_files.size()]);
          ::close(open_files.back().first);
          open_files.pop_back();
          break;
        case 3:
          expected = ::mkdir(hx.c_str(), 0755) < 0 ? errno : 0;
          actual = vfs.MakeDirectory(who, x, 0755).error_number();
          break;
        case 4:
          expected = ::unlink(hx.c_str()) < 0 ? errno : 0;
          actual = vfs.Unlink(who, x).error_number();
          break;
        case 5:
          if (!open_files.empty()) break;  // one below it may keep it alive there
          expected = ::rmdir(hx.c_str()) < 0 ? errno : 0;
          actual = vfs.RemoveDirectory(who, x).error_number();
          break;
        case 6:
          if (!open_files.empty() && std::filesystem::is_directory(hy)) break;
          expected = ::rename(hx.c_str(), hy.c_str()) < 0 ? errno : 0;
          actual = vfs.Rename(who, x, who, y, 0).error_number();
          break;
        case 7:
          expected = ::link(hx.c_str(), hy.c_str()) < 0 ? errno : 0;
          actual = vfs.Link(who, x, {.follow_last = false}, who, y).error_number();
          break;
        case 8: {
          expected = ::chmod(hx.c_str(), 0700) < 0 ? errno : 0;
          AttributeChange change;
          change.permissions = 0700;
          actual = vfs.SetAttributes(who, x, change, {}).error_number();
          break;
        }
        default: {
          const std::string name = random() % 4 == 0 ? "/" : x;
          constexpr uint32_t kMasks[] = {IN_ALL_EVENTS,           IN_ALL_EVENTS,
                                         IN_MOVE | IN_DELETE,     IN_CREATE | IN_MASK_ADD,
                                         IN_ATTRIB | IN_ONESHOT,  IN_ALL_EVENTS | IN_EXCL_UNLINK,
                                         IN_OPEN | IN_MASK_CREATE};
          const uint32_t mask = kMasks[random() % std::size(kMasks)];
          if (random() % 6 == 0) {
            const int number = static_cast<int>(random() % 10);
            expected = inotify_rm_watch(host, number) < 0 ? errno : 0;
            actual = inotify_->RemoveWatch(number).error_number();
            break;
          }
          expected = inotify_add_watch(host, (folder + name).c_str(), mask);
          if (expected < 0) expected = -errno;
          const auto path = vfs.Resolve(who, name);
          const auto number = path.ok() ? inotify_->AddWatch(*path, mask) : ErrnoOr<int32_t>(path.error());
          actual = number.ok() ? *number : -number.error_number();
        }
      }
      ASSERT_EQ(actual, expected) << "round " << round << " step " << step << " " << x << " " << y;
      char bytes[8192];
      const ssize_t n = ::read(host, bytes, sizeof(bytes));
      ASSERT_EQ(Events(), n > 0 ? Describe(bytes, static_cast<size_t>(n)) : "")
          << "round " << round << " step " << step << " " << x << " " << y;
    }
    for (auto& [fd, file] : open_files) ::close(fd);
    open_files.clear();
    inotify_.reset();
    ::close(host);
    std::filesystem::remove_all(folder);
  }
}

}  // namespace
}  // namespace remora::fs
