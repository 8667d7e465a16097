// Walks: what they cost where the names are known, and what they answer beside a model.

#include "fs/path_walk.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <random>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "fs/path_driver_for_testing.h"
#include "fs/vfs_for_testing.h"
#include "gtest/gtest.h"

namespace {
thread_local uint64_t num_allocations = 0;
}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 1
void* operator new(size_t size) {
  ++num_allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace remora::fs {
namespace {

class PathWalkTest : public ::testing::Test {
 protected:
  PathWalkTest() { t_.vfs().MountRoot(t_.NewTmpfs({.root_permissions = 0755, .uid = 0, .gid = 0}), 0); }
  // "/d/d/..." with `depth` components, made.
  std::string MakeDeep(int depth) {
    std::string path;
    for (int i = 0; i < depth; ++i) {
      path += "/d";
      EXPECT_EQ(t_.MakeDirectory(path), 0);
    }
    return path;
  }
  ErrnoOr<Path> Resolve(const WalkContext& context, std::string_view path) { return t_.vfs().Resolve(context, path); }

  VfsForTesting t_;
};

TEST_F(PathWalkTest, AWarmPathTakesNoLockAndNoMemory) {
  const std::string path = MakeDeep(16);
  const WalkContext context = t_.context();
  ASSERT_TRUE(Resolve(context, path).ok());
  const uint64_t allocations = num_allocations, locks = LocksTakenByThisThread();
  const uint64_t hits = t_.vfs().counters().dentry_hits, misses = t_.vfs().counters().dentry_misses;
  ASSERT_TRUE(Resolve(context, path).ok());
  EXPECT_EQ(num_allocations, allocations);
  EXPECT_EQ(LocksTakenByThisThread(), locks);
  EXPECT_EQ(t_.vfs().counters().dentry_hits, hits + 16);
  EXPECT_EQ(t_.vfs().counters().dentry_misses, misses);
}

TEST_F(PathWalkTest, AWarmPathThroughSymlinksAndMountsTakesNoMemory) {
  const std::string deep = MakeDeep(3);
  ASSERT_TRUE(t_.vfs().Mount(t_.context(), "/d/d", t_.NewTmpfs(), "none", 0).ok());
  ASSERT_EQ(t_.MakeDirectory("/d/d/inside"), 0);
  ASSERT_TRUE(t_.vfs().MakeSymlink(t_.context(), "/d/./d//inside", "/link").ok());
  const WalkContext context = t_.context();
  const std::string path = "/link/../inside/../../../link/";
  ASSERT_TRUE(Resolve(context, path).ok());
  const uint64_t allocations = num_allocations, locks = LocksTakenByThisThread();
  ASSERT_TRUE(Resolve(context, path).ok());
  EXPECT_EQ(num_allocations, allocations);
  EXPECT_EQ(LocksTakenByThisThread(), locks);
}

// What passes through counts nothing on the way: only start and target are held.
// A working directory stays where all paths come by, or it would not see what is made there.
TEST_F(PathWalkTest, WhoDoesNotBelieveTheCacheComesByTheSameDirectories) {
  const std::string path = MakeDeep(3);
  const WalkContext context = t_.context();
  const ErrnoOr<Path> before = Resolve(context, path);
  ASSERT_TRUE(before.ok());
  EXPECT_EQ(LookupName(before->dentry->cache(), before->dentry, "x").value(), nullptr);
  Ref<Dentry> place = context.root.dentry;
  for (int i = 0; i < 3; ++i) {
    const ErrnoOr<Ref<Dentry>> next = LookupName(place->cache(), place, "d", /*believe_cache=*/false);
    ASSERT_TRUE(next.ok());
    place = *next;
  }
  EXPECT_EQ(place, before->dentry);
  // What it finds to be otherwise it tells the others.
  ASSERT_TRUE(place->inode()->Create("x", {.mode = S_IFREG | 0644}).ok());
  EXPECT_EQ(LookupName(place->cache(), place, "x").value(), nullptr);
  EXPECT_TRUE(LookupName(place->cache(), place, "x", /*believe_cache=*/false).value());
  EXPECT_TRUE(LookupName(place->cache(), place, "x").value());
  // So does a walk that begins anew because the file system has what the cache said was not there.
  EXPECT_EQ(LookupName(place->cache(), place, "y").value(), nullptr);
  ASSERT_TRUE(place->inode()->Create("y", {.mode = S_IFREG | 0644}).ok());
  EXPECT_TRUE(t_.vfs().Open(context, path + "/y", {.flags = O_CREAT | O_RDWR, .permissions = 0644, .resolve = 0}).ok());
  EXPECT_EQ(Resolve(context, path)->dentry, before->dentry);
}

TEST_F(PathWalkTest, DirectoriesPassedAreNotCounted) {
  const std::string path = MakeDeep(4);
  const WalkContext context = t_.context();
  const Path middle = Resolve(context, "/d/d").value();
  const uint32_t before = middle.dentry->ref_count();
  ASSERT_TRUE(Resolve(context, path).ok());
  const Path end = Resolve(context, path).value();
  EXPECT_EQ(middle.dentry->ref_count(), before);
}

// The mount index: no directory above the mount is looked at.
TEST_F(PathWalkTest, AnAbsolutePathBeginsInItsMount) {
  const std::string deep = MakeDeep(3);
  ASSERT_TRUE(t_.vfs().Mount(t_.context(), "/d/d", t_.NewTmpfs(), "none", 0).ok());
  ASSERT_EQ(t_.MakeDirectory("/d/d/mnt"), 0);
  ASSERT_TRUE(t_.vfs().Mount(t_.context(), "/d/d/mnt", t_.NewTmpfs(), "none", 0).ok());
  ASSERT_EQ(t_.MakeDirectory("/d/d/mnt/inside"), 0);
  const auto hits_of = [&](const WalkContext& context, std::string_view path) {
    EXPECT_TRUE(Resolve(context, path).ok());  // warm
    const uint64_t before = t_.vfs().counters().dentry_hits;
    EXPECT_TRUE(Resolve(context, path).ok());
    return t_.vfs().counters().dentry_hits - before;
  };
  const WalkContext root = t_.context(), user = t_.ContextOf(1000, 1000);
  EXPECT_EQ(hits_of(root, "/d/d/mnt/inside"), 1u);
  EXPECT_EQ(hits_of(root, "//d/d//mnt/inside/"), 1u);
  EXPECT_EQ(hits_of(user, "/d/d/mnt/inside"), 1u);
  EXPECT_EQ(hits_of(root, "/d/d/mnt/.."), 0u);
  EXPECT_EQ(hits_of(root, "/d/./d/mnt/inside"), 4u);  // only the root is its prefix
  WalkContext jailed = root;
  jailed.root = jailed.start = Resolve(root, "/d").value();
  EXPECT_EQ(hits_of(jailed, "/d/mnt/inside"), 3u);
  // Who may not search what lies above does not get in.
  AttributeChange change;
  change.permissions = 0700;
  ASSERT_TRUE(t_.vfs().SetAttributes(root, "/d", change, {}).ok());
  EXPECT_EQ(Resolve(user, "/d/d/mnt/inside").error_number(), EACCES);
  EXPECT_EQ(hits_of(root, "/d/d/mnt/inside"), 1u);
}

TEST_F(PathWalkTest, ACoveredMountIsNotFoundByItsName) {
  ASSERT_EQ(t_.MakeDirectory("/a"), 0);
  ASSERT_EQ(t_.MakeDirectory("/a/b"), 0);
  ASSERT_TRUE(t_.vfs().Mount(t_.context(), "/a/b", t_.NewTmpfs(), "none", 0).ok());
  ASSERT_EQ(t_.WriteFile("/a/b/inner", "x"), 0);
  const Ref<Mount> inner = t_.vfs().FindMount("/a/b/inner").mount;
  ASSERT_TRUE(t_.vfs().Mount(t_.context(), "/a", t_.NewTmpfs(), "none", 0).ok());
  EXPECT_EQ(Resolve(t_.context(), "/a/b/inner").error_number(), ENOENT);
  EXPECT_EQ(t_.vfs().FindMount("/a/b/inner").rest, "b/inner");
  ASSERT_TRUE(t_.vfs().Unmount(t_.context(), "/a", 0).ok());
  EXPECT_TRUE(Resolve(t_.context(), "/a/b/inner").ok());
  EXPECT_EQ(t_.vfs().FindMount("/a/b/inner").mount, inner);
  t_.vfs().CheckInvariants();
}

TEST_F(PathWalkTest, WhoMayNotSearchGetsNowhereHoweverWarm) {
  ASSERT_EQ(t_.MakeDirectory("/open", 0755), 0);
  ASSERT_EQ(t_.MakeDirectory("/open/shut", 0700), 0);
  ASSERT_EQ(t_.MakeDirectory("/open/shut/inside", 0755), 0);
  const WalkContext root = t_.context(), user = t_.ContextOf(1000, 1000);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Resolve(root, "/open/shut/inside").ok());
    EXPECT_EQ(Resolve(user, "/open/shut/inside").error_number(), EACCES);
    EXPECT_TRUE(Resolve(user, "/open/shut").ok());
  }
  AttributeChange change;
  change.permissions = 0711;
  ASSERT_TRUE(t_.vfs().SetAttributes(root, "/open/shut", change, {}).ok());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Resolve(user, "/open/shut/inside").ok());
  change.permissions = 0700;
  ASSERT_TRUE(t_.vfs().SetAttributes(root, "/open", change, {}).ok());
  EXPECT_EQ(Resolve(user, "/open/shut/inside").error_number(), EACCES);
}

