#include "fs/hostfs/host_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"

namespace remora::fs {
namespace {

using mm::IoBuffer;
using mm::KernelBuffer;

// Parks the test's thread until the file's queue tells it something: what a worker does with a task.
class Sleeper final : public sync::Waiter {
 public:
  ~Sleeper() override { Disarm(); }
  void Notify(sync::Events) override {
    std::lock_guard lock(mu_);
    ++told_;
    changed_.notify_all();
  }
  void WaitForMoreThan(int seen) {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [&] { return told_ > seen; });
  }
  int told() {
    std::lock_guard lock(mu_);
    return told_;
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  int told_ = 0;
};

class HostStreamTest : public ::testing::Test {
 protected:
  HostStreamTest() { signal(SIGPIPE, SIG_IGN); }

  Ref<File> Make(int fd, HostFd::Ownership ownership = HostFd::Ownership::kBorrowed) {
    auto file = MakeHostStream(context_, MakeRef<HostFd>(fd, ownership), *HostStreamFlags(fd));
    EXPECT_TRUE(file.ok()) << file.error_number();
    return *file;
  }
  static int64_t Write(File& file, std::string_view text, uint64_t offset = 0) {
    KernelBuffer from(IoBuffer::Direction::kDrain,
                      std::as_writable_bytes(std::span(const_cast<char*>(text.data()), text.size())));
    const auto n = file.Write(from, offset);
    return n.ok() ? static_cast<int64_t>(*n) : -n.error_number();
  }
  static int64_t Read(File& file, std::string* text, uint64_t length, uint64_t offset = 0) {
    text->assign(length, '\0');
    KernelBuffer to(IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text->data(), length)));
    const auto n = file.Read(to, offset);
    text->resize(n.ok() ? *n : 0);
    return n.ok() ? static_cast<int64_t>(*n) : -n.error_number();
  }
  // As the read and write handlers do it for seekable files.
  static int64_t WriteAtPosition(File& file, std::string_view text) {
    MutexLock lock(&file.position_mutex());
    const uint64_t at = file.position();
    const int64_t n = Write(file, text, at);
    if (n > 0) file.set_position(at + static_cast<uint64_t>(n));
    return n;
  }
  static int64_t ReadAtPosition(File& file, std::string* text, uint64_t length) {
    MutexLock lock(&file.position_mutex());
    const uint64_t at = file.position();
    const int64_t n = Read(file, text, length, at);
    if (n > 0) file.set_position(at + static_cast<uint64_t>(n));
    return n;
  }
  static std::string TempFile(std::string_view content) {
    std::string name = std::string(std::getenv("TEST_TMPDIR")) + "/stream.XXXXXX";
    const int fd = mkstemp(name.data());
    EXPECT_EQ(write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
    close(fd);
    return name;
  }

  HostClock clock_;
  HostReactor reactor_;
  Ref<AnonymousFiles> files_ = MakeRef<AnonymousFiles>(&clock_);
  const HostStreamContext context_{&reactor_, files_.get(), nullptr};
};

TEST_F(HostStreamTest, AStalledPipeAnswersEagainAndTellsItsWaiter) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  {
    Ref<File> in = Make(fds[0]);
    Sleeper sleeper;
    in->wait_queue()->Arm(&sleeper, sync::kReadable);
    std::string text;
    EXPECT_EQ(Read(*in, &text, 100), -EAGAIN);
    EXPECT_EQ(Read(*in, &text, 100), -EAGAIN) << "and again, without blocking";
    EXPECT_EQ(in->Readiness(sync::kReadable), 0u);
    ASSERT_EQ(write(fds[1], "data", 4), 4);
    sleeper.WaitForMoreThan(0);
    EXPECT_EQ(in->Readiness(sync::kReadable), sync::kReadable);
    EXPECT_EQ(Read(*in, &text, 100), 4);
    EXPECT_EQ(text, "data");
    const int told = sleeper.told();
    EXPECT_EQ(Read(*in, &text, 100), -EAGAIN);
    close(fds[1]);
    sleeper.WaitForMoreThan(told);
    EXPECT_EQ(Read(*in, &text, 100), 0);
    EXPECT_NE(in->Readiness(sync::kReadable) & sync::kHangup, 0u);
  }
  EXPECT_EQ(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0) << "the inherited description must stay blocking";
  close(fds[0]);
}

