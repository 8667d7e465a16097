#include "fs/tty/host_terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "base/clock.h"
#include "fs/hostfs/host_stream.h"
#include "fs/tty/terminal_for_testing.h"
#include "mm/tlb.h"

namespace remora::fs {
namespace {

class HostTerminalTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kArgument = 0x1000;

  HostTerminalTest() {
    EXPECT_EQ(openpty(&master_, &slave_, nullptr, nullptr, nullptr), 0);
    terminal_ = MakeRef<HostTerminal>(MakeRef<HostFd>(slave_), &sessions_);
    tlb_.Bind(&page_, 1);
  }
  ~HostTerminalTest() override { close(master_); }

  int64_t Ioctl(uint32_t request, uint64_t argument = kArgument) {
    const auto result = terminal_->Ioctl({mm::UserMemory(&tlb_), &caller_}, request, argument);
    return result.ok() ? static_cast<int64_t>(*result) : -result.error_number();
  }
  template <typename T>
  T& Memory() {
    return *reinterpret_cast<T*>(page_.memory);
  }

  int master_ = -1, slave_ = -1;
  FakeSignals signals_;
  TerminalSessions sessions_{&signals_};
  Ref<HostTerminal> terminal_;
  OnePage page_;
  mm::Tlb tlb_;
  FakeCaller caller_;
};

// As the kernel lays it out; glibc's struct termios is longer.
struct KernelTermios {
  uint32_t iflag, oflag, cflag, lflag;
  uint8_t line, cc[19];
};

TEST_F(HostTerminalTest, SettingsGoThroughAndAreRestored) {
  struct termios before, changed, after;
  ASSERT_EQ(tcgetattr(slave_, &before), 0);
  ASSERT_EQ(Ioctl(TCGETS), 0);
  EXPECT_EQ(Memory<KernelTermios>().lflag, before.c_lflag);
  EXPECT_EQ(std::memcmp(Memory<KernelTermios>().cc, before.c_cc, 19), 0);
  EXPECT_EQ(page_.memory[36], std::byte{0}) << "36 bytes, no more";
  Memory<KernelTermios>().lflag &= ~static_cast<uint32_t>(ICANON | ECHO);
  ASSERT_EQ(Ioctl(TCSETSW), 0);
  ASSERT_EQ(tcgetattr(slave_, &changed), 0);
  EXPECT_EQ(changed.c_lflag, before.c_lflag & ~static_cast<uint32_t>(ICANON | ECHO));
  terminal_->restore().Restore();
  ASSERT_EQ(tcgetattr(slave_, &after), 0);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
}

TEST_F(HostTerminalTest, RestoreLeavesAloneWhatTheGuestDidNotChange) {
  struct termios settings;
  ASSERT_EQ(tcgetattr(slave_, &settings), 0);
  settings.c_lflag ^= ECHO;
  ASSERT_EQ(tcsetattr(slave_, TCSANOW, &settings), 0);  // by another host process
  terminal_->restore().Restore();
  struct termios after;
  ASSERT_EQ(tcgetattr(slave_, &after), 0);
  EXPECT_EQ(after.c_lflag, settings.c_lflag);
}

TEST_F(HostTerminalTest, WindowSizeIsTheHosts) {
  const winsize size = {.ws_row = 33, .ws_col = 99, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(ioctl(master_, TIOCSWINSZ, &size), 0);
  ASSERT_EQ(Ioctl(TIOCGWINSZ), 0);
  EXPECT_EQ(Memory<winsize>().ws_row, 33);
  EXPECT_EQ(Memory<winsize>().ws_col, 99);
}

TEST_F(HostTerminalTest, ABadAddressIsEfault) {
  EXPECT_EQ(Ioctl(TCGETS, 0x5000), -EFAULT);
  EXPECT_EQ(Ioctl(TCSETS, 0x5000), -EFAULT);
  EXPECT_EQ(Ioctl(TIOCGWINSZ, 0x1ffc), -EFAULT) << "crosses into nothing";
  EXPECT_EQ(Ioctl(0x5499), -ENOTTY);
}

TEST_F(HostTerminalTest, ForegroundGroupIsTheGuests) {
  EXPECT_EQ(Ioctl(TIOCGPGRP), -ENOTTY) << "nobody's controlling terminal yet";
  terminal_->SetSession(2, 2);
  ASSERT_EQ(Ioctl(TIOCGPGRP), 0);
  EXPECT_EQ(Memory<int32_t>(), 2);
  Memory<int32_t>() = 17;
  ASSERT_EQ(Ioctl(TIOCSPGRP), 0);
  EXPECT_EQ(terminal_->foreground_group(), 17);
}

TEST_F(HostTerminalTest, TheBackgroundIsStoppedWhenItChangesTheTerminal) {
  terminal_->SetSession(2, 9);
  EXPECT_EQ(Ioctl(TCSETS), -512);
  EXPECT_EQ(caller_.sent, (Sent{{2, SIGTTOU}}));
}

TEST_F(HostTerminalTest, AReadGivesOneLineAndNeverBlocks) {
  HostClock clock;
  HostReactor reactor;
  Ref<AnonymousFiles> files = MakeRef<AnonymousFiles>(&clock);
  const HostStreamContext context = {&reactor, files.get(), nullptr};
  Ref<File> file = *MakeHostStream(context, terminal_->fd(), O_RDWR, terminal_);
  std::byte bytes[100];
  mm::KernelBuffer empty(mm::IoBuffer::Direction::kFill, bytes);
  EXPECT_EQ(file->Read(empty, 0).error_number(), EAGAIN);
  ASSERT_EQ(write(master_, "one\ntwo\n", 8), 8);
  while (file->Readiness(sync::kReadable) == 0) usleep(100);
  mm::KernelBuffer first(mm::IoBuffer::Direction::kFill, bytes);
  EXPECT_EQ(*file->Read(first, 0), 4u);
  EXPECT_EQ(std::memcmp(bytes, "one\n", 4), 0);
  mm::KernelBuffer second(mm::IoBuffer::Direction::kFill, bytes);
  EXPECT_EQ(*file->Read(second, 0), 4u);
  EXPECT_TRUE(file->Ioctl({mm::UserMemory(&tlb_), &caller_}, TCGETS, kArgument).ok());
  EXPECT_EQ(fcntl(slave_, F_GETFL) & O_NONBLOCK, 0);
}

}  // namespace
}  // namespace remora::fs