TEST_F(PathWalkTest, AnswersAsTheModelDoes) {
#ifdef NDEBUG
  constexpr int kNumSteps = 1'000'000;
#else
  constexpr int kNumSteps = 20'000;
#endif
  PathDriver driver;
  std::mt19937_64 random(11);
  constexpr const char* kNames[] = {"a", "b", "c", "link", "l2", "m"};
  const auto name = [&] { return std::string(kNames[random() % std::size(kNames)]); };
  const auto path = [&](int max_components) {
    std::string text = random() % 8 == 0 ? "" : "/";
    const int n = static_cast<int>(random() % static_cast<unsigned>(max_components + 1));
    for (int i = 0; i < n; ++i) {
      text += random() % 6 == 0 ? (random() % 3 == 0 ? "." : "..") : name();
      text += random() % 8 == 0 ? "//" : "/";
    }
    if (random() % 4 != 0 && text.size() > 1) text.pop_back();
    return text;
  };
  for (int i = 0; i < kNumSteps; ++i) {
    switch (random() % 64) {
      case 0:
        driver.Make(path(4), name(), S_IFDIR, "");
        break;
      case 1:
        driver.Make(path(3), name(), random() % 3 == 0 ? S_IFREG : S_IFDIR, "");
        break;
      case 2:
        driver.Make(path(3), name(), S_IFLNK, path(4));
        break;
      case 3:
        driver.Remove(path(4), name(), random() % 2 == 0);
        break;
      case 4:
        driver.Rename(path(3), name(), path(3), name());
        break;
      case 5:
        if (random() % 8 == 0) driver.Mount(path(4));
        break;
      case 6:
        if (random() % 4 == 0) driver.Unmount(path(4));
        break;
      default:
        driver.Resolve(path(7), random() % 4 != 0);
    }
#ifndef NDEBUG
    driver.CheckInvariants();
#endif
    driver.Quiesce();
  }
  driver.CheckInvariants();
  EXPECT_GT(driver.num_nodes(), 1000u * kNumSteps / 1'000'000);
}

