#include "fs/devpts/devpts.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/abi/termios.h"
#include "base/clock.h"
#include "fs/tty/terminal_for_testing.h"

namespace remora::fs {
namespace {

struct Recorder final : sync::Waiter {
  ~Recorder() override { Disarm(); }
  void Notify(sync::Events events) override { heard |= events; }
  sync::Events Take() { return std::exchange(heard, 0); }
  sync::Events heard = 0;
};

class DevptsTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kArgument = 0x1000;

  DevptsTest() {
    tlb_.Bind(&page_, 1);
    devices_.Register(DeviceRegistry::Kind::kCharacter, 5, 2, [this](DeviceRegistry::Opening opening) {
      return devpts_->OpenMaster(std::move(opening.inode), opening.path, opening.flags, opening.caller);
    });
    Mount(nullptr);
  }
  void Mount(const HostTerminal* terminal) {
    devpts_ = std::make_unique<Devpts>(Devpts::Context{
        .sessions = &sessions_, .clock = &clock_, .devices = &devices_, .device_id = 9, .terminal = terminal});
  }
  Ref<Inode> root() { return devpts_->file_system()->root(); }
  Ref<File> OpenMaster(uint32_t flags = O_RDWR, uint32_t fsuid = 1000) {
    const CallerIds caller{.process_id = 2, .thread_id = 2, .session_id = 1, .process_group_id = 2, .fsuid = fsuid};
    return *(*root()->Lookup("ptmx"))->OpenFor(caller, Path(), flags);
  }
  ErrnoOr<Ref<File>> OpenSlave(std::string_view name, uint32_t flags = O_RDWR | O_NOCTTY, CallerIds caller = {}) {
    REMORA_ASSIGN_OR_RETURN(const Ref<Inode> inode, root()->Lookup(name));
    return inode->OpenFor(caller, Path(), flags);
  }
  int64_t Ioctl(File& file, uint32_t request, uint64_t argument = kArgument) {
    const auto result = file.Ioctl({mm::UserMemory(&tlb_), &caller_}, request, argument);
    return result.ok() ? static_cast<int64_t>(*result) : -result.error_number();
  }
  template <typename T>
  T& Memory() {
    return *reinterpret_cast<T*>(page_.memory);
  }
  void Unlock(File& master) {
    Memory<int32_t>() = 0;
    ASSERT_EQ(Ioctl(master, abi::kTIOCSPTLCK), 0);
  }
  static std::string Read(File& file, size_t max_bytes = 1000) {
    std::string text(max_bytes, 0);
    mm::KernelBuffer to(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text)));
    const auto n = file.Read(to, 0);
    if (!n.ok()) return "(error " + std::to_string(n.error_number()) + ")";
    text.resize(*n);
    return text;
  }
  static int64_t Write(File& file, std::string text) {
    mm::KernelBuffer from(mm::IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(text)));
    const auto n = file.Write(from, 0);
    return n.ok() ? static_cast<int64_t>(*n) : -n.error_number();
  }
  // A pair that is open on both ends.
  void OpenPair() {
    master_ = OpenMaster();
    Unlock(*master_);
    slave_ = *OpenSlave("0");
  }
  void MakeRaw(uint8_t vmin = 1, uint8_t vtime = 0) {
    ASSERT_EQ(Ioctl(*slave_, abi::kTCGETS), 0);
    auto& settings = Memory<abi::Termios>();
    settings.c_iflag = settings.c_oflag = settings.c_lflag = 0;
    settings.c_cc[abi::kVMIN] = vmin;
    settings.c_cc[abi::kVTIME] = vtime;
    ASSERT_EQ(Ioctl(*slave_, abi::kTCSETS), 0);
  }

  HostClock clock_;
  OnePage page_;
  mm::Tlb tlb_;
  FakeCaller caller_;
  FakeSignals signals_;
  TerminalSessions sessions_{&signals_};
  DeviceRegistry devices_;
  std::unique_ptr<Devpts> devpts_;
  Ref<File> master_, slave_;
};

std::string kAgain = "(error " + std::to_string(EAGAIN) + ")";
std::string kIo = "(error " + std::to_string(EIO) + ")";

