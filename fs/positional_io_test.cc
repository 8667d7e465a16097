#include "fs/positional_io.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "fs/vfs_for_testing.h"
#include "gtest/gtest.h"
#include "mm/io_buffer.h"

namespace remora::fs {
namespace {

using Direction = mm::IoBuffer::Direction;

// A file that has a cursor and nothing else: what lies at an offset is reached by moving the cursor there, as on a
// backend that knows lseek, read and write only. The cursor is the file's position.
class SeekOnlyFile final : public File {
 public:
  explicit SeekOnlyFile(uint32_t flags) : File(nullptr, Path(), flags) {}
  bool seekable() const override { return true; }
  uint64_t position() const override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    MutexLock lock(&mu_);
    return cursor_;
  }
  void set_position(uint64_t p) override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    MutexLock lock(&mu_);
    cursor_ = p;
  }
  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override {
    MutexLock lock(&mu_);
    const uint64_t old = SeekTo(offset);
    auto n = cursor_ < bytes_.size() ? to.Write(std::as_bytes(std::span(bytes_).subspan(cursor_))) : 0u;
    if (n.ok()) cursor_ += *n;
    cursor_ = old;
    return n;
  }
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) override {
    MutexLock lock(&mu_);
    const uint64_t old = SeekTo(offset);
    bytes_.resize(std::max(bytes_.size(), cursor_ + from.remaining()));
    auto n = from.Read(std::as_writable_bytes(std::span(bytes_).subspan(cursor_, from.remaining())));
    cursor_ = old;
    return n;
  }
  ErrnoOr<uint64_t> Append(mm::IoBuffer& from, uint64_t* end) override {
    MutexLock lock(&mu_);
    const uint64_t at = bytes_.size();
    bytes_.resize(at + from.remaining());
    auto n = from.Read(std::as_writable_bytes(std::span(bytes_).subspan(at)));
    *end = bytes_.size();
    return n;
  }
  ErrnoOr<uint64_t> SizeForSeek() override {
    MutexLock lock(&mu_);
    return bytes_.size();
  }

 private:
  uint64_t SeekTo(uint64_t offset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return std::exchange(cursor_, offset); }
  mutable Mutex mu_{LockRank::kLeaf};
  uint64_t cursor_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<char> bytes_ ABSL_GUARDED_BY(mu_);
};

// A tmpfs file, read and written through the page cache, and one that can only seek.
class PositionalIoTest : public ::testing::TestWithParam<const char*> {
 protected:
  PositionalIoTest() { t_.vfs().MountRoot(t_.NewTmpfs(), 0); }
  Ref<File> Open(uint32_t more_flags = 0) {
    if (std::string_view(GetParam()) == "SeekOnly") return MakeRef<SeekOnlyFile>(O_RDWR | more_flags);
    auto file = t_.vfs().Open(t_.context(), "/file",
                              {.flags = O_CREAT | O_RDWR | more_flags, .permissions = 0644, .resolve = 0});
    EXPECT_TRUE(file.ok());
    return *std::move(file);
  }
  static uint64_t Write(File& file, std::string_view text, const TransferPosition& where = {}) {
    std::string bytes(text);
    mm::KernelBuffer buffer(Direction::kDrain, std::as_writable_bytes(std::span(bytes)));
    const auto n = TransferAt(file, buffer, where);
    EXPECT_TRUE(n.ok());
    return n.ok() ? *n : 0;
  }
  static std::string Read(File& file, size_t max_bytes, const TransferPosition& where = {}) {
    std::string bytes(max_bytes, '?');
    mm::KernelBuffer buffer(Direction::kFill, std::as_writable_bytes(std::span(bytes)));
    const auto n = TransferAt(file, buffer, where);
    EXPECT_TRUE(n.ok());
    bytes.resize(n.ok() ? *n : 0);
    return bytes;
  }
  static uint64_t PositionOf(File& file) {
    MutexLock lock(&file.position_mutex());
    return file.position();
  }
  static TransferPosition At(uint64_t offset) { return {.offset = offset, .append = false}; }

  VfsForTesting t_;
};

TEST_P(PositionalIoTest, ReadsAndWritesMoveThePosition) {
  const Ref<File> file = Open();
  EXPECT_EQ(Write(*file, "abcdef"), 6u);
  EXPECT_EQ(PositionOf(*file), 6u);
  EXPECT_EQ(Read(*file, 10), "");
  EXPECT_EQ(Write(*file, "g"), 1u);
  EXPECT_EQ(PositionOf(*file), 7u);
}

