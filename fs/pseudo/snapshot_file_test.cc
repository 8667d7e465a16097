#include "fs/pseudo/snapshot_file.h"

#include <fcntl.h>

#include <atomic>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "gtest/gtest.h"

namespace remora::fs {
namespace {

#ifdef NDEBUG
constexpr int kModelSteps = 1'000'000;
constexpr int kReadsOfThread = 40'000;
#else
constexpr int kModelSteps = 50'000;
constexpr int kReadsOfThread = 4'000;
#endif

std::string ReadAt(File& file, uint64_t offset, size_t max_bytes) {
  std::string bytes(max_bytes, '\0');
  mm::KernelBuffer buffer(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(bytes)));
  const auto n = file.Read(buffer, offset);
  if (!n.ok()) return "errno " + std::to_string(n.error_number());
  bytes.resize(*n);
  return bytes;
}

class SnapshotFileTest : public ::testing::Test {
 protected:
  Ref<SnapshotInode> NewInode(SnapshotInode::GenerateFunction generate) {
    return MakeRef<SnapshotInode>(fs_.get(), std::move(generate));
  }
  HostClock clock_;
  SnapshotCounters counters_;
  Ref<PseudoFileSystem> fs_ = MakeRef<PseudoFileSystem>("proc", 0x9fa0, 77, &clock_, &counters_);
};

TEST_F(SnapshotFileTest, SixtyFourKibByteByByteAreMadeOnce) {
  const std::string text(64 << 10, 'x');
  const Ref<File> file = NewInode([&]() -> ErrnoOr<std::string> { return text; })->Open(Path(), O_RDONLY).value();
  uint64_t n = 0;
  while (ReadAt(*file, n, 1) == "x") ++n;
  EXPECT_EQ(n, text.size());
  EXPECT_EQ(counters_.built, 1u);
  EXPECT_EQ(counters_.reused, text.size());
}

TEST_F(SnapshotFileTest, ReadingNothingMakesNothing) {
  const Ref<File> file = NewInode([]() -> ErrnoOr<std::string> { return Errno(EIO); })->Open(Path(), O_RDONLY).value();
  EXPECT_EQ(ReadAt(*file, 0, 0), "");
  EXPECT_EQ(ReadAt(*file, 0, 1), "errno 5");
}

TEST_F(SnapshotFileTest, AFailureIsNotKept) {
  bool fail = true;
  const auto generate = [&]() -> ErrnoOr<std::string> {
    if (fail) return Errno(ESRCH);
    return std::string("alive");
  };
  const Ref<File> file = NewInode(generate)->Open(Path(), O_RDONLY).value();
  EXPECT_EQ(ReadAt(*file, 2, 9), "errno 3");
  fail = false;
  EXPECT_EQ(ReadAt(*file, 2, 9), "ive");
  fail = true;
  EXPECT_EQ(ReadAt(*file, 0, 9), "errno 3");
  EXPECT_EQ(ReadAt(*file, 1, 9), "live");  // what was read before is still there
}

// Beside a model that keeps a string for each open file.
TEST_F(SnapshotFileTest, ShowsWhatAModelShows) {
  uint64_t version = 0;
  const auto text_of = [](uint64_t v) { return std::string(v % 97, static_cast<char>('a' + v % 26)); };
  const Ref<SnapshotInode> inode = NewInode([&]() -> ErrnoOr<std::string> { return text_of(version); });
  struct Open {
    Ref<File> file;
    bool read = false;
    std::string content;
  };
  std::vector<Open> files(20);
  for (Open& open : files) open.file = inode->Open(Path(), O_RDONLY).value();
  std::mt19937_64 random(3);
  for (int i = 0; i < kModelSteps; ++i) {
    Open& open = files[random() % files.size()];
    if (random() % 16 == 0) open = {inode->Open(Path(), O_RDONLY).value(), false, ""};
    if (random() % 4 == 0) ++version;
    const uint64_t offset = random() % 3 == 0 ? 0 : random() % 110;
    const size_t size = random() % 20;
    if (size != 0 && (offset == 0 || !open.read)) {
      open.content = text_of(version);
      open.read = true;
    }
    const std::string expected = offset < open.content.size() ? open.content.substr(offset, size) : "";
    ASSERT_EQ(ReadAt(*open.file, offset, size), expected) << i;
  }
  EXPECT_GE(counters_.reused, counters_.built);
}

// Each content is one number over and over; a read never shows two.
TEST_F(SnapshotFileTest, ThreadsOfOneOpenFileSeeWholeContents) {
  std::atomic<int> version{0};
  const auto generate = [&]() -> ErrnoOr<std::string> {
    return std::string(200, static_cast<char>('a' + version.fetch_add(1) % 26));
  };
  const Ref<File> file = NewInode(generate)->Open(Path(), O_RDONLY).value();
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < kReadsOfThread; ++i) {
        const std::string seen = ReadAt(*file, random() % 8 == 0 ? 0 : random() % 150, 50);
        ASSERT_EQ(seen.size(), 50u);
        ASSERT_EQ(seen, std::string(50, seen[0]));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace remora::fs
