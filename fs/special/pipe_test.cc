#include "fs/special/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "fs/special/faulting_buffer_for_testing.h"
#include "fs/special/fifo.h"
#include "gtest/gtest.h"

namespace remora::fs {
namespace {

using mm::IoBuffer;
using mm::KernelBuffer;

class PipeTest : public ::testing::Test {
 protected:
  PipeTest() { signal(SIGPIPE, SIG_IGN); }

  // Bytes, or the error number negated: as a system call answers.
  static int64_t Plain(const ErrnoOr<uint64_t>& result) {
    return result.ok() ? static_cast<int64_t>(*result) : -int64_t{result.error_number()};
  }
  static int64_t Write(File& file, std::string_view text) {
    KernelBuffer from(IoBuffer::Direction::kDrain,
                      std::as_writable_bytes(std::span(const_cast<char*>(text.data()), text.size())));
    return Plain(file.Write(from, 0));
  }
  static int64_t Read(File& file, std::string* text, uint64_t length) {
    text->assign(length, '\0');
    KernelBuffer to(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text->data(), length)));
    const int64_t n = Plain(file.Read(to, 0));
    text->resize(n > 0 ? static_cast<size_t>(n) : 0);
    return n;
  }
  PipeEnds Make(uint32_t flags = 0) { return MakePipe(*files_, Credentials(), flags); }

  HostClock clock_;
  Ref<AnonymousFiles> files_ = MakeRef<AnonymousFiles>(&clock_);
};

TEST_F(PipeTest, BytesComeOutInOrder) {
  PipeEnds pipe = Make();
  EXPECT_EQ(Write(*pipe.writer, "hello "), 6);
  EXPECT_EQ(Write(*pipe.writer, "world"), 5);
  std::string text;
  EXPECT_EQ(Read(*pipe.reader, &text, 100), 11);
  EXPECT_EQ(text, "hello world");
  EXPECT_EQ(Read(*pipe.reader, &text, 100), -EAGAIN);
}

TEST_F(PipeTest, EndOfFileComesAfterTheLastWriter) {
  PipeEnds pipe = Make();
  EXPECT_EQ(Write(*pipe.writer, "x"), 1);
  pipe.writer = nullptr;
  std::string text;
  EXPECT_EQ(pipe.reader->Readiness(sync::kReadable), sync::kReadable | sync::kHangup);
  EXPECT_EQ(Read(*pipe.reader, &text, 10), 1);
  EXPECT_EQ(Read(*pipe.reader, &text, 10), 0);
}

TEST_F(PipeTest, WritingWithoutAReaderIsEpipe) {
  PipeEnds pipe = Make();
  pipe.reader = nullptr;
  EXPECT_EQ(Write(*pipe.writer, "x"), -EPIPE);
  EXPECT_EQ(Write(*pipe.writer, ""), 0);
  EXPECT_EQ(pipe.writer->Readiness(sync::kWritable), sync::kWritable | sync::kError);
}

TEST_F(PipeTest, InodeShowsAPipeWithANumberOfItsOwn) {
  PipeEnds one = Make(), two = Make();
  const Attributes a = *one.reader->inode()->GetAttributes();
  EXPECT_EQ(a.mode, 0010600u);
  EXPECT_NE(a.inode_number, two.reader->inode()->GetAttributes()->inode_number);
  EXPECT_EQ(one.reader->DescribePath(), "pipe:[" + std::to_string(a.inode_number) + "]");
  EXPECT_EQ(one.reader->DescribePath(), one.writer->DescribePath());
}

TEST_F(PipeTest, OpenedAgainThroughItsInodeItIsTheSamePipe) {
  PipeEnds pipe = Make();
  Ref<File> second = *pipe.writer->inode()->Open(Path(), O_WRONLY);
  pipe.writer = nullptr;
  EXPECT_EQ(Write(*second, "through"), 7);
  std::string text;
  EXPECT_EQ(Read(*pipe.reader, &text, 10), 7);
  second = nullptr;
  EXPECT_EQ(Read(*pipe.reader, &text, 10), 0);
}

struct CountingWaiter final : sync::Waiter {
  ~CountingWaiter() override { Disarm(); }
  void Notify(sync::Events events) override {
    ++count;
    seen |= events;
  }
  std::atomic<int> count{0};
  std::atomic<sync::Events> seen{0};
};

