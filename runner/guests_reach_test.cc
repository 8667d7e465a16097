#include "runner/guests_reach.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace remora::runner {
namespace {

namespace files = std::filesystem;

class GuestsReachTest : public testing::Test {
 protected:
  GuestsReachTest() {
    for (const char* name : {"guests/deep/deeper", "mine/cache", "mine/other"}) files::create_directories(work_ / name);
  }
  ~GuestsReachTest() override { files::remove_all(work_); }

  // Whether a guest that may write to guests/ can decide what is there.
  bool IsReached(const files::path& path) {
    const std::vector<std::string> guests = {work_ / "missing", work_ / "guests"};
    const std::optional<std::string> found = GuestsFolderOnTheWay(path, guests);
    if (found) EXPECT_EQ(*found, guests[1]);
    return found.has_value();
  }
  void Link(const char* name, const files::path& target) { files::create_directory_symlink(target, work_ / name); }

  const files::path work_ = files::path(testing::TempDir()) / ("guests_reach." + std::to_string(getpid()));
};

TEST_F(GuestsReachTest, WhatLiesWithin) {
  EXPECT_TRUE(IsReached(work_ / "guests"));
  EXPECT_TRUE(IsReached(work_ / "guests/deep/deeper"));
  EXPECT_TRUE(IsReached(work_ / "guests/new"));
  EXPECT_TRUE(IsReached(work_ / "guests/deep/new/newer"));
  EXPECT_FALSE(IsReached(work_ / "mine/cache"));
  EXPECT_FALSE(IsReached(work_ / "mine/new/guests"));
  EXPECT_FALSE(IsReached(work_));
  EXPECT_FALSE(IsReached("/"));
  EXPECT_FALSE(GuestsFolderOnTheWay(work_ / "guests", {}));
  EXPECT_TRUE(GuestsFolderOnTheWay(work_ / "mine/cache", std::vector<std::string>{"/"}));
}

TEST_F(GuestsReachTest, WhereDotsLeadIsWhatTheKernelSays) {
  EXPECT_TRUE(IsReached(work_ / "mine/../guests/./deep"));
  EXPECT_TRUE(IsReached(work_ / "guests/../mine/cache")) << "by a name in it";
  // As text, link/../cache is mine/cache.
  Link("mine/link", "../guests/deep");
  files::create_directory(work_ / "guests/cache");
  EXPECT_TRUE(IsReached(work_ / "mine/link/../cache"));
  EXPECT_TRUE(IsReached(work_ / "mine/link/.."));
  EXPECT_FALSE(IsReached(work_ / "mine/other/../cache/"));
}

TEST_F(GuestsReachTest, LinksOnTheWayAreLookedAt) {
  Link("to_guests", "guests/deep");
  EXPECT_TRUE(IsReached(work_ / "to_guests"));
  Link("guests/out", work_ / "mine");
  EXPECT_TRUE(IsReached(work_ / "guests/out/cache")) << "the link is the guest's";
  // By a link to that link.
  Link("mine/by_two", "../guests/out/cache");
  EXPECT_TRUE(IsReached(work_ / "mine/by_two"));
  Link("mine/to_other", "other");
  EXPECT_FALSE(IsReached(work_ / "mine/to_other"));
  Link("mine/nowhere", "missing/folder");
  EXPECT_FALSE(IsReached(work_ / "mine/nowhere"));
  Link("mine/round", "round");
  EXPECT_FALSE(IsReached(work_ / "mine/round/x"));
}

TEST_F(GuestsReachTest, AFolderIsKnownByWhatItIs) {
  Link("alias", "guests");
  const std::vector<std::string> guests = {work_ / "alias"};
  EXPECT_EQ(GuestsFolderOnTheWay(work_ / "guests/deep", guests), guests[0]);
}

TEST_F(GuestsReachTest, ARelativePathBeginsWhereTheCallerIs) {
  const files::path before = files::current_path();
  files::current_path(work_ / "mine");
  EXPECT_TRUE(IsReached("../guests/x"));
  EXPECT_FALSE(IsReached("cache"));
  EXPECT_FALSE(IsReached(""));
  files::current_path(before);
}

}  // namespace
}  // namespace remora::runner