TEST_F(DevptsTest, ASlaveIsThereWhileItsMasterIsOpen) {
  EXPECT_EQ(root()->Lookup("0").error_number(), ENOENT);
  Ref<File> master = OpenMaster();
  EXPECT_EQ(OpenSlave("0").error_number(), EIO) << "locked";
  Unlock(*master);
  Ref<File> slave = *OpenSlave("0");
  const Attributes attributes = *slave->inode()->GetAttributes();
  EXPECT_EQ(attributes.mode, uint32_t{S_IFCHR | 0620});
  EXPECT_EQ(attributes.uid, 1000u);
  EXPECT_EQ(attributes.gid, 5u);
  EXPECT_EQ(attributes.special_major, 136u);
  EXPECT_EQ(attributes.num_links, 1u);
  master.reset();
  EXPECT_EQ(root()->Lookup("0").error_number(), ENOENT);
  EXPECT_EQ((*slave->inode()->GetAttributes()).num_links, 0u);
  EXPECT_EQ(slave->DescribePath(), "/dev/pts/0");
}

TEST_F(DevptsTest, NumbersAreTheLowestFreeAndListed) {
  std::vector<Ref<File>> masters;
  for (int i = 0; i < 5; ++i) masters.push_back(OpenMaster());
  masters[1].reset();
  masters[3].reset();
  std::string names;
  Ref<File> directory = *root()->Open(Path(), O_RDONLY | O_DIRECTORY);
  EXPECT_TRUE(directory
                  ->ReadDirectory(0,
                                  [&](const DirectoryEntry& entry) {
                                    names += std::string(entry.name) + " ";
                                    return true;
                                  })
                  .ok());
  EXPECT_EQ(names, ". .. ptmx 0 2 4 ");
  masters[1] = OpenMaster();
  ASSERT_EQ(Ioctl(*masters[1], abi::kTIOCGPTN), 0);
  EXPECT_EQ(Memory<int32_t>(), 1);
  for (const char* name : {"01", "", "-1", "1x", "99999999999", "5"})
    EXPECT_EQ(root()->Lookup(name).error_number(), ENOENT) << name;
}

