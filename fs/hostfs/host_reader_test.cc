#include "fs/hostfs/host_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <semaphore>
#include <string>
#include <vector>

#include "base/guest_addr.h"
#include "fs/hostfs/host_pages.h"
#include "fs/hostfs/slow_disk_for_testing.h"

namespace remora::fs {
namespace {

using mm::IoBuffer;
using mm::KernelBuffer;
using Kind = SlowDiskForTesting::Kind;

class Notices final : public sync::Waiter {
 public:
  ~Notices() override { Disarm(); }
  void Notify(sync::Events) override { notices_.release(); }
  void Await() { notices_.acquire(); }

 private:
  std::counting_semaphore<> notices_{0};
};

class HostReaderTest : public ::testing::TestWithParam<Kind> {
 protected:
  HostReaderTest() {
    for (int i = 0; i < 100'000; ++i) content_ += std::to_string(i);
    name_ = std::string(std::getenv("TEST_TMPDIR")) + "/content";
    std::ofstream(name_, std::ios::binary) << content_;
    disk_.MakeSlow(name_);
    pool_.arrivals().Arm(&notices_, sync::kAllEvents);
    reader_ = MakeReader();
  }
  ~HostReaderTest() override { disk_.Allow(1000); }
  Ref<HostReader> MakeReader() {
    return MakeRef<HostReader>(&pool_, MakeRef<HostFd>(open(name_.c_str(), O_RDONLY | O_CLOEXEC)), windows_);
  }
  // As a transfer does: goes on behind what came, whenever something came.
  std::string ReadWhole(HostReader& reader, uint64_t length, uint64_t offset, bool allow = true) {
    std::string text(length, '\0');
    KernelBuffer to(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text.data(), length)));
    while (true) {
      const auto n = reader.ReadAt(to, offset + to.transferred());
      if (n.ok()) break;
      EXPECT_EQ(n.error_number(), EAGAIN);
      if (n.error_number() != EAGAIN) break;
      if (allow) disk_.Allow(1000);
      notices_.Await();
    }
    text.resize(to.transferred());
    return text;
  }
  ErrnoOr<uint64_t> ReadOnce(uint64_t length, uint64_t offset) {
    std::string text(length, '\0');
    KernelBuffer to(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text.data(), length)));
    return reader_->ReadAt(to, offset);
  }

  std::string content_, name_;
  const std::shared_ptr<SlowDiskForTesting> shared_disk_ = std::make_shared<SlowDiskForTesting>(GetParam());
  SlowDiskForTesting& disk_ = *shared_disk_;
  HostReadPool pool_{shared_disk_};
  Notices notices_;
  const Ref<HostWindows> windows_ = MakeRef<HostWindows>();
  Ref<HostReader> reader_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, HostReaderTest, ::testing::Values(Kind::kKeepsPages, Kind::kKeepsNothing));

TEST_P(HostReaderTest, ReadAtOnceNeitherWaitsNorAsks) {
  std::string text(2 * kPageSize, '?');
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(text));
  EXPECT_EQ(reader_->ReadAtOnce(bytes, 0), 0u);
  EXPECT_EQ(disk_.num_waiting(), 0u);
  EXPECT_EQ(ReadWhole(*reader_, 10, 0), content_.substr(0, 10));
  const bool keeps = GetParam() == Kind::kKeepsPages;
  EXPECT_EQ(reader_->ReadAtOnce(bytes, 0), keeps ? text.size() : 0);
  if (keeps) EXPECT_EQ(text, content_.substr(0, text.size()));
  EXPECT_EQ(reader_->ReadAtOnce(bytes, ~uint64_t{0} - 100), 0u);
  EXPECT_EQ(disk_.num_waiting(), 0u);
}

TEST_P(HostReaderTest, AnswersEagainUntilTheBytesHaveCome) {
  EXPECT_EQ(ReadOnce(100, 0).error_number(), EAGAIN);
  disk_.AwaitWaiting(1);
  EXPECT_EQ(ReadOnce(100, 0).error_number(), EAGAIN);
  EXPECT_EQ(pool_.num_reads(), 1u) << "one fetch serves both";
  EXPECT_EQ(ReadWhole(*reader_, 100, 0), content_.substr(0, 100));
}

TEST_P(HostReaderTest, ReadsAcrossManyWindows) {
  EXPECT_EQ(ReadWhole(*reader_, content_.size() + 50, 0), content_);
  EXPECT_EQ(ReadWhole(*reader_, 300'000, 12'345), content_.substr(12'345, 300'000));
}

