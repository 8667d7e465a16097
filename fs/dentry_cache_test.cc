#include "fs/dentry_cache.h"

#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "fs/file.h"
#include "gtest/gtest.h"

namespace remora::fs {
namespace {

class FakeInode final : public Inode {
 public:
  explicit FakeInode(uint64_t n) : number_(n) {}
  FileSystem& file_system() const override { CHECK_MSG(false, "no file system here"); }
  uint64_t number() const override { return number_; }
  uint32_t type() const override { return 0040000; }
  ErrnoOr<Attributes> GetAttributes() override { return Errno(EIO); }
  ErrnoOr<Ref<File>> Open(const Path&, uint32_t) override { return Errno(EIO); }

 private:
  const uint64_t number_;
};

class DentryCacheTest : public ::testing::Test {
 protected:
  Ref<Inode> NewInode() { return MakeRef<FakeInode>(++last_number_); }
  sync::Reclaimer reclaimer_;
  sync::Reclaimer::ReadSection section_{&reclaimer_};
  uint64_t last_number_ = 0;
};

// What a name leads to, where it is known: null for "to nothing".
using Known = std::map<std::pair<const Dentry*, std::string>, Ref<Dentry>>;

TEST_F(DentryCacheTest, KnowsNothingThatItWasNotTold) {
  DentryCache cache(&reclaimer_, 1 << 14);
  std::vector<Ref<Dentry>> directories{cache.MakeRoot(NewInode())};
  for (int i = 0; i < 5; ++i)
    directories.push_back(cache.Insert(directories[0], "dir" + std::to_string(i), NewInode(), 0));
  Known model;
  std::mt19937_64 random(3);
  for (int i = 0; i < 20000; ++i) {
    const Ref<Dentry>& directory = directories[random() % directories.size()];
    const std::string name = "n" + std::to_string(random() % 20);
    const auto key = std::pair(static_cast<const Dentry*>(directory.get()), name);
    switch (random() % 6) {
      case 0: {  // a new name
        if (model.contains(key) && model[key]) break;
        Ref<Dentry> dentry = cache.Insert(directory, name, NewInode(), directory->change_count());
        ASSERT_TRUE(dentry);
        model[key] = dentry;
        break;
      }
      case 1:  // known to lead nowhere
        if (model.contains(key)) break;
        ASSERT_FALSE(cache.Insert(directory, name, nullptr, directory->change_count()));
        model[key] = nullptr;
        break;
      case 2: {  // an answer from before a change is not kept
        const uint64_t old = directory->change_count();
        cache.Invalidate(directory, name);
        model.erase(key);
        ASSERT_FALSE(cache.Insert(directory, name, NewInode(), old));
        break;
      }
      case 3: {
        const Ref<Dentry>& to = directories[random() % directories.size()];
        const std::string new_name = "n" + std::to_string(random() % 20);
        const auto new_key = std::pair(static_cast<const Dentry*>(to.get()), new_name);
        if (!model.contains(key) || !model[key] || key == new_key) break;
        const Ref<Dentry> moved = model[key];
        const bool fresh = random() % 2 == 0;
        const uint64_t count = to->change_count();
        if (!fresh) cache.Invalidate(to, "other");
        ASSERT_EQ(cache.Move(moved, directory, name, to, new_name, count), fresh);
        model.erase(key);
        model.erase(new_key);
        if (!fresh) ASSERT_TRUE(cache.Keep(moved, to->change_count()));
        model[new_key] = moved;
        ASSERT_EQ(moved->parent(), to);
        ASSERT_EQ(moved->name(), new_name);
        break;
      }
      default: {
        const DentryCache::Found found = cache.Lookup(*directory, name);
        auto it = model.find(key);
        if (it == model.end()) {
          ASSERT_EQ(found.answer, DentryCache::Answer::kUnknown);
        } else {
          ASSERT_EQ(found.answer, it->second ? DentryCache::Answer::kPositive : DentryCache::Answer::kNegative);
          ASSERT_EQ(found.dentry, it->second);
        }
      }
    }
  }
  cache.CheckInvariants();
}

TEST_F(DentryCacheTest, WhatHasBeenMadeIsNotHiddenByOlderAnswers) {
  DentryCache cache(&reclaimer_, 1 << 14);
  const Ref<Dentry> root = cache.MakeRoot(NewInode());
  const auto answer = [&](std::string_view name) { return cache.Lookup(*root, name).answer; };
  // Who makes a name has looked for it before.
  const uint64_t before = root->change_count();
  EXPECT_FALSE(cache.Insert(root, "a", nullptr, before));
  EXPECT_EQ(answer("a"), DentryCache::Answer::kNegative);
  const Ref<Dentry> a = cache.Add(root, "a", NewInode(), before);
  ASSERT_TRUE(a);
  EXPECT_EQ(cache.Lookup(*root, "a").dentry, a);
  // Nor does the answer of one who asked the file system before that come in now.
  EXPECT_FALSE(cache.Insert(root, "a", nullptr, before));
  EXPECT_EQ(cache.Lookup(*root, "a").dentry, a);
  // Another name changes between the file system's answer and here.
  const uint64_t count = root->change_count();
  EXPECT_FALSE(cache.Insert(root, "b", nullptr, count));
  cache.Invalidate(root, "c");
  EXPECT_FALSE(cache.Add(root, "b", NewInode(), count));
  EXPECT_EQ(answer("b"), DentryCache::Answer::kUnknown);
  cache.CheckInvariants();
}

TEST_F(DentryCacheTest, AnAnswerThatTheCacheHasIsNeverTooOld) {
  DentryCache cache(&reclaimer_, 1 << 14);
  const Ref<Dentry> root = cache.MakeRoot(NewInode());
  const Ref<Inode> inode = NewInode();
  const uint64_t count = root->change_count();
  const Ref<Dentry> dentry = cache.Add(root, "a", inode, count);
  cache.Invalidate(root, "b");
  EXPECT_EQ(cache.Insert(root, "a", inode, count), dentry);
  EXPECT_FALSE(cache.Insert(root, "a", NewInode(), count));
}

TEST_F(DentryCacheTest, EvictsOnlyWhatNobodyUses) {
  DentryCache cache(&reclaimer_, 1024);
  const Ref<Dentry> root = cache.MakeRoot(NewInode());
  std::vector<Ref<Dentry>> used;
  for (int i = 0; i < 100; ++i) used.push_back(cache.Insert(root, "used" + std::to_string(i), NewInode(), 0));
  for (int i = 0; i < 20000; ++i) {
    const std::string name = std::to_string(i);
    if (i % 2 == 0)
      ASSERT_TRUE(cache.Insert(root, name, NewInode(), 0));
    else
      ASSERT_FALSE(cache.Insert(root, name, nullptr, 0));
  }
  EXPECT_LT(cache.num_entries(), 3000u);
  for (int i = 0; i < 100; ++i)
    ASSERT_EQ(cache.Lookup(*root, "used" + std::to_string(i)).dentry, used[static_cast<size_t>(i)]);
  cache.CheckInvariants();
}

TEST_F(DentryCacheTest, ALookupTakesNoLock) {
  DentryCache cache(&reclaimer_);
  const Ref<Dentry> root = cache.MakeRoot(NewInode());
  const Ref<Dentry> child = cache.Insert(root, "a", NewInode(), 0);
  const uint64_t before = LocksTakenByThisThread();
  EXPECT_EQ(cache.Lookup(*root, "a").dentry, child);
  EXPECT_EQ(cache.Lookup(*root, "b").answer, DentryCache::Answer::kUnknown);
  EXPECT_EQ(LocksTakenByThisThread(), before);
}

TEST_F(DentryCacheTest, NamesAreToldFromAnyTopAbove) {
  DentryCache cache(&reclaimer_);
  const Ref<Dentry> root = cache.MakeRoot(NewInode());
  const Ref<Dentry> a = cache.Insert(root, "a", NewInode(), 0), b = cache.Insert(a, "b", NewInode(), 0);
  const Ref<Dentry> other = cache.Insert(root, "other", NewInode(), 0);
  std::string name;
  EXPECT_TRUE(cache.AppendPath(*root, *b, &name));
  EXPECT_EQ(name, "/a/b");
  name.clear();
  EXPECT_FALSE(cache.AppendPath(*other, *b, &name));
  EXPECT_EQ(name, "/a/b");
  EXPECT_TRUE(cache.IsAncestor(*a, *b));
  EXPECT_FALSE(cache.IsAncestor(*b, *a));
}

}  // namespace
}  // namespace remora::fs
