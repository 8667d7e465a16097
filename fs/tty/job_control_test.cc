#include "fs/tty/job_control.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "base/abi/termios.h"
#include "fs/tty/terminal_for_testing.h"

namespace remora::fs {
namespace {

class PlainTerminal final : public Terminal {
 public:
  explicit PlainTerminal(TerminalSessions* sessions) : Terminal(sessions) {}
  uint32_t device_major() const override { return 136; }
  uint32_t device_minor() const override { return 5; }
  ErrnoOr<Ref<File>> OpenAgain(Ref<Inode>, const Path&, uint32_t) override { return Errno(ENXIO); }
};

class JobControlTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kArgument = 0x1000;

  JobControlTest() { tlb_.Bind(&page_, 1); }

  int64_t Ioctl(Terminal& terminal, uint32_t request, uint64_t argument = kArgument, bool from_outside = false) {
    const auto done =
        terminal.JobControl({mm::UserMemory(&tlb_), &caller_}, request, argument, from_outside, /*may_read=*/true);
    if (!done) return 1;
    return done->ok() ? static_cast<int64_t>(**done) : -done->error_number();
  }
  int32_t& Memory() { return *reinterpret_cast<int32_t*>(page_.memory); }

  OnePage page_;
  mm::Tlb tlb_;
  FakeCaller caller_;
  FakeSignals signals_;
  TerminalSessions sessions_{&signals_};
  Ref<PlainTerminal> terminal_ = MakeRef<PlainTerminal>(&sessions_);
};

TEST_F(JobControlTest, OnlyTheSessionAsksForItsForegroundGroup) {
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCGPGRP), -ENOTTY);
  terminal_->SetSession(2, 7);
  ASSERT_EQ(Ioctl(*terminal_, abi::kTIOCGPGRP), 0);
  EXPECT_EQ(Memory(), 7);
  ASSERT_EQ(Ioctl(*terminal_, abi::kTIOCGSID), 0);
  EXPECT_EQ(Memory(), 2);
  caller_.session_id = 3;
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCGPGRP), -ENOTTY);
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCGPGRP, kArgument, /*from_outside=*/true), 0) << "but for a pty's master";
  EXPECT_EQ(Ioctl(*terminal_, abi::kTCGETS), 1) << "not job control's";
}

TEST_F(JobControlTest, TheForegroundGroupIsOneOfTheSession) {
  terminal_->SetSession(2, 2);
  Memory() = 17;
  caller_.groups_session = 0;
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSPGRP), -ESRCH);
  caller_.groups_session = 3;
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSPGRP), -EPERM);
  caller_.groups_session = 2;
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSPGRP), 0);
  EXPECT_EQ(terminal_->foreground_group(), 17);
  caller_.group = 17;
  Memory() = -1;
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSPGRP), -EINVAL);
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSPGRP, 0x5000), -EFAULT);
}

TEST_F(JobControlTest, TheBackgroundIsStopped) {
  terminal_->SetSession(2, 9);
  EXPECT_EQ(terminal_->CheckRead(caller_).error_number(), 512);
  EXPECT_EQ(terminal_->CheckChange(caller_).error_number(), 512);
  EXPECT_EQ(caller_.sent, (Sent{{2, SIGTTIN}, {2, SIGTTOU}}));
  caller_.ignores = true;
  EXPECT_EQ(terminal_->CheckRead(caller_).error_number(), EIO);
  EXPECT_TRUE(terminal_->CheckChange(caller_).ok());
  caller_.ignores = false;
  caller_.orphaned = true;
  EXPECT_EQ(terminal_->CheckRead(caller_).error_number(), EIO);
  EXPECT_EQ(terminal_->CheckChange(caller_).error_number(), EIO);
  caller_.group = 9;
  EXPECT_TRUE(terminal_->CheckRead(caller_).ok()) << "in the foreground";
  caller_.group = 2;
  caller_.session_id = 3;
  EXPECT_TRUE(terminal_->CheckRead(caller_).ok()) << "not its controlling terminal";
  EXPECT_EQ(caller_.sent.size(), 2u);
}