TEST_F(PipeTest, WaitersHearOfDataRoomAndHangup) {
  PipeEnds pipe = Make();
  CountingWaiter reader, writer;
  pipe.reader->wait_queue()->Arm(&reader, sync::kReadable);
  EXPECT_EQ(Write(*pipe.writer, std::string(65536, 'a')), 65536);
  EXPECT_EQ(reader.count, 1);
  pipe.writer->wait_queue()->Arm(&writer, sync::kWritable);
  std::string text;
  EXPECT_EQ(Read(*pipe.reader, &text, 100), 100);
  EXPECT_EQ(writer.count, 0) << "no slot is free yet";
  EXPECT_EQ(Read(*pipe.reader, &text, 3996), 3996);
  EXPECT_EQ(writer.count, 1);
  pipe.writer = nullptr;
  EXPECT_NE(reader.seen & sync::kHangup, 0u);
}

// The host kernel's pipe and ours get the same operations and must answer the same.
TEST_F(PipeTest, RandomOperationsMatchTheHost) {
  // Three good pages, then none: transfers that end behind them fault.
  constexpr size_t kGood = 3 * 4096;
  auto* memory =
      static_cast<std::byte*>(mmap(nullptr, kGood + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_EQ(munmap(memory + kGood, 4096), 0);
  std::vector<std::byte> ours(kGood);
  std::vector<char> big(100'000, 'b');
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    const bool packets = round % 4 == 3;
    int host[2];
    ASSERT_EQ(pipe2(host, O_NONBLOCK | (packets ? O_DIRECT : 0)), 0);
    PipeEnds pipe = Make(packets ? O_DIRECT : 0);
    for (int step = 0; step < 200; ++step) {
      const uint32_t what = random() % 10;
      // Half of the lengths are small, so that merging into the last page is met; the rest crosses pages.
      uint64_t length = random() % 2 == 0 ? random() % 300 : random() % 9000;
      if (random() % 16 == 0) length = random() % 70'000;
      SCOPED_TRACE(::testing::Message() << "round " << round << " step " << step << " what " << what << " length "
                                        << length);
      if (what < 5) {
        const bool faulting = random() % 4 == 0 && length <= kGood;
        int64_t expected, actual;
        if (faulting) {
          for (size_t i = 0; i < kGood; ++i) ours[i] = memory[i] = static_cast<std::byte>(random());
          const uint64_t good = length == 0 ? 0 : random() % length;
          expected = write(host[1], memory + kGood - good, length);
          if (expected < 0) expected = -errno;
          FaultingBuffer from(IoBuffer::Direction::kDrain, std::span(ours).last(good), length);
          actual = Plain(pipe.writer->Write(from, 0));
        } else {
          for (size_t i = 0; i < length; ++i) big[i] = static_cast<char>(random());
          expected = write(host[1], big.data(), length);
          if (expected < 0) expected = -errno;
          actual = Write(*pipe.writer, std::string_view(big.data(), length));
        }
        ASSERT_EQ(actual, expected);
      } else if (what < 9) {
        const bool faulting = random() % 4 == 0 && length <= kGood;
        if (faulting) {
          const uint64_t good = length == 0 ? 0 : random() % length;
          int64_t expected = read(host[0], memory + kGood - good, length);
          if (expected < 0) expected = -errno;
          FaultingBuffer to(IoBuffer::Direction::kFill, std::span(ours).last(good), length);
          ASSERT_EQ(Plain(pipe.reader->Read(to, 0)), expected);
          if (expected > 0) {
            ASSERT_EQ(std::memcmp(memory + kGood - good, ours.data() + kGood - good, static_cast<size_t>(expected)), 0);
          }
        } else {
          std::string expected_text(length, '\0'), text;
          int64_t expected = read(host[0], expected_text.data(), length);
          if (expected < 0) expected = -errno;
          ASSERT_EQ(Read(*pipe.reader, &text, length), expected);
          expected_text.resize(expected > 0 ? static_cast<size_t>(expected) : 0);
          ASSERT_EQ(text, expected_text);
        }
      } else {
        const uint64_t size = random() % 140'000;
        int64_t expected = fcntl(host[0], F_SETPIPE_SZ, size);
        if (expected < 0) expected = -errno;
        ASSERT_EQ(Plain(pipe.reader->SetPipeCapacity(size)), expected);
      }
      pollfd polled[2] = {{host[0], POLLIN | POLLRDNORM, 0}, {host[1], POLLOUT | POLLWRNORM, 0}};
      poll(polled, 2, 0);
      ASSERT_EQ(pipe.reader->Readiness(POLLIN | POLLRDNORM), static_cast<uint32_t>(polled[0].revents));
      ASSERT_EQ(pipe.writer->Readiness(POLLOUT | POLLWRNORM), static_cast<uint32_t>(polled[1].revents));
    }
    close(host[0]);
    close(host[1]);
  }
  munmap(memory, kGood);
}

TEST_F(PipeTest, TwoThreadsMoveAMebibyteInOrder) {
  PipeEnds pipe = Make();
  constexpr uint32_t kWords = 1 << 18;
  std::thread writer([end = std::move(pipe.writer)] {
    std::vector<uint32_t> words(997);
    uint32_t next = 0;
    while (next < kWords) {
      const uint32_t n = std::min<uint32_t>(997, kWords - next);
      for (uint32_t i = 0; i < n; ++i) words[i] = next + i;
      KernelBuffer from(IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(words).first(n)));
      while (from.remaining() != 0) {
        if (!end->Write(from, 0).ok()) std::this_thread::yield();
      }
      next += n;
    }
  });
  std::vector<std::byte> got;
  std::vector<std::byte> buffer(5000);
  while (true) {
    KernelBuffer to(IoBuffer::Direction::kFill, buffer);
    const auto n = pipe.reader->Read(to, 0);
    if (!n.ok()) {
      ASSERT_EQ(n.error_number(), EAGAIN);
      std::this_thread::yield();
      continue;
    }
    if (*n == 0) break;
    got.insert(got.end(), buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(*n));
  }
  writer.join();
  ASSERT_EQ(got.size(), kWords * sizeof(uint32_t));
  for (uint32_t i = 0; i < kWords; ++i) {
    uint32_t word;
    std::memcpy(&word, got.data() + i * sizeof(word), sizeof(word));
    ASSERT_EQ(word, i);
  }
}

class FifoTest : public PipeTest {
 protected:
  ErrnoOr<Ref<File>> Open(uint32_t flags) { return OpenFifo(buffer_, Ref<Inode>(inode_.get()), Path(), flags); }
  Ref<AnonymousInode> inode_ = files_->MakeInode("fifo", 0010644);
  Ref<FifoBuffer> buffer_ = MakeRef<FifoBuffer>();
};

TEST_F(FifoTest, ReaderWaitsForAWriter) {
  Ref<File> reader = *Open(O_RDONLY);
  EXPECT_TRUE(reader->open_pending());
  CountingWaiter waiter;
  reader->wait_queue()->Arm(&waiter, sync::kAllEvents);
  Ref<File> writer = *Open(O_WRONLY);
  EXPECT_EQ(waiter.count, 1);
  EXPECT_FALSE(reader->open_pending());
  EXPECT_FALSE(writer->open_pending());
  // Also when the writer has gone again before the reader looked.
  writer = nullptr;
  EXPECT_FALSE(reader->open_pending());
}

TEST_F(FifoTest, WriterWaitsForAReader) {
  Ref<File> writer = *Open(O_WRONLY);
  EXPECT_TRUE(writer->open_pending());
  Ref<File> reader = *Open(O_RDONLY);
  EXPECT_FALSE(writer->open_pending());
  EXPECT_FALSE(reader->open_pending());
}

TEST_F(FifoTest, NonblockingOpensNeverWait) {
  EXPECT_EQ(Open(O_WRONLY | O_NONBLOCK).error_number(), ENXIO);
  Ref<File> reader = *Open(O_RDONLY | O_NONBLOCK);
  EXPECT_FALSE(reader->open_pending());
  EXPECT_EQ(reader->Readiness(sync::kReadable), 0u) << "no hangup before the first writer";
  std::string text;
  EXPECT_EQ(Read(*reader, &text, 1), 0);
  Ref<File> writer = *Open(O_WRONLY | O_NONBLOCK);
  EXPECT_EQ(Read(*reader, &text, 1), -EAGAIN);
  writer = nullptr;
  EXPECT_EQ(reader->Readiness(sync::kReadable), sync::kHangup);
}

TEST_F(FifoTest, OpenForBothNeverWaits) {
  Ref<File> both = *Open(O_RDWR);
  EXPECT_FALSE(both->open_pending());
  EXPECT_EQ(Write(*both, "me"), 2);
  std::string text;
  EXPECT_EQ(Read(*both, &text, 10), 2);
}

TEST_F(FifoTest, IsEmptyAfterTheLastClose) {
  Ref<File> both = *Open(O_RDWR);
  EXPECT_EQ(Write(*both, "lost"), 4);
  both = nullptr;
  buffer_->pipe()->CheckInvariants();
  both = *Open(O_RDWR);
  std::string text;
  EXPECT_EQ(Read(*both, &text, 10), -EAGAIN);
}

}  // namespace
}  // namespace remora::fs