TEST_P(PositionalIoTest, AnOffsetLeavesThePositionAlone) {
  const Ref<File> file = Open();
  Write(*file, "abcdef");
  EXPECT_EQ(Read(*file, 3, At(1)), "bcd");
  EXPECT_EQ(Write(*file, "XY", At(4)), 2u);
  EXPECT_EQ(Read(*file, 9, At(6)), "");
  EXPECT_EQ(PositionOf(*file), 6u);
  EXPECT_EQ(Read(*file, 9, At(0)), "abcdXY");
}

TEST_P(PositionalIoTest, AnAppendMovesThePositionToItsEnd) {
  const Ref<File> file = Open(O_APPEND);
  Write(*file, "abc", At(0));
  EXPECT_EQ(PositionOf(*file), 0u);  // with an offset it stays, although the bytes went to the end
  Write(*file, "de");
  EXPECT_EQ(PositionOf(*file), 5u);
  Write(*file, "f", At(1));
  EXPECT_EQ(Read(*file, 9, At(0)), "abcdef");
}

TEST_P(PositionalIoTest, OneAppendOfAFileThatIsOpenOtherwise) {
  const Ref<File> file = Open();
  Write(*file, "abc");
  Read(*file, 1, At(0));
  Write(*file, "d", {.offset = std::nullopt, .append = true});
  EXPECT_EQ(PositionOf(*file), 4u);
  Write(*file, "e", {.offset = 0, .append = true});
  EXPECT_EQ(PositionOf(*file), 4u);
  EXPECT_EQ(Read(*file, 9, At(0)), "abcde");
}

TEST_P(PositionalIoTest, AFailureLeavesThePosition) {
  const Ref<File> file = Open();
  Write(*file, "abc");
  class Bad final : public mm::IoBuffer {
   public:
    explicit Bad(Direction direction) : IoBuffer(direction, 10) {}
    ErrnoOr<std::span<std::byte>> Peek(uint64_t) override { return Errno(EFAULT); }
    ErrnoOr<uint32_t> Gather(std::span<iovec>, uint64_t) override { return Errno(EFAULT); }
    void Advance(uint64_t) override {}
  };
  {
    MutexLock lock(&file->position_mutex());
    file->set_position(1);
  }
  Bad fill(Direction::kFill), drain(Direction::kDrain);
  EXPECT_EQ(TransferAt(*file, fill, {}).error_number(), EFAULT);
  EXPECT_EQ(PositionOf(*file), 1u);
  EXPECT_EQ(TransferAt(*file, drain, {}).error_number(), EFAULT);
  EXPECT_EQ(PositionOf(*file), 1u);
}

// The rest of a regular file that is on its way: the bytes before it have moved, and the next transfer goes on there.
TEST(PositionalIoOfASlowFileTest, ThePositionIsBehindTheBytesBeforeEagain) {
  class SlowFile final : public File {
   public:
    SlowFile() : File(nullptr, Path(), O_RDWR) {}
    bool seekable() const override { return true; }
    ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override {
      read_from.push_back(offset);
      if (read_from.size() > 1) return to.WriteZeros(to.remaining());
      EXPECT_TRUE(to.WriteZeros(3).ok());
      return Errno(EAGAIN);
    }
    ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t) override {
      from.Advance(2);
      return Errno(EAGAIN);
    }
    std::vector<uint64_t> read_from;
  };
  const Ref<SlowFile> file = MakeRef<SlowFile>();
  std::array<std::byte, 8> bytes;
  mm::KernelBuffer fill(Direction::kFill, bytes), drain(Direction::kDrain, bytes);
  EXPECT_EQ(TransferAt(*file, fill, {}).error_number(), EAGAIN);
  EXPECT_EQ(*TransferAt(*file, fill, {}), 5u);
  EXPECT_EQ(file->read_from, (std::vector<uint64_t>{0, 3}));
  EXPECT_EQ(TransferAt(*file, drain, {}).error_number(), EAGAIN);
  MutexLock lock(&file->position_mutex());
  EXPECT_EQ(file->position(), 10u);
}