TEST_F(HostStreamTest, AFullPipeAnswersEagainAndTellsItsWaiter) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  {
    Ref<File> out = Make(fds[1]);
    const std::string lots(100'000, 'x');
    EXPECT_EQ(Write(*out, lots), 65536);
    Sleeper sleeper;
    out->wait_queue()->Arm(&sleeper, sync::kWritable);
    EXPECT_EQ(Write(*out, lots), -EAGAIN);
    std::vector<char> drained(65536);
    ASSERT_EQ(read(fds[0], drained.data(), drained.size()), 65536);
    sleeper.WaitForMoreThan(0);
    EXPECT_EQ(Write(*out, "more"), 4);
    close(fds[0]);
    EXPECT_EQ(Write(*out, "gone"), -EPIPE);
  }
  close(fds[1]);
}

TEST_F(HostStreamTest, ADescriptorInNonblockingModeIsUsedAsItIs) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_NONBLOCK), 0);
  {
    Ref<File> in = Make(fds[0]);
    EXPECT_TRUE(in->nonblocking());
    std::string text;
    EXPECT_EQ(Read(*in, &text, 10), -EAGAIN);
  }
  close(fds[0]);
  close(fds[1]);
}

TEST_F(HostStreamTest, AWatchedPipeTellsEachEdge) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  Ref<File> file = Make(fds[0], HostFd::Ownership::kOwned);
  Sleeper sleeper;
  file->wait_queue()->Arm(&sleeper, sync::kReadable);
  ASSERT_TRUE(file->WatchEdges());
  ASSERT_EQ(write(fds[1], "abc", 3), 3);
  sleeper.WaitForMoreThan(0);
  // Nobody was told that it is not readable, and what came first has not been read.
  int seen = sleeper.told();
  ASSERT_EQ(write(fds[1], "def", 3), 3);
  sleeper.WaitForMoreThan(seen);
  std::string text;
  EXPECT_EQ(Read(*file, &text, 100), 6);
  EXPECT_EQ(Read(*file, &text, 100), -EAGAIN);
  seen = sleeper.told();
  close(fds[1]);
  sleeper.WaitForMoreThan(seen);
  sleeper.Disarm();
}

TEST_F(HostStreamTest, DevNullHasNoEdges) {
  const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_FALSE(Make(fd, HostFd::Ownership::kOwned)->WatchEdges());
}

TEST_F(HostStreamTest, SocketsNeverBlockAndKeepDatagramsApart) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
  {
    Ref<File> file = Make(fds[0]);
    std::string text;
    EXPECT_EQ(Read(*file, &text, 10), -EAGAIN);
    ASSERT_EQ(send(fds[1], "one", 3, 0), 3);
    ASSERT_EQ(send(fds[1], "two", 3, 0), 3);
    EXPECT_EQ(Read(*file, &text, 10), 3);
    EXPECT_EQ(text, "one");
    EXPECT_EQ(Write(*file, "reply"), 5);
    char reply[10];
    EXPECT_EQ(recv(fds[1], reply, sizeof(reply), 0), 5);
  }
  close(fds[0]);
  close(fds[1]);
}