TEST_P(HostReaderTest, ReadingInSmallStepsGetsOn) {
  std::string all;
  while (all.size() < 20'000) all += ReadWhole(*reader_, 333, all.size());
  EXPECT_EQ(all, content_.substr(0, all.size()));
}

TEST_P(HostReaderTest, OpeningAnewAfterEachWaitGetsOn) {
  std::string text;
  for (int tries = 0; tries < 20 && text.empty(); ++tries) {
    const Ref<HostReader> fresh = MakeReader();
    for (const uint64_t at : {uint64_t{0}, uint64_t{300'000}, uint64_t{400'000}}) {
      std::string piece(100, '\0');
      KernelBuffer to(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(piece)));
      if (!fresh->ReadAt(to, at).ok()) {
        text.clear();
        disk_.Allow(1);
        notices_.Await();
        break;
      }
      text += piece;
    }
  }
  EXPECT_EQ(text, content_.substr(0, 100) + content_.substr(300'000, 100) + content_.substr(400'000, 100));
}

TEST_P(HostReaderTest, TheEndIsTheEnd) {
  EXPECT_EQ(ReadWhole(*reader_, 10, content_.size()), "");
  EXPECT_EQ(ReadWhole(*reader_, 10, content_.size() - 3), content_.substr(content_.size() - 3));
}

// As the page cache reads: a page from its start, with a fresh buffer for each try.
TEST_P(HostReaderTest, TheLastPageNeedsNoSecondFetch) {
  const uint64_t last = PageRoundDown(content_.size());
  EXPECT_EQ(ReadOnce(kPageSize, last).error_number(), EAGAIN);
  disk_.Allow(2);  // the bytes, and the answer that there are no more
  notices_.Await();
  EXPECT_EQ(*ReadOnce(kPageSize, last), content_.size() - last);
}

TEST_P(HostReaderTest, AnErrorOfTheDiskIsToldOnce) {
  disk_.FailNext(EIO);
  EXPECT_EQ(ReadOnce(100, 8192).error_number(), EAGAIN);
  disk_.Allow(1);
  notices_.Await();
  EXPECT_EQ(ReadOnce(100, 8192).error_number(), EIO);
  EXPECT_EQ(ReadWhole(*reader_, 100, 8192), content_.substr(8192, 100));
}

TEST_P(HostReaderTest, WhereADiskFailsTheFileDoesNotEnd) {
  disk_.FailBehind(2 * kPageSize, kPageSize, EIO);
  std::string text(20'000, '\0');
  KernelBuffer to(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text)));
  disk_.Allow(1000);
  ErrnoOr<uint64_t> n = Errno(EAGAIN);
  while (n.error_number() == EAGAIN) {
    n = reader_->ReadAt(to, to.transferred());
    if (n.error_number() == EAGAIN) notices_.Await();
  }
  EXPECT_EQ(to.transferred(), 2 * kPageSize);
  EXPECT_EQ(text.substr(0, 2 * kPageSize), content_.substr(0, 2 * kPageSize));
  EXPECT_EQ(n.error_number(), EIO);
}