// Random transfers of one thread beside a string and an integer.
TEST_P(PositionalIoTest, AgreesWithAStringAndAPosition) {
#ifdef NDEBUG
  constexpr int kSteps = 1'000'000;
#else
  constexpr int kSteps = 20'000;
#endif
  constexpr uint64_t kMost = 20'000;
  std::mt19937_64 random(3);
  const auto below = [&](uint64_t n) { return random() % n; };
  const Ref<File> file = Open();
  std::string bytes;
  uint64_t position = 0;
  std::string text;
  for (int step = 0; step < kSteps; ++step) {
    const uint64_t length = below(below(32) == 0 ? 6000 : 48);
    std::optional<uint64_t> offset;
    if (below(2) == 0) offset = below(kMost - 6000);
    const uint64_t at = offset.value_or(position);
    if (below(2) == 0) {
      text.assign(length, '\0');
      for (char& c : text) c = static_cast<char>(step + (&c - text.data()));
      const bool append = below(8) == 0 && bytes.size() < kMost - 6000;
      const uint64_t to = append ? bytes.size() : at;
      if (to + length > kMost) continue;
      ASSERT_EQ(Write(*file, text, {.offset = offset, .append = append}), length);
      if (length != 0) bytes.resize(std::max(bytes.size(), to + length));
      bytes.replace(to, length, text);
      if (!offset) position = to + length;
    } else {
      const std::string expected = at < bytes.size() ? bytes.substr(at, length) : "";
      ASSERT_EQ(Read(*file, length, {.offset = offset, .append = false}), expected);
      if (!offset) position += expected.size();
    }
    ASSERT_EQ(PositionOf(*file), position);
    if (below(64) == 0) {
      position = below(kMost / 2);
      MutexLock lock(&file->position_mutex());
      file->set_position(position);
    }
  }
}

// Two threads take records by read, two others look at fixed places by pread and one writes its own by pwrite, all
// through one open file. Every record is taken once, in order within each thread, and nobody sees half a record.
TEST_P(PositionalIoTest, SequentialReadersShareThePositionAndOthersDoNotDisturbThem) {
#ifdef NDEBUG
  constexpr uint32_t kRecords = 40'000;
#else
  constexpr uint32_t kRecords = 4'000;
#endif
  struct Record {
    uint32_t number;
    uint32_t copies[14];
    uint32_t check;
  };
  static_assert(sizeof(Record) == 64);
  const Ref<File> file = Open();
  std::vector<Record> records(kRecords + 1);
  for (uint32_t i = 0; i <= kRecords; ++i) {
    records[i].number = i;
    std::fill(std::begin(records[i].copies), std::end(records[i].copies), i);
    records[i].check = ~i;
  }
  Write(*file, std::string_view(reinterpret_cast<const char*>(records.data()), records.size() * sizeof(Record)), At(0));
  const auto transfer = [&](Direction direction, Record* record, const TransferPosition& where) {
    mm::KernelBuffer buffer(direction, std::as_writable_bytes(std::span(record, 1)));
    const auto n = TransferAt(*file, buffer, where);
    return n.ok() ? *n : 0;
  };
  std::array<std::vector<uint32_t>, 2> taken;
  std::atomic<int> takers{2};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      sync::Reclaimer::ReadSection section(&t_.reclaimer());
      Record record;
      while (transfer(Direction::kFill, &record, {}) == sizeof(Record)) {
        if (record.number == kRecords) continue;  // the writer's
        ASSERT_EQ(record.check, ~record.number);
        ASSERT_EQ(record.copies[7], record.number);
        taken[t].push_back(record.number);
      }
      --takers;
    });
    threads.emplace_back([&, t] {
      sync::Reclaimer::ReadSection section(&t_.reclaimer());
      std::mt19937 random(t);
      Record record;
      while (takers.load() != 0) {
        const uint32_t i = random() % kRecords;
        ASSERT_EQ(transfer(Direction::kFill, &record, At(i * sizeof(Record))), sizeof(Record));
        ASSERT_EQ(record.number, i);
        ASSERT_EQ(record.check, ~i);
      }
    });
  }
  threads.emplace_back([&] {
    sync::Reclaimer::ReadSection section(&t_.reclaimer());
    Record record = records[kRecords];
    while (takers.load() != 0) transfer(Direction::kDrain, &record, At(kRecords * sizeof(Record)));
  });
  for (std::thread& thread : threads) thread.join();
  std::vector<uint32_t> all;
  for (const auto& one : taken) {
    EXPECT_TRUE(std::is_sorted(one.begin(), one.end()));
    all.insert(all.end(), one.begin(), one.end());
  }
  std::sort(all.begin(), all.end());
  ASSERT_EQ(all.size(), kRecords);
  for (uint32_t i = 0; i < kRecords; ++i) ASSERT_EQ(all[i], i);
  EXPECT_EQ(PositionOf(*file), (kRecords + 1) * sizeof(Record));
}

INSTANTIATE_TEST_SUITE_P(Files, PositionalIoTest, ::testing::Values("Tmpfs", "SeekOnly"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace remora::fs
