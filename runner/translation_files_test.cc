#include "runner/translation_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/guest_addr.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace remora::runner {
namespace {

using cpu::translator::TranslationStore;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace files = std::filesystem;

constexpr uint64_t kSettings = 0x1234;
using PageBytes = std::array<std::byte, kPageSize>;

class TranslationFilesTest : public testing::Test {
 protected:
  TranslationFilesTest() { files::create_directory(work_); }
  ~TranslationFilesTest() override { files::remove_all(work_); }

  std::unique_ptr<TranslationFiles> Open(uint64_t settings = kSettings) {
    auto opened = TranslationFiles::Open(folder_, settings);
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    return opened.ok() ? *std::move(opened) : nullptr;
  }
  std::string ErrorOf(const std::string& folder, std::vector<std::string> guests_own = {}) {
    return std::string(TranslationFiles::Open(folder, kSettings, guests_own).status().message());
  }
  // The images that there are, the smallest first.
  std::vector<files::path> Images() const {
    std::vector<files::path> images;
    for (const files::directory_entry& entry : files::directory_iterator(folder_))
      if (entry.path().extension() == ".translations") images.push_back(entry.path());
    std::ranges::sort(images, {}, [](const files::path& image) { return files::file_size(image); });
    return images;
  }
  // A run that comes to so many pages, from `first` on, and saves what is new. How many of them were known.
  int Come(uint64_t first, uint64_t number, uint64_t settings = kSettings) {
    const std::unique_ptr<TranslationFiles> opened = Open(settings);
    const PageBytes bytes{};
    int known = 0;
    for (uint64_t page = first; page < first + number; ++page)
      known += opened->store()->Ask(page, bytes)->stored.empty() ? 0 : 1;
    EXPECT_TRUE(opened->Save().ok());
    return known;
  }