TEST_F(JobControlTest, ASessionLeaderTakesAndGivesUpTheTerminal) {
  caller_.leader = false;
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSCTTY, 0), -EPERM);
  caller_.leader = true;
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSCTTY, 0), 0);
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSCTTY, 0), 0) << "once more";
  EXPECT_EQ(terminal_->session(), 2);
  EXPECT_EQ(sessions_.Find(2), terminal_);

  const auto other = MakeRef<PlainTerminal>(&sessions_);
  EXPECT_EQ(Ioctl(*other, abi::kTIOCSCTTY, 0), -EPERM) << "it has one";
  EXPECT_EQ(Ioctl(*other, abi::kTIOCNOTTY, 0), -ENOTTY);

  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCNOTTY, 0), 0);
  EXPECT_EQ(terminal_->session(), 0);
  EXPECT_EQ(sessions_.Find(2), nullptr);
  EXPECT_EQ(caller_.sent, (Sent{{2, SIGHUP}, {2, SIGCONT}}));
}

TEST_F(JobControlTest, RootStealsATerminal) {
  terminal_->SetSession(9, 9);
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSCTTY, 1), -EPERM);
  caller_.is_root = true;
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSCTTY, 0), -EPERM);
  EXPECT_EQ(Ioctl(*terminal_, abi::kTIOCSCTTY, 1), 0);
  EXPECT_EQ(terminal_->session(), 2);
  EXPECT_EQ(sessions_.Find(9), nullptr);
}

TEST_F(JobControlTest, OpeningMakesItTheLeadersTerminal) {
  const CallerIds leader{.process_id = 4, .thread_id = 4, .session_id = 4, .process_group_id = 4};
  const CallerIds member{.process_id = 5, .thread_id = 5, .session_id = 4, .process_group_id = 4};
  terminal_->OnOpened(member, O_RDWR);
  terminal_->OnOpened(leader, O_RDWR | O_NOCTTY);
  terminal_->OnOpened(leader, O_WRONLY);
  terminal_->OnOpened(CallerIds(), O_RDWR);
  EXPECT_EQ(terminal_->session(), 0);
  terminal_->OnOpened(leader, O_RDONLY);
  EXPECT_EQ(terminal_->session(), 4);
  EXPECT_EQ(terminal_->foreground_group(), 4);
}

TEST_F(JobControlTest, TheLeadersEndFreesTheTerminal) {
  terminal_->SetSession(2, 9);
  sessions_.OnLeaderExit(2);
  EXPECT_EQ(signals_.Take(), (Sent{{9, SIGHUP}}));
  EXPECT_EQ(terminal_->session(), 0);
  sessions_.OnLeaderExit(2);
  EXPECT_EQ(signals_.Take(), Sent{});
}

TEST_F(JobControlTest, ACutLineTellsTheLeaderAndLaterTheForeground) {
  terminal_->SetSession(2, 9);
  terminal_->HangUp();
  EXPECT_EQ(signals_.Take(), (Sent{{-2, SIGHUP}, {-2, SIGCONT}}));
  EXPECT_EQ(sessions_.Find(2), nullptr);
  sessions_.OnLeaderExit(2);
  EXPECT_EQ(signals_.Take(), (Sent{{9, SIGHUP}, {9, SIGCONT}}));
  terminal_->HangUp();
  EXPECT_EQ(signals_.Take(), Sent{}) << "nobody's";
}

TEST_F(JobControlTest, KeysReachTheForegroundGroup) {
  terminal_->SignalForeground(SIGINT);
  EXPECT_EQ(signals_.Take(), Sent{});
  terminal_->SetSession(2, 9);
  terminal_->SignalForeground(SIGINT);
  EXPECT_EQ(signals_.Take(), (Sent{{9, SIGINT}}));
}

}  // namespace
}  // namespace remora::fs