TEST_F(HostStreamTest, RegularFilesShareTheirPositionWithOtherProcesses) {
  const std::string name = TempFile("0123456789");
  const int fd = open(name.c_str(), O_RDWR);
  {
    Ref<File> file = Make(fd);
    EXPECT_TRUE(file->seekable());
    char c;
    ASSERT_EQ(read(fd, &c, 1), 1);
    std::string text;
    EXPECT_EQ(ReadAtPosition(*file, &text, 3), 3);
    EXPECT_EQ(text, "123");
    ASSERT_EQ(read(fd, &c, 1), 1);
    EXPECT_EQ(c, '4');
    EXPECT_EQ(WriteAtPosition(*file, "AB"), 2);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 7);
    EXPECT_EQ(Write(*file, "Z", 0), 1) << "pwrite";
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 7);
    EXPECT_EQ(*file->SizeForSeek(), 10u);
    char all[10];
    ASSERT_EQ(pread(fd, all, 10, 0), 10);
    EXPECT_EQ(std::string_view(all, 10), "Z1234AB789");
    EXPECT_EQ(file->wait_queue(), nullptr);
  }
  close(fd);
}

TEST_F(HostStreamTest, AppendGoesToTheEnd) {
  const std::string name = TempFile("begin");
  const int fd = open(name.c_str(), O_WRONLY | O_APPEND);
  {
    Ref<File> file = Make(fd);
    EXPECT_TRUE(file->append());
    char end[] = "-end";
    KernelBuffer from(IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(end, 4)));
    uint64_t at = 0;
    EXPECT_EQ(*file->Append(from, &at), 4u);
    EXPECT_EQ(at, 9u);
  }
  close(fd);
}

TEST_F(HostStreamTest, AttributesAreTheHosts) {
  const std::string name = TempFile("0123456789");
  const int fd = open(name.c_str(), O_RDONLY);
  struct stat host;
  ASSERT_EQ(fstat(fd, &host), 0);
  {
    Ref<File> file = Make(fd);
    const Attributes a = *file->inode()->GetAttributes();
    EXPECT_EQ(a.inode_number, host.st_ino);
    EXPECT_EQ(a.mode, host.st_mode);
    EXPECT_EQ(a.size_bytes, 10u);
    EXPECT_EQ(file->DescribePath(), name);
  }
  close(fd);
}

TEST_F(HostStreamTest, StdinOpenedAgainByNameReadsTheSamePipe) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  {
    Ref<File> in = Make(fds[0]);
    Ref<File> again = *in->inode()->Open(Path(), O_RDONLY);
    EXPECT_EQ(in->inode()->Open(Path(), O_WRONLY).error_number(), EACCES);
    ASSERT_EQ(write(fds[1], "ab", 2), 2);
    std::string text;
    EXPECT_EQ(Read(*again, &text, 1), 1);
    EXPECT_EQ(text, "a");
    EXPECT_EQ(Read(*in, &text, 1), 1);
    EXPECT_EQ(text, "b");
  }
  close(fds[0]);
  close(fds[1]);
}

TEST_F(HostStreamTest, AClosedDescriptorIsEbadf) {
  EXPECT_EQ(HostStreamFlags(900).error_number(), EBADF);
  EXPECT_EQ(MakeHostStream(context_, MakeRef<HostFd>(900, HostFd::Ownership::kBorrowed), 0).error_number(), EBADF);
}

TEST_F(HostStreamTest, DevNullIsAlwaysReady) {
  Ref<File> file = Make(open("/dev/null", O_RDWR | O_CLOEXEC), HostFd::Ownership::kOwned);
  std::string text;
  EXPECT_EQ(Read(*file, &text, 10), 0);
  EXPECT_EQ(Write(*file, "gone"), 4);
  EXPECT_EQ(file->Readiness(sync::kReadable | sync::kWritable), sync::kReadable | sync::kWritable);
}

TEST_F(HostStreamTest, ATellingInAWhile) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  Ref<HostWatch> watch = reactor_.Add(fds[0]);
  Sleeper sleeper;
  watch->queue().Arm(&sleeper, sync::kAllEvents);
  reactor_.NotifyLater(*watch, 1);
  sleeper.WaitForMoreThan(0);
  reactor_.Remove(*watch);
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
}  // namespace remora::fs
