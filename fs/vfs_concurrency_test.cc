// Threads change one small tree at once. Afterwards what the dentry cache says must be what the file system says.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "fs/vfs_for_testing.h"
#include "gtest/gtest.h"

namespace remora::fs {
namespace {

std::string RandomPath(std::mt19937_64& random) {
  std::string path;
  const auto n = 1 + random() % 3;
  for (uint64_t i = 0; i < n; ++i) path += std::string("/") + "abc"[random() % 3];
  return path;
}

void ChangeALot(VfsForTesting& t, const WalkContext& context, unsigned seed, int num_changes) {
  sync::Reclaimer::Participant participant(&t.reclaimer());
  participant.Online();
  std::mt19937_64 random(seed);
  Vfs& vfs = t.vfs();
  for (int i = 0; i < num_changes; ++i) {
    const std::string a = RandomPath(random), b = RandomPath(random);
    switch (random() % 10) {
      case 0:
      case 1:
        (void)vfs.MakeDirectory(context, a, 0755);
        break;
      case 2:
        (void)vfs.RemoveDirectory(context, a);
        break;
      case 3:
        (void)vfs.Unlink(context, a);
        break;
      case 4:
        (void)vfs.Rename(context, a, context, b, random() % 3 == 0 ? RENAME_EXCHANGE : 0);
        break;
      case 5:
        (void)vfs.Rename(context, a, context, b, 0);
        break;
      case 6:
        (void)vfs.Link(context, a, {}, context, b);
        break;
      case 7:
        (void)vfs.Stat(context, a, {});
        break;
      default: {
        auto file = vfs.Open(context, a, {.flags = O_CREAT | O_RDWR, .permissions = 0644, .resolve = 0});
        if (file.ok()) {
          (void)VfsForTesting::Write(**file, "text");
          (void)(*file)->DescribePath();
        }
      }
    }
    participant.Quiesce();
    if (i % 64 == 0) t.reclaimer().Collect();
  }
  participant.Offline();
}

// Every name of up to three components that there may be: what Stat says of it.
std::string Survey(Vfs& vfs, const WalkContext& context) {
  std::string all;
  const auto visit = [&](const std::string& path, const auto& self, int depth) -> void {
    if (depth == 4) return;
    for (char c : {'a', 'b', 'c'}) {
      const std::string child = path + "/" + c;
      WalkOptions options;
      options.follow_last = false;
      const auto attributes = vfs.Stat(context, child, options);
      all += child + " " +
             (attributes.ok() ? std::to_string(attributes->inode_number) + " " + std::to_string(attributes->mode) +
                                    " links " + std::to_string(attributes->num_links)
                              : "errno " + std::to_string(attributes.error_number())) +
             "\n";
      self(child, self, depth + 1);
    }
  };
  visit("", visit, 0);
  return all;
}

void RunThreads(VfsForTesting& t, Ref<FileSystem> fs) {
  const WalkContext context = t.context();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) threads.emplace_back([&, i] { ChangeALot(t, context, i + 1, 1500); });
  for (std::thread& thread : threads) thread.join();
  const std::string warm = Survey(t.vfs(), context);
  HostClock clock;
  Vfs cold(&clock, &t.reclaimer());
  cold.MountRoot(std::move(fs), 0);
  WalkContext cold_context;
  cold_context.root = cold_context.start = cold.root();
  EXPECT_EQ(warm, Survey(cold, cold_context));
}

// Each thread has names of its own, all in one directory: whatever the others do there, what it has made is there, also
// for a walk that begins in the directory.
TEST(VfsConcurrencyTest, WhatIsMadeBesideOtherNamesIsFound) {
  VfsForTesting t;
  t.vfs().MountRoot(t.NewTmpfs(), 0);
  ASSERT_EQ(t.MakeDirectory("/d"), 0);
  const WalkContext context = t.context();
  WalkContext inside = context;
  inside.start = t.vfs().Resolve(context, "/d").value();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      sync::Reclaimer::Participant participant(&t.reclaimer());
      participant.Online();
      const std::string name = "n" + std::to_string(i);
      int missing = 0;
      for (int round = 0; round < 20'000; ++round) {
        const auto file =
            t.vfs().Open(context, "/d/" + name, {.flags = O_CREAT | O_RDWR, .permissions = 0644, .resolve = 0});
        missing += file.ok() && t.vfs().Stat(inside, name, {}).ok() && t.vfs().Unlink(inside, name).ok() ? 0 : 1;
        participant.Quiesce();
        if (round % 64 == 0) t.reclaimer().Collect();
      }
      EXPECT_EQ(missing, 0);
      participant.Offline();
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(VfsConcurrencyTest, TheCacheAgreesWithATmpfsThatThreadsChanged) {
  VfsForTesting t;
  Ref<Tmpfs> fs = t.NewTmpfs();
  t.vfs().MountRoot(fs, 0);
  RunThreads(t, fs);
}

TEST(VfsConcurrencyTest, TheCacheAgreesWithAnOverlayThatThreadsChanged) {
  VfsForTesting below;
  Ref<Tmpfs> lower = below.NewTmpfs();
  below.vfs().MountRoot(lower, 0);
  for (const char* path : {"/a", "/a/b", "/a/b/c", "/b", "/b/a"}) ASSERT_EQ(below.MakeDirectory(path), 0);
  for (const char* path : {"/c", "/a/a", "/a/b/a", "/b/c"}) ASSERT_EQ(below.WriteFile(path, "lower"), 0);
  const std::string before = Survey(below.vfs(), below.context());
  {
    VfsForTesting t;
    Ref<Overlayfs> fs = t.NewOverlay(lower);
    t.vfs().MountRoot(fs, 0);
    RunThreads(t, fs);
  }
  EXPECT_EQ(Survey(below.vfs(), below.context()), before);
}

}  // namespace
}  // namespace remora::fs