  const files::path work_ = files::path(testing::TempDir()) / ("translation_files." + std::to_string(getpid()));
  const std::string folder_ = work_ / "kept";
};

TEST_F(TranslationFilesTest, TheNextRunHasWhatThisOneSaved) {
  EXPECT_EQ(Come(0, 100), 0);
  EXPECT_EQ(Come(0, 100), 100);
  EXPECT_EQ(Come(0, 100, kSettings + 1), 0);
  EXPECT_EQ(Come(0, 100), 100);
  struct stat status;
  ASSERT_EQ(stat(folder_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  for (const files::path& image : Images()) EXPECT_EQ(files::status(image).permissions(), files::perms(0600));
}

TEST_F(TranslationFilesTest, LittleThatIsNewIsNotSaved) {
  EXPECT_EQ(Come(0, 5), 0);
  EXPECT_THAT(Images(), IsEmpty());
}

TEST_F(TranslationFilesTest, AShortProgramIsSavedOnceItIsNew) {
  EXPECT_EQ(Come(0, 10), 0);
  EXPECT_EQ(Images().size(), 1u);
  const files::path first = Images()[0];
  EXPECT_EQ(Come(0, 19), 10) << "known, for the most part";
  EXPECT_THAT(Images(), ElementsAre(first));
  EXPECT_EQ(Come(0, 21), 10);
  EXPECT_EQ(Come(0, 21), 21);
}

TEST_F(TranslationFilesTest, TheLayoutIsTheSameInEachRun) {
  const uint64_t first = Open()->layout_entropy()->NextU64();
  EXPECT_EQ(Open()->layout_entropy()->NextU64(), first);
  files::remove(folder_ + "/layout");
  EXPECT_NE(Open()->layout_entropy()->NextU64(), first);
}

// Many small runs leave few files, and nothing is lost.
TEST_F(TranslationFilesTest, ImagesAreMerged) {
  constexpr uint64_t kRuns = 64, kPages = 40;
  for (uint64_t run = 0; run < kRuns; ++run) EXPECT_EQ(Come(run * kPages, kPages), 0);
  EXPECT_LE(Images().size(), TranslationFiles::kMaxImages + 1);
  EXPECT_EQ(Come(0, kRuns * kPages), static_cast<int>(kRuns * kPages));
}

// Runs side by side, none of which finds what the others have.
TEST_F(TranslationFilesTest, WhatSeveralRunsHaveWrittenBecomesOne) {
  constexpr uint64_t kRuns = 12, kPages = 100;
  const PageBytes bytes{};
  std::vector<std::unique_ptr<TranslationFiles>> runs;
  for (uint64_t run = 0; run < kRuns; ++run) runs.push_back(Open());
  for (const std::unique_ptr<TranslationFiles>& run : runs) {
    for (uint64_t page = 0; page < kPages; ++page) run->store()->Ask(page, bytes);
    EXPECT_TRUE(run->Save().ok());
  }
  EXPECT_EQ(Images().size(), kRuns);
  EXPECT_EQ(Come(0, kPages), static_cast<int>(kPages));
  const std::vector<files::path> images = Images();
  EXPECT_LE(images.size(), TranslationFiles::kMaxImages);
  EXPECT_EQ(files::file_size(images.front()), files::file_size(images.back())) << "no page is there twice";
  EXPECT_EQ(Come(0, kPages), static_cast<int>(kPages));
}

TEST_F(TranslationFilesTest, WhatIsCutOffGoes) {
  Come(0, 100);
  files::resize_file(Images().at(0), 1000);
  EXPECT_EQ(Come(0, 5), 0);
  EXPECT_THAT(Images(), IsEmpty());
}

TEST_F(TranslationFilesTest, WhatWasNotUsedForLongestGoesWhereThereIsTooMuch) {
  Come(0, 100);
  const files::path old = files::path(folder_) / "0000000000000001-0000000000000001.translations";
  const files::path older = files::path(folder_) / "0000000000000001-0000000000000002.translations";
  for (const files::path& large : {old, older}) {
    std::ofstream(large).close();
    files::resize_file(large, TranslationFiles::kMaxBytes - (1 << 20));
  }
  const auto now = files::file_time_type::clock::now();
  files::last_write_time(old, now - std::chrono::hours(48));
  files::last_write_time(older, now - std::chrono::hours(72));
  Come(1000, 100);
  EXPECT_TRUE(files::exists(old));
  EXPECT_FALSE(files::exists(older));
  EXPECT_EQ(Come(0, 100), 100);
}

TEST_F(TranslationFilesTest, WhatOthersMayWriteIsNotUsed) {
  Come(0, 100);
  files::permissions(Images().at(0), files::perms(0666));
  EXPECT_EQ(Come(0, 10), 0);
  files::permissions(Images().at(0), files::perms(0600));
  EXPECT_EQ(Come(0, 10), 10);
  // Nor what a link leads to.
  const files::path image = Images().at(0);
  files::rename(image, work_ / "elsewhere");
  files::create_symlink(work_ / "elsewhere", image);
  EXPECT_EQ(Come(0, 10), 0);
  files::permissions(folder_ + "/layout", files::perms(0666));
  EXPECT_THAT(ErrorOf(folder_), HasSubstr("layout: not a file of the caller's own"));
  files::permissions(folder_ + "/layout", files::perms(0600));
  files::permissions(folder_, files::perms(0777));
  EXPECT_THAT(ErrorOf(folder_), HasSubstr("others may write"));
}

TEST_F(TranslationFilesTest, WhatTheGuestMayWriteIsNotUsed) {
  EXPECT_THAT(ErrorOf(folder_, {work_}), HasSubstr("the guest may write"));
  EXPECT_THAT(ErrorOf(folder_, {"/usr", folder_}), HasSubstr("the guest may write"));
  EXPECT_THAT(ErrorOf(folder_, {"/"}), HasSubstr("the guest may write"));
  files::create_directory(work_ / "other");
  EXPECT_EQ(ErrorOf(folder_, {work_ / "other", work_ / "missing"}), "");
  // By its name and by where that leads.
  files::create_directory_symlink(folder_, work_ / "other" / "link");
  EXPECT_THAT(ErrorOf(work_ / "other" / "link", {work_ / "other"}), HasSubstr("the guest may write"));
  EXPECT_THAT(ErrorOf(work_ / "other" / "link", {folder_}), HasSubstr("the guest may write"));
  // And by what is on the way there.
  files::create_directory_symlink(work_ / "other", work_ / "to_other");
  EXPECT_THAT(ErrorOf(work_ / "to_other" / "link", {work_ / "other"}), HasSubstr("the guest may write"));
  EXPECT_THAT(ErrorOf(work_ / "other" / "new", {work_ / "other"}), HasSubstr("the guest may write"));
  EXPECT_FALSE(files::exists(work_ / "other" / "new"));
}

TEST_F(TranslationFilesTest, AFolderThatCannotBeIsNamed) {
  EXPECT_THAT(ErrorOf(work_ / "missing" / "folder"), HasSubstr("No such file"));
  std::ofstream(work_ / "file").close();
  EXPECT_THAT(ErrorOf(work_ / "file"), HasSubstr("Not a directory"));
}

TEST_F(TranslationFilesTest, OfTwoSeedsTheFirstOneStays) {
  // As another run may write it between two looks of this one.
  const uint64_t first = Open()->layout_entropy()->NextU64();
  EXPECT_EQ(Open()->layout_entropy()->NextU64(), first);
  // Cut off, as the host's end may leave it.
  files::resize_file(folder_ + "/layout", 3);
  const uint64_t second = Open()->layout_entropy()->NextU64();
  EXPECT_NE(second, first);
  EXPECT_EQ(Open()->layout_entropy()->NextU64(), second);
  files::remove(folder_ + "/layout");
  ASSERT_EQ(mkfifo((folder_ + "/layout").c_str(), 0600), 0);
  EXPECT_THAT(ErrorOf(folder_), HasSubstr("layout: not a file"));
}

TEST_F(TranslationFilesTest, RunsThatBeginAtOnceHaveOneLayout) {
  constexpr int kTrials = 50, kRuns = 6;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::array<uint64_t, kRuns> layouts{};
    std::vector<std::thread> runs;
    for (uint64_t& layout : layouts) runs.emplace_back([&] { layout = Open()->layout_entropy()->NextU64(); });
    for (std::thread& run : runs) run.join();
    for (const uint64_t layout : layouts) ASSERT_EQ(layout, layouts[0]) << trial;
    files::remove_all(folder_);
  }
}

TEST_F(TranslationFilesTest, WhatBelongsToALostLayoutIsNotUsed) {
  EXPECT_EQ(Come(0, 100), 0);
  files::remove(folder_ + "/layout");
  EXPECT_EQ(Come(0, 100), 0);
  EXPECT_EQ(Come(0, 100), 100);
}

TEST_F(TranslationFilesTest, WhatAKilledRunHasLeftGoesAfterAWhile) {
  Come(0, 100);
  const files::path recent = files::path(folder_) / "new-0000000000000001";
  const files::path old = files::path(folder_) / "new-0000000000000002";
  for (const files::path& unfinished : {recent, old}) std::ofstream(unfinished).close();
  files::last_write_time(old, files::file_time_type::clock::now() - std::chrono::hours(2));
  Come(1000, 100);
  EXPECT_TRUE(files::exists(recent));
  EXPECT_FALSE(files::exists(old));
}

TEST_F(TranslationFilesTest, AFolderThatHasGoneIsNamed) {
  const std::unique_ptr<TranslationFiles> opened = Open();
  const PageBytes bytes{};
  for (uint64_t page = 0; page < 100; ++page) opened->store()->Ask(page, bytes);
  files::remove_all(folder_);
  EXPECT_THAT(std::string(opened->Save().message()), HasSubstr(folder_));
}

}  // namespace
}  // namespace remora::runner
