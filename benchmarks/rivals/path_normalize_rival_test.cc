// The rival and the Vfs say the same of any path.

#include "benchmarks/rivals/path_normalize_rival.h"

#include <random>
#include <string>

#include "fs/vfs_for_testing.h"
#include "gtest/gtest.h"

namespace remora::benchmarks {
namespace {

std::string RandomPath(std::mt19937_64& random, int max_components) {
  constexpr const char* kNames[] = {"a", "b", "c", "link", "m", ".", ".."};
  std::string path;
  const int n = 1 + static_cast<int>(random() % static_cast<unsigned>(max_components));
  for (int i = 0; i < n; ++i) {
    path += random() % 8 == 0 ? "//" : "/";
    path += kNames[random() % std::size(kNames)];
  }
  if (random() % 4 == 0) path += '/';
  return path;
}

TEST(PathNormalizeRivalTest, AnswersAsTheVfsDoes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    fs::VfsForTesting t;
    const Ref<fs::Tmpfs> root = t.NewTmpfs(), mounted = t.NewTmpfs();
    t.vfs().MountRoot(root, 0);
    const fs::WalkContext context = t.context();
    ASSERT_EQ(t.MakeDirectory("/a"), 0);
    ASSERT_EQ(t.MakeDirectory("/a/m"), 0);
    ASSERT_TRUE(t.vfs().Mount(context, "/a/m", mounted, "none", 0).ok());
    for (int i = 0; i < 60; ++i) {
      const std::string path = RandomPath(random, 4);
      switch (random() % 3) {
        case 0:
          t.MakeDirectory(path);
          break;
        case 1:
          t.WriteFile(path, "text");
          break;
        default: {
          std::string text = RandomPath(random, 3);
          (void)t.vfs().MakeSymlink(context, random() % 2 == 0 ? text : text.substr(1), path);
        }
      }
    }
    WalkedBackend below(root->root()), above(mounted->root());
    PathNormalizeRival<WalkedBackend> rival;
    rival.Mount("", &below);
    rival.Mount("/a/m", &above);
    int num_found = 0;
    for (int i = 0; i < 3000; ++i) {
      const std::string path = RandomPath(random, 6);
      const auto ours = t.vfs().Resolve(context, path);
      const auto theirs = rival.Resolve(path);
      ASSERT_EQ(ours.error_number(), theirs.error_number()) << path;
      if (!ours.ok()) continue;
      ++num_found;
      const auto attributes = ours->dentry->inode()->GetAttributes();
      ASSERT_EQ(attributes->inode_number, theirs->attributes.inode_number) << path;
      ASSERT_EQ(attributes->device_minor, theirs->attributes.device_minor) << path;
      ASSERT_EQ(t.vfs().NameOf(*ours, context.root), theirs->name) << path;
    }
    EXPECT_GT(num_found, 100);
  }
}

}  // namespace
}  // namespace remora::benchmarks