// One directory goes back and forth between two names while others walk through it. Whoever arrives, arrives at the
// one file; whoever does not, came through a name that was away.
TEST_F(PathWalkTest, WalksRaceWithRenamesAndMounts) {
  for (const char* path : {"/one", "/two", "/one/moving", "/one/moving/in", "/one/stays"})
    ASSERT_EQ(t_.MakeDirectory(path), 0);
  ASSERT_EQ(t_.WriteFile("/one/moving/in/file", "text"), 0);
  const WalkContext context = t_.context();
  const uint64_t number = t_.Stat("/one/moving/in/file")->inode_number;
  std::atomic<bool> stop{false};
  std::atomic<int> num_found{0};
  std::thread readers[2];
  for (std::thread& reader : readers)
    reader = std::thread([&] {
      sync::Reclaimer::ReadSection section(&t_.reclaimer());
      while (!stop.load(std::memory_order_relaxed)) {
        for (const char* path : {"/one/moving/in/file", "/two/moving/in/file", "/two/../one/moving/./in/file"}) {
          const auto attributes = t_.vfs().Stat(context, path, {});
          ASSERT_TRUE(attributes.ok() || attributes.error_number() == ENOENT);
          if (!attributes.ok()) continue;
          ASSERT_EQ(attributes->inode_number, number);
          ++num_found;
        }
        // Covered or not, it is there.
        ASSERT_TRUE(t_.vfs().Stat(context, "/one/stays", {}).ok());
        section.Quiesce();
      }
    });
#ifdef NDEBUG
  constexpr int kNumChanges = 20'000;
#else
  constexpr int kNumChanges = 1000;
#endif
  for (int i = 0; i < kNumChanges; ++i) {
    ASSERT_TRUE(t_.vfs().Rename(context, "/one/moving", context, "/two/moving", 0).ok());
    ASSERT_TRUE(t_.vfs().Rename(context, "/two/moving", context, "/one/moving", 0).ok());
    if (i % 8 == 0) {
      ASSERT_TRUE(t_.vfs().Mount(context, "/one/stays", t_.NewTmpfs(), "none", 0).ok());
      ASSERT_TRUE(t_.vfs().Unmount(context, "/one/stays", MNT_DETACH).ok());
    }
    t_.Quiesce();
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_GT(num_found, 0);
  t_.vfs().CheckInvariants();
}

}  // namespace
}  // namespace remora::fs