TEST_P(HostReaderTest, WhatTheHostHasInMemoryIsNotKeptBesides) {
  EXPECT_EQ(ReadWhole(*reader_, 10, 0), content_.substr(0, 10));
  EXPECT_EQ(windows_->bytes_kept(), GetParam() == Kind::kKeepsPages ? 0 : HostWindows::kBytes);
  std::string page(kPageSize, '\0');
  EXPECT_EQ(ReadOnce(10, 300'000).error_number(), EAGAIN);
  disk_.Allow(1000);
  notices_.Await();
  (void)reader_->ReadAtOnce(std::as_writable_bytes(std::span(page)), PageRoundDown(uint64_t{300'000}));
  EXPECT_EQ(windows_->bytes_kept(), GetParam() == Kind::kKeepsPages ? 0 : 2 * HostWindows::kBytes);
}

TEST_P(HostReaderTest, WindowsOfManyFilesThatNobodyReadsToTheirEndsGo) {
  std::vector<Ref<HostWindows>> files;
  disk_.Allow(1'000'000);
  uint64_t kept = 0;
  for (uint32_t i = 0; i < HostReadPool::kMaxWindowsOfAllFiles + 40; ++i) {
    files.push_back(MakeRef<HostWindows>());
    const Ref<HostReader> reader = MakeRef<HostReader>(
        &pool_, MakeRef<HostFd>(open(name_.c_str(), O_RDONLY | O_CLOEXEC)), Ref<HostWindows>(files.back()));
    EXPECT_EQ(ReadWhole(*reader, 10, 0), content_.substr(0, 10));
  }
  for (const Ref<HostWindows>& file : files) kept += file->bytes_kept();
  EXPECT_LE(kept, (GetParam() == Kind::kKeepsPages ? 0 : HostReadPool::kMaxWindowsOfAllFiles) * HostWindows::kBytes);
  EXPECT_EQ(ReadWhole(*MakeReader(), content_.size(), 0), content_);
}

TEST_P(HostReaderTest, WhatTheGuestOverwroteIsNotToldFromAnOldWindow) {
  EXPECT_EQ(ReadOnce(100, 0).error_number(), EAGAIN);
  disk_.AwaitWaiting(1);
  windows_->Drop();
  disk_.Allow(1);
  notices_.Await();
  content_.replace(0, 5, "fresh");
  std::ofstream(name_, std::ios::binary) << content_;
  EXPECT_EQ(ReadWhole(*reader_, 100, 0), content_.substr(0, 100));
}

TEST_P(HostReaderTest, AHungReadHoldsUpNoOtherFile) {
  EXPECT_EQ(ReadOnce(100, 0).error_number(), EAGAIN);
  disk_.AwaitWaiting(1);
  const std::string other = std::string(std::getenv("TEST_TMPDIR")) + "/other";
  std::ofstream(other) << "quick";
  const Ref<HostReader> quick =
      MakeRef<HostReader>(&pool_, MakeRef<HostFd>(open(other.c_str(), O_RDONLY | O_CLOEXEC)), MakeRef<HostWindows>());
  EXPECT_EQ(ReadWhole(*quick, 100, 0, /*allow=*/false), "quick");
  EXPECT_EQ(disk_.num_waiting(), 1u);
}

// A host that gives less than it could: behind `most` bytes of each read it seems to be at the file's end.
class ShortDisk final : public HostDisk {
 public:
  explicit ShortDisk(uint64_t most) : most_(most) {}
  ErrnoOr<uint64_t> ReadNow(int fd, std::span<const iovec> pieces, uint64_t offset) override {
    const iovec piece{pieces[0].iov_base, std::min<uint64_t>(pieces[0].iov_len, most_)};
    return HostDisk::ReadWaiting(fd, std::span(static_cast<std::byte*>(piece.iov_base), piece.iov_len), offset);
  }

 private:
  const uint64_t most_;
};

TEST(HostPagesTest, AShortReadIsNotTheEndOfTheFile) {
  const std::string name = std::string(std::getenv("TEST_TMPDIR")) + "/short";
  std::string content;
  while (content.size() < 2 * kPageSize - 300) content += std::to_string(content.size());
  std::ofstream(name) << content;
  content.resize(2 * kPageSize, '\0');
  for (const uint64_t most : {uint64_t{1000}, uint64_t{0}}) {
    HostReadPool pool(std::make_shared<ShortDisk>(most));
    HostPageBacking backing(&pool, MakeRef<HostFd>(open(name.c_str(), O_RDONLY | O_CLOEXEC)), MakeRef<HostWindows>());
    for (uint64_t index = 0; index < 2; ++index) {
      std::string page(kPageSize, '?');
      const auto read = backing.ReadPage(index, std::as_writable_bytes(std::span(page)));
      EXPECT_EQ(read.error_number(), most == 0 ? EIO : 0);
      if (read.ok()) EXPECT_EQ(page, content.substr(index * kPageSize, kPageSize));
    }
  }
}

TEST(HostReadPoolTest, EndsAlthoughAReadHangs) {
  const auto shared_disk = std::make_shared<SlowDiskForTesting>();
  SlowDiskForTesting& disk = *shared_disk;
  const std::string name = std::string(std::getenv("TEST_TMPDIR")) + "/hung";
  std::ofstream(name) << "never";
  disk.MakeSlow(name);
  {
    HostReadPool pool(shared_disk);
    const Ref<HostReader> reader =
        MakeRef<HostReader>(&pool, MakeRef<HostFd>(open(name.c_str(), O_RDONLY | O_CLOEXEC)), MakeRef<HostWindows>());
    std::byte bytes[4];
    KernelBuffer to(IoBuffer::Direction::kFill, bytes);
    EXPECT_EQ(reader->ReadAt(to, 0).error_number(), EAGAIN);
    disk.AwaitWaiting(1);
  }
  EXPECT_EQ(disk.num_waiting(), 1u);
  disk.Allow(1000);
}

TEST(HostReadPoolTest, WithoutAPoolTheCallerWaits) {
  const std::string name = std::string(std::getenv("TEST_TMPDIR")) + "/direct";
  std::ofstream(name) << "direct";
  const Ref<HostReader> reader =
      MakeRef<HostReader>(nullptr, MakeRef<HostFd>(open(name.c_str(), O_RDONLY | O_CLOEXEC)), MakeRef<HostWindows>());
  std::string text(10, '\0');
  KernelBuffer to(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(*reader->ReadAt(to, 0), 6u);
  EXPECT_EQ(reader->arrivals(), nullptr);
}

}  // namespace
}  // namespace remora::fs