TEST_F(DevptsTest, TheHostsTerminalKeepsItsNumber) {
  int master, slave;
  ASSERT_EQ(openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  const Ref<HostTerminal> terminal = MakeRef<HostTerminal>(MakeRef<HostFd>(slave), &sessions_);
  ASSERT_TRUE(terminal->host_name().starts_with("/dev/pts/"));
  const uint32_t number = static_cast<uint32_t>(std::stoul(terminal->host_name().substr(9)));
  Mount(terminal.get());
  const Attributes attributes = *(*root()->Lookup(std::to_string(number)))->GetAttributes();
  EXPECT_EQ(attributes.special_major, terminal->device_major());
  EXPECT_EQ(attributes.special_minor, number);
  std::vector<Ref<File>> masters;
  for (uint32_t i = 0; i < number + 3; ++i) {
    masters.push_back(OpenMaster());
    ASSERT_EQ(Ioctl(*masters.back(), abi::kTIOCGPTN), 0);
    EXPECT_NE(Memory<uint32_t>(), number);
  }
  close(master);
}

TEST_F(DevptsTest, BytesGoBothWays) {
  OpenPair();
  EXPECT_EQ(Read(*master_), kAgain);
  EXPECT_EQ(Write(*slave_, "out\n"), 4);
  EXPECT_EQ(Read(*master_), "out\r\n");
  EXPECT_EQ(Write(*master_, "in\r"), 3);
  EXPECT_EQ(Read(*slave_, 2), "in");
  EXPECT_EQ(Read(*slave_), "\n");
  EXPECT_EQ(Read(*slave_), kAgain);
  EXPECT_EQ(Read(*master_), "in\r\n");
}

TEST_F(DevptsTest, WhoeverWaitsIsTold) {
  OpenPair();
  Recorder at_master, at_slave;
  master_->wait_queue()->Arm(&at_master, sync::kReadable | sync::kWritable);
  slave_->wait_queue()->Arm(&at_slave, sync::kReadable | sync::kWritable);
  MakeRaw();
  at_slave.Take();
  EXPECT_EQ(slave_->Readiness(sync::kReadable | sync::kWritable), sync::kWritable);
  Write(*master_, "a");
  EXPECT_TRUE(at_slave.Take() & sync::kReadable);
  Write(*master_, "b");
  EXPECT_TRUE(at_slave.Take() & sync::kReadable) << "each arrival counts: edge-triggered waiters hear it";
  EXPECT_EQ(slave_->Readiness(sync::kReadable), sync::kReadable);
  at_master.Take();
  while (Write(*slave_, std::string(1000, 'x')) > 0) {
  }
  EXPECT_TRUE(at_master.Take() & sync::kReadable);
  EXPECT_EQ(slave_->Readiness(sync::kWritable), 0u);
  at_slave.Take();
  Read(*master_);
  EXPECT_TRUE(at_slave.Take() & sync::kWritable);
  EXPECT_EQ(slave_->Readiness(sync::kWritable), sync::kWritable);
  while (Write(*master_, std::string(1000, 'x')) > 0) {
  }
  EXPECT_EQ(master_->Readiness(sync::kWritable), 0u);
  at_master.Take();
  Read(*slave_, 2000);
  EXPECT_TRUE(at_master.Take() & sync::kWritable);
  slave_.reset();
  EXPECT_TRUE(at_master.Take() & sync::kHangup);
}

TEST_F(DevptsTest, EachByteArrivesOnceAndInOrderThoughTheLineIsFull) {
  OpenPair();
  MakeRaw();
  std::string sent, got;
  for (int i = 0; i < 200; ++i) {
    std::string piece(1 + static_cast<size_t>(i) * 37 % 5000, static_cast<char>('a' + i % 26));
    const int64_t n = std::max<int64_t>(Write(*master_, piece), 0);
    sent += piece.substr(0, static_cast<size_t>(n));
    if (i % 3 == 0 && slave_->Readiness(sync::kReadable) != 0)
      got += Read(*slave_, 1 + static_cast<size_t>(i) * 91 % 9000);
  }
  while (slave_->Readiness(sync::kReadable) != 0) got += Read(*slave_, 5000);
  EXPECT_TRUE(got == sent);
}

TEST_F(DevptsTest, TheLastSlaveGoesAndComesBack) {
  OpenPair();
  Write(*slave_, "rest");
  Ref<File> second = *OpenSlave("0");
  slave_.reset();
  EXPECT_EQ(master_->Readiness(0), 0u);
  second.reset();
  EXPECT_EQ(master_->Readiness(0), sync::kHangup);
  EXPECT_EQ(Read(*master_), "rest");
  EXPECT_EQ(Read(*master_), kIo);
  slave_ = *OpenSlave("0");
  EXPECT_EQ(Read(*master_), kAgain);
}

TEST_F(DevptsTest, TheMasterGoes) {
  OpenPair();
  caller_.session_id = 7;
  const CallerIds leader{.process_id = 7, .thread_id = 7, .session_id = 7, .process_group_id = 7};
  Ref<File> second = *OpenSlave("0", O_RDWR, leader);
  EXPECT_EQ(sessions_.Find(7)->session(), 7);
  EXPECT_EQ(Read(*slave_), kAgain) << "waits";
  master_.reset();
  EXPECT_EQ(signals_.Take(), (Sent{{-7, 1}, {-7, 18}}));
  EXPECT_EQ(Read(*slave_), kIo) << "who waited";
  EXPECT_EQ(Read(*slave_), "");
  EXPECT_EQ(Read(*second), "");
  EXPECT_EQ(Write(*second, "x"), -EIO);
  EXPECT_EQ(Ioctl(*second, abi::kTCGETS), -EIO);
  EXPECT_EQ(second->Readiness(sync::kReadable | sync::kWritable),
            sync::kReadable | sync::kWritable | sync::kError | sync::kHangup);
  EXPECT_EQ(sessions_.Find(7), nullptr);
}

TEST_F(DevptsTest, KeysSignalTheForegroundGroupAndFlush) {
  OpenPair();
  const CallerIds leader{.process_id = 7, .thread_id = 7, .session_id = 7, .process_group_id = 7};
  Ref<File> second = *OpenSlave("0", O_RDWR, leader);
  Write(*master_, "abc\x03");
  EXPECT_EQ(signals_.Take(), (Sent{{7, 2}}));
  Write(*master_, "d\n");
  EXPECT_EQ(Read(*slave_), "d\n");
  Memory<abi::Winsize>() = {25, 80, 0, 0};
  ASSERT_EQ(Ioctl(*master_, abi::kTIOCSWINSZ), 0);
  ASSERT_EQ(Ioctl(*master_, abi::kTIOCSWINSZ), 0);
  EXPECT_EQ(signals_.Take(), (Sent{{7, 28}})) << "the same size is no change";
}

TEST_F(DevptsTest, ReadersHavePatience) {
  OpenPair();
  EXPECT_LT(slave_->ReadPatience().nanos, 0) << "line mode";
  MakeRaw(/*vmin=*/0, /*vtime=*/0);
  EXPECT_EQ(Read(*slave_), "") << "none at all";
  MakeRaw(/*vmin=*/0, /*vtime=*/3);
  EXPECT_EQ(Read(*slave_), kAgain);
  EXPECT_EQ(slave_->ReadPatience().nanos, 300'000'000);
  MakeRaw(/*vmin=*/5, /*vtime=*/3);
  EXPECT_LT(slave_->ReadPatience().nanos, 0) << "the clock starts at the first byte";
  Write(*master_, "ab");
  EXPECT_EQ(Read(*slave_), kAgain);
  const File::Patience first = slave_->ReadPatience();
  EXPECT_EQ(first.nanos, 300'000'000);
  Write(*master_, "c");
  EXPECT_NE(slave_->ReadPatience().restarts, first.restarts);
  std::string text(10, 0);
  mm::KernelBuffer to(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(*slave_->ReadImpatiently(to), 3u);
  slave_->SetStatusFlags(O_NONBLOCK);
  Write(*master_, "de");
  EXPECT_EQ(Read(*slave_), "de");
}

TEST_F(DevptsTest, SettingsKeepEightBitsAndKnowTheirSpeed) {
  OpenPair();
  ASSERT_EQ(Ioctl(*master_, abi::kTCGETS2), 0);
  auto& settings = Memory<abi::Termios2>();
  EXPECT_EQ(settings.c_ospeed, 38400u);
  settings.c_cflag = abi::kB9600 | abi::kPARENB;
  ASSERT_EQ(Ioctl(*slave_, abi::kTCSETSW2), 0);
  ASSERT_EQ(Ioctl(*master_, abi::kTCGETS2), 0);
  EXPECT_EQ(settings.c_cflag, abi::kB9600 | abi::kCS8 | abi::kCREAD);
  EXPECT_EQ(settings.c_ispeed, 9600u);
  settings.c_cflag = abi::kBOTHER | 010002 << abi::kIBSHIFT;
  settings.c_ospeed = 12345;
  ASSERT_EQ(Ioctl(*slave_, abi::kTCSETS2), 0);
  ASSERT_EQ(Ioctl(*master_, abi::kTCGETS2), 0);
  EXPECT_EQ(settings.c_ospeed, 12345u);
  EXPECT_EQ(settings.c_ispeed, 115200u);
  for (const uint32_t request :
       {abi::kTCGETS, abi::kTCSETS, abi::kTCGETA, abi::kTCSETA, abi::kTIOCSWINSZ, abi::kTIOCSTI})
    EXPECT_EQ(Ioctl(*slave_, request, 0x5000), request == abi::kTIOCSTI ? -EPERM : -EFAULT) << request;
  EXPECT_EQ(Ioctl(*slave_, 0x5499), -ENOTTY);
}

// Readers, writers, settings and closes at once: for the sanitizers.
TEST_F(DevptsTest, BothEndsAtOnce) {
  OpenPair();
  constexpr int kNumLines = 2000;
  std::thread typist([&] {
    for (int i = 0; i < kNumLines; ++i) {
      std::string rest = "line\n";
      if (i % 10 == 0) rest = "\x13\x11" + rest;
      while (!rest.empty()) rest.erase(0, static_cast<size_t>(std::max<int64_t>(Write(*master_, rest), 0)));
    }
  });
  std::thread screen([&] {
    while (Read(*master_) != kIo) std::this_thread::yield();
  });
  std::thread poller([&] {
    for (int i = 0; i < 1000; ++i) {
      (void)slave_->Readiness(sync::kReadable | sync::kWritable);
      (void)master_->Readiness(sync::kReadable | sync::kWritable);
    }
  });
  int num_lines = 0;
  while (num_lines < kNumLines) {
    const std::string line = Read(*slave_);
    if (line == kAgain) {
      std::this_thread::yield();
    } else {
      ASSERT_EQ(line, "line\n");
      ++num_lines;
      Write(*slave_, "read\n");
    }
  }
  typist.join();
  poller.join();
  Write(*master_, "gone\x03");
  slave_.reset();
  screen.join();
}

}  // namespace
}  // namespace remora::fs
