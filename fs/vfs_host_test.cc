// The host kernel is the oracle: the same random operations run on a tree of the host's and on one of Remora's.

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fs/vfs_for_testing.h"
#include "gtest/gtest.h"

namespace remora::fs {
namespace {

// So deep do both trees lie in folders called "r", that no path of a test climbs out of them by "..".
constexpr int kDepth = 100;

class HostTree {
 public:
  explicit HostTree(const std::string& name) {
    const char* base = std::getenv("TEST_TMPDIR");
    int fd = open(base != nullptr ? base : "/tmp", O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0 && mkdirat(fd, name.c_str(), 0755) == 0);
    fd_ = Enter(fd, name);
    for (int i = 0; i < kDepth; ++i) {
      CHECK(mkdirat(fd_, "r", 0755) == 0);
      fd_ = Enter(fd_, "r");
    }
  }
  ~HostTree() { close(fd_); }
  int fd() const { return fd_; }

 private:
  static int Enter(int fd, const std::string& name) {
    const int next = openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY);
    CHECK(next >= 0);
    close(fd);
    return next;
  }
  int fd_ = -1;
};

int ErrnoOf(long result) { return result < 0 ? errno : 0; }

// A step on one tree: what it answers must be the same on both.
class Tree {
 public:
  virtual ~Tree() = default;
  virtual int MakeDirectory(const std::string& path) = 0;
  virtual int RemoveDirectory(const std::string& path) = 0;
  virtual int Unlink(const std::string& path) = 0;
  virtual int Symlink(const std::string& text, const std::string& path) = 0;
  virtual int Link(const std::string& from, const std::string& to) = 0;
  virtual int Rename(const std::string& from, const std::string& to, unsigned flags) = 0;
  virtual int OpenAndWrite(const std::string& path, int flags, const std::string& text) = 0;
  virtual int Truncate(const std::string& path, uint64_t size) = 0;
  virtual int ChangeMode(const std::string& path, uint32_t mode) = 0;
  // An error, or what stat, readlink and read tell, as one line. Identity shows as the smallest path of the inode, so
  // it is compared in Listing only.
  virtual std::string Describe(const std::string& path, bool follow) = 0;
  // Names of a directory, sorted; an error.
  virtual std::string List(const std::string& path) = 0;
  virtual uint64_t InodeOf(const std::string& path) = 0;
};

std::string DescribeLine(uint32_t mode, uint64_t num_links, uint64_t size, const std::string& content) {
  std::string line = std::to_string(mode);
  if ((mode & S_IFMT) != S_IFDIR) line += " links " + std::to_string(num_links) + " size " + std::to_string(size);
  return line + " " + content;
}

class HostSide final : public Tree {
 public:
  explicit HostSide(const std::string& name) : tree_(name) {}
  int MakeDirectory(const std::string& p) override { return ErrnoOf(mkdirat(tree_.fd(), p.c_str(), 0755)); }
  int RemoveDirectory(const std::string& p) override { return ErrnoOf(unlinkat(tree_.fd(), p.c_str(), AT_REMOVEDIR)); }
  int Unlink(const std::string& p) override { return ErrnoOf(unlinkat(tree_.fd(), p.c_str(), 0)); }
  int Symlink(const std::string& t, const std::string& p) override {
    return ErrnoOf(symlinkat(t.c_str(), tree_.fd(), p.c_str()));
  }
  int Link(const std::string& a, const std::string& b) override {
    return ErrnoOf(linkat(tree_.fd(), a.c_str(), tree_.fd(), b.c_str(), 0));
  }
  int Rename(const std::string& a, const std::string& b, unsigned flags) override {
    return ErrnoOf(syscall(SYS_renameat2, tree_.fd(), a.c_str(), tree_.fd(), b.c_str(), flags));
  }
  int OpenAndWrite(const std::string& p, int flags, const std::string& text) override {
    const int fd = openat(tree_.fd(), p.c_str(), flags, 0644);
    if (fd < 0) return errno;
    int error = 0;
    if ((flags & O_ACCMODE) != O_RDONLY) error = ErrnoOf(write(fd, text.data(), text.size()));
    close(fd);
    return error;
  }
  int Truncate(const std::string& p, uint64_t size) override {
    // truncateat does not exist.
    const std::string path = "/proc/self/fd/" + std::to_string(tree_.fd()) + "/" + p;
    return ErrnoOf(truncate(path.c_str(), static_cast<off_t>(size)));
  }
  int ChangeMode(const std::string& p, uint32_t mode) override {
    return ErrnoOf(fchmodat(tree_.fd(), p.c_str(), mode, 0));
  }
  std::string Describe(const std::string& p, bool follow) override {
    struct stat st;
    if (fstatat(tree_.fd(), p.c_str(), &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
      return "errno " + std::to_string(errno);
    std::string content;
    char buffer[5000];
    if (S_ISLNK(st.st_mode)) {
      const ssize_t n = readlinkat(tree_.fd(), p.c_str(), buffer, sizeof buffer);
      content.assign(buffer, static_cast<size_t>(std::max<ssize_t>(n, 0)));
    } else if (S_ISREG(st.st_mode)) {
      const int fd = openat(tree_.fd(), p.c_str(), O_RDONLY);
      const ssize_t n = fd < 0 ? 0 : read(fd, buffer, sizeof buffer);
      content = fd < 0 ? "errno " + std::to_string(errno) : std::string(buffer, static_cast<size_t>(n));
      if (fd >= 0) close(fd);
    }
    return DescribeLine(st.st_mode, st.st_nlink, static_cast<uint64_t>(st.st_size), content);
  }
  std::string List(const std::string& p) override {
    const int fd = openat(tree_.fd(), p.c_str(), O_RDONLY | O_DIRECTORY);
    if (fd < 0) return "errno " + std::to_string(errno);
    DIR* dir = fdopendir(fd);
    std::vector<std::string> names;
    while (dirent* entry = readdir(dir)) names.emplace_back(entry->d_name);
    closedir(dir);
    std::sort(names.begin(), names.end());
    std::string all;
    for (const std::string& name : names) all += name + "\n";
    return all;
  }
  uint64_t InodeOf(const std::string& p) override {
    struct stat st;
    return fstatat(tree_.fd(), p.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
  }

 private:
  HostTree tree_;
};

class RemoraSide final : public Tree {
 public:
  explicit RemoraSide(VfsForTesting* t) : t_(t), context_(t->context()) {
    std::string path;
    for (int i = 0; i < kDepth; ++i) {
      path += "/r";
      const int error = t->MakeDirectory(path);
      CHECK(error == 0 || error == EEXIST);
    }
    auto start = t->vfs().Resolve(context_, path);
    CHECK(start.ok());
    context_.start = *start;
    if (geteuid() != 0) context_ = ContextOfHostUser();
  }
  int MakeDirectory(const std::string& p) override { return vfs().MakeDirectory(context_, p, 0755).error_number(); }
  int RemoveDirectory(const std::string& p) override { return vfs().RemoveDirectory(context_, p).error_number(); }
  int Unlink(const std::string& p) override { return vfs().Unlink(context_, p).error_number(); }
  int Symlink(const std::string& t, const std::string& p) override {
    return vfs().MakeSymlink(context_, t, p).error_number();
  }
  int Link(const std::string& a, const std::string& b) override {
    WalkOptions options;
    options.follow_last = false;
    return vfs().Link(context_, a, options, context_, b).error_number();
  }
  int Rename(const std::string& a, const std::string& b, unsigned flags) override {
    return vfs().Rename(context_, a, context_, b, flags).error_number();
  }
  int OpenAndWrite(const std::string& p, int flags, const std::string& text) override {
    auto file = vfs().Open(context_, p, {.flags = static_cast<uint32_t>(flags), .permissions = 0644, .resolve = 0});
    if (!file.ok()) return file.error_number();
    return (*file)->writable() ? VfsForTesting::Write(**file, text) : 0;
  }
  int Truncate(const std::string& p, uint64_t size) override {
    return vfs().Truncate(context_, p, size).error_number();
  }
  int ChangeMode(const std::string& p, uint32_t mode) override {
    AttributeChange change;
    change.permissions = mode;
    return vfs().SetAttributes(context_, p, change, WalkOptions()).error_number();
  }
  std::string Describe(const std::string& p, bool follow) override {
    WalkOptions options;
    options.follow_last = follow;
    const auto a = vfs().Stat(context_, p, options);
    if (!a.ok()) return "errno " + std::to_string(a.error_number());
    std::string content;
    if (a->is_symlink()) {
      content = vfs().ReadLink(context_, p).value();
    } else if (a->is_regular()) {
      auto file = vfs().Open(context_, p, {.flags = O_RDONLY, .permissions = 0, .resolve = 0});
      content = file.ok() ? VfsForTesting::Read(**file, 0, 5000) : "errno " + std::to_string(file.error_number());
    }
    return DescribeLine(a->mode, a->num_links, a->size_bytes, content);
  }
  std::string List(const std::string& p) override {
    auto file = vfs().Open(context_, p, {.flags = O_RDONLY | O_DIRECTORY, .permissions = 0, .resolve = 0});
    if (!file.ok()) return "errno " + std::to_string(file.error_number());
    std::vector<std::string> names;
    EXPECT_TRUE((*file)
                    ->ReadDirectory(0,
                                    [&](const DirectoryEntry& entry) {
                                      names.emplace_back(entry.name);
                                      return true;
                                    })
                    .ok());
    std::sort(names.begin(), names.end());
    std::string all;
    for (const std::string& name : names) all += name + "\n";
    return all;
  }
  uint64_t InodeOf(const std::string& p) override {
    WalkOptions options;
    options.follow_last = false;
    const auto a = vfs().Stat(context_, p, options);
    return a.ok() ? a->inode_number : 0;
  }

 private:
  Vfs& vfs() { return t_->vfs(); }
  WalkContext ContextOfHostUser() {
    WalkContext c = t_->ContextOf(geteuid(), getegid());
    c.start = context_.start;
    return c;
  }
  VfsForTesting* const t_;
  WalkContext context_;
};

class Paths {
 public:
  explicit Paths(uint64_t seed) : random_(seed) {}
  std::mt19937_64& random() { return random_; }
  std::string Name() { return std::string(1, "abcd"[random_() % 4]); }
  std::string Next(int max_components) {
    std::string path;
    const auto n = 1 + random_() % static_cast<unsigned>(max_components);
    for (uint64_t i = 0; i < n; ++i) {
      if (i != 0) path += random_() % 12 == 0 ? "//" : "/";
      switch (random_() % 14) {
        case 0:
          path += ".";
          break;
        case 1:
          path += "..";
          break;
        case 2:
          path += random_() % 8 == 0 ? std::string(256, 'n') : Name();
          break;
        default:
          path += Name();
      }
    }
    if (random_() % 10 == 0) path += "/";
    return path;
  }

 private:
  std::mt19937_64 random_;
};

// One random change, done to `tree`; what it was called and what it answered. The same seed gives the same change.
std::string Change(Tree& tree, uint64_t seed) {
  Paths paths(seed);
  auto& random = paths.random();
  const std::string a = paths.Next(4), b = paths.Next(4);
  const std::string text = std::to_string(seed % 1000) + std::string(seed % 50, '.');
  const auto answer = [](const std::string& call, int error) { return call + " = " + std::to_string(error); };
  switch (random() % 16) {
    case 0:
    case 1:
    case 2:
      return answer("mkdir " + a, tree.MakeDirectory(a));
    case 3:
      return answer("rmdir " + a, tree.RemoveDirectory(a));
    case 4:
      return answer("unlink " + a, tree.Unlink(a));
    case 5:
    case 6: {
      const std::string to = random() % 4 == 0 ? paths.Name() : paths.Next(3);
      return answer("symlink " + to + " " + a, tree.Symlink(to, a));
    }
    case 7:
      return answer("link " + a + " " + b, tree.Link(a, b));
    case 8:
    case 9:
    case 10: {
      const unsigned flags = random() % 4 == 0 ? static_cast<unsigned>(random() % 4) : 0;
      return answer("rename " + a + " " + b + " " + std::to_string(flags), tree.Rename(a, b, flags));
    }
    case 11: {
      const uint64_t size = random() % 4000;
      return answer("truncate " + a + " " + std::to_string(size), tree.Truncate(a, size));
    }
    case 12: {
      const uint32_t mode = 0600 | (random() % 0200);
      return answer("chmod " + a, tree.ChangeMode(a, mode));
    }
    default: {
      int flags = std::vector<int>{O_RDONLY, O_WRONLY, O_RDWR}[random() % 3];
      if (random() % 2 == 0) flags |= O_CREAT;
      if (random() % 5 == 0) flags |= O_EXCL;
      if (random() % 3 == 0) flags |= O_TRUNC;
      if (random() % 3 == 0) flags |= O_APPEND;
      if (random() % 6 == 0) flags |= O_NOFOLLOW;
      if (random() % 9 == 0 && (flags & O_CREAT) == 0) flags |= O_DIRECTORY;
      // Undefined without O_CREAT.
      if ((flags & O_CREAT) == 0) flags &= ~O_EXCL;
      return answer("open " + a + " " + std::to_string(flags), tree.OpenAndWrite(a, flags, text));
    }
  }
}

// The whole tree below `path`, one line for each name; which names are one file shows as their first name.
void Dump(Tree& tree, const std::string& path, std::map<uint64_t, std::string>& first_names, std::string* out) {
  const std::string line = tree.Describe(path, false);
  auto [it, is_new] = first_names.emplace(tree.InodeOf(path), path);
  *out += path + ": " + line + (is_new ? "" : " is " + it->second) + "\n";
  if ((std::stoul("0" + line) & S_IFMT) != S_IFDIR) return;
  const std::string names = tree.List(path);
  for (size_t at = 0; at < names.size();) {
    const size_t end = names.find('\n', at);
    const std::string name = names.substr(at, end - at);
    if (name != "." && name != "..") Dump(tree, path + "/" + name, first_names, out);
    at = end + 1;
  }
}
std::string Dump(Tree& tree) {
  std::map<uint64_t, std::string> first_names;
  std::string out;
  Dump(tree, ".", first_names, &out);
  return out;
}

void Compare(Tree& host, Tree& mine, uint64_t first_seed, int num_changes) {
  for (int i = 0; i < num_changes; ++i) {
    const uint64_t seed = first_seed + static_cast<uint64_t>(i);
    const std::string expected = Change(host, seed);
    ASSERT_EQ(Change(mine, seed), expected) << "seed " << seed << " after:\n" << Dump(host);
    Paths paths(seed * 31 + 7);
    const std::string path = paths.Next(6);
    const bool follow = paths.random()() % 2 == 0;
    ASSERT_EQ(mine.Describe(path, follow), host.Describe(path, follow)) << "seed " << seed << " stat " << path;
    ASSERT_EQ(mine.List(path), host.List(path)) << "seed " << seed << " ls " << path;
    if (i % 200 == 199) ASSERT_EQ(Dump(mine), Dump(host)) << "seed " << seed;
  }
  ASSERT_EQ(Dump(mine), Dump(host));
}

// How much longer than usual to try: REMORA_SOAK=100.
uint64_t Soak() {
  const char* value = std::getenv("REMORA_SOAK");
  return value == nullptr ? 1 : std::stoul(value);
}

class VfsHostTest : public ::testing::Test {
 protected:
  void SetUp() override { umask(022); }
  static std::string TreeName() { return ::testing::UnitTest::GetInstance()->current_test_info()->name(); }
};

TEST_F(VfsHostTest, TmpfsAnswersAsTheHostDoes) {
  VfsForTesting t;
  t.vfs().MountRoot(t.NewTmpfs(), 0);
  HostSide host(TreeName());
  RemoraSide mine(&t);
  Compare(host, mine, 1, static_cast<int>(3000 * Soak()));
}

// The lower tree is filled first, then changed only through the overlay.
TEST_F(VfsHostTest, AnOverlayAnswersAsTheHostDoesAndLeavesItsLowerTreeAlone) {
  for (uint64_t round = 0; round < 4 * Soak(); ++round) {
    const uint64_t seed = 100'000 + round * 10'000;
    VfsForTesting below;
    Ref<Tmpfs> lower = below.NewTmpfs();
    below.vfs().MountRoot(lower, 0);
    HostSide host(TreeName() + std::to_string(round));
    RemoraSide lower_tree(&below);
    Compare(host, lower_tree, seed, 400);
    const std::string before = Dump(lower_tree);
    {
      VfsForTesting t;
      t.vfs().MountRoot(t.NewOverlay(lower), 0);
      RemoraSide mine(&t);
      ASSERT_EQ(Dump(mine), Dump(host));
      Compare(host, mine, seed + 1000, 800);
    }
    ASSERT_EQ(Dump(lower_tree), before);
  }
}

}  // namespace
}  // namespace remora::fs
