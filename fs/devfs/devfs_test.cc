#include "fs/devfs/devfs.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"
#include "fs/file.h"
#include "fs/tmpfs/tmpfs.h"
#include "fs/tty/terminal_for_testing.h"
#include "mm/memory_for_testing.h"

namespace remora::fs {
namespace {

using mm::IoBuffer;
using mm::KernelBuffer;

class DevfsTest : public ::testing::Test {
 protected:
  DevfsTest() {
    RegisterDevices(
        &devices_,
        {.entropy = &entropy_, .stream = {&reactor_, anonymous_.get(), &memory_.context}, .terminal = nullptr});
    EXPECT_TRUE(PopulateDev(*dev_->root()).ok());
  }
  ErrnoOr<Ref<File>> Open(std::string_view name, uint32_t flags = O_RDWR) {
    REMORA_ASSIGN_OR_RETURN(const Ref<Inode> inode, dev_->root()->Lookup(name));
    return inode->Open(Path(), flags);
  }
  static ErrnoOr<uint64_t> Read(File& file, std::vector<std::byte>* bytes) {
    KernelBuffer to(IoBuffer::Direction::kFill, *bytes);
    return file.Read(to, 0);
  }
  static ErrnoOr<uint64_t> Write(File& file, std::vector<std::byte> bytes) {
    KernelBuffer from(IoBuffer::Direction::kDrain, bytes);
    return file.Write(from, 0);
  }

  HostClock clock_;
  HostEntropy entropy_;
  HostReactor reactor_;
  mm::MemoryForTesting memory_;
  Ref<AnonymousFiles> anonymous_ = MakeRef<AnonymousFiles>(&clock_);
  DeviceRegistry devices_;
  Ref<Tmpfs> dev_ = MakeRef<Tmpfs>(&memory_.context, &clock_, &devices_, 7);
};

TEST_F(DevfsTest, NullSwallowsAndIsAlwaysAtItsEnd) {
  Ref<File> null = *Open("null");
  std::vector<std::byte> bytes(100, std::byte{1});
  EXPECT_EQ(*Read(*null, &bytes), 0u);
  EXPECT_EQ(*Write(*null, bytes), 100u);
  uint64_t end = 5;
  KernelBuffer from(IoBuffer::Direction::kDrain, bytes);
  EXPECT_EQ(*null->Append(from, &end), 100u);
  EXPECT_EQ(end, 0u);
  EXPECT_TRUE(null->seekable());
}

TEST_F(DevfsTest, ZeroGivesZerosAndCanBeMapped) {
  Ref<File> zero = *Open("zero");
  std::vector<std::byte> bytes(10'000, std::byte{1});
  EXPECT_EQ(*Read(*zero, &bytes), 10'000u);
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), std::byte{0}), 10'000);
  EXPECT_EQ(*Write(*zero, bytes), 10'000u);
  Ref<mm::Mappable> one = *zero->Mappable(), two = *zero->Mappable();
  EXPECT_NE(one, two);
  EXPECT_EQ((*Open("null"))->Mappable().error_number(), ENODEV);
}

TEST_F(DevfsTest, FullIsFull) {
  Ref<File> full = *Open("full");
  EXPECT_EQ(Write(*full, std::vector<std::byte>(1)).error_number(), ENOSPC);
  std::vector<std::byte> bytes(10, std::byte{1});
  EXPECT_EQ(*Read(*full, &bytes), 10u);
  EXPECT_EQ(bytes, std::vector<std::byte>(10));
}

TEST_F(DevfsTest, RandomFillsAnyLength) {
  for (const char* name : {"random", "urandom"}) {
    Ref<File> random = *Open(name);
    std::vector<std::byte> one(5000), two(5000);
    EXPECT_EQ(*Read(*random, &one), 5000u);
    EXPECT_EQ(*Read(*random, &two), 5000u);
    EXPECT_NE(one, two);
    EXPECT_NE(std::vector(one.end() - 16, one.end()), std::vector<std::byte>(16)) << "filled to the end";
    EXPECT_EQ(*Write(*random, one), 5000u);
  }
}

TEST_F(DevfsTest, NodesAndLinksAreLinuxs) {
  const struct {
    const char* name;
    uint32_t mode, major, minor;
  } expected[] = {{"null", S_IFCHR | 0666, 1, 3},   {"zero", S_IFCHR | 0666, 1, 5},    {"full", S_IFCHR | 0666, 1, 7},
                  {"random", S_IFCHR | 0666, 1, 8}, {"urandom", S_IFCHR | 0666, 1, 9}, {"tty", S_IFCHR | 0666, 5, 0},
                  {"ptmx", S_IFCHR | 0666, 5, 2},   {"pts", S_IFDIR | 0755, 0, 0},     {"shm", S_IFDIR | 01777, 0, 0}};
  for (const auto& e : expected) {
    const Attributes a = *(*dev_->root()->Lookup(e.name))->GetAttributes();
    EXPECT_EQ(a.mode, e.mode) << e.name;
    EXPECT_EQ(a.special_major, e.major) << e.name;
    EXPECT_EQ(a.special_minor, e.minor) << e.name;
  }
  EXPECT_EQ(*(*dev_->root()->Lookup("stdout"))->ReadLink(), "/proc/self/fd/1");
  EXPECT_EQ(*(*dev_->root()->Lookup("fd"))->ReadLink(), "/proc/self/fd");
}

TEST_F(DevfsTest, TtyIsTheCallersTerminal) {
  int master, slave;
  ASSERT_EQ(openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
  {
    FakeSignals signals;
    TerminalSessions sessions(&signals);
    Ref<HostTerminal> terminal = MakeRef<HostTerminal>(MakeRef<HostFd>(slave), &sessions);
    DeviceRegistry devices;
    RegisterDevices(&devices, {.entropy = &entropy_,
                               .stream = {&reactor_, anonymous_.get(), nullptr},
                               .terminal = terminal,
                               .sessions = &sessions});
    Ref<Tmpfs> dev = MakeRef<Tmpfs>(&memory_.context, &clock_, &devices, 8);
    ASSERT_TRUE(PopulateDev(*dev->root(), terminal.get()).ok());
    Ref<Inode> tty = *dev->root()->Lookup("tty");
    const CallerIds caller{.process_id = 2, .thread_id = 2, .session_id = 2, .process_group_id = 2};
    EXPECT_EQ(tty->OpenFor(caller, Path(), O_RDWR).error_number(), ENXIO) << "it has none yet";
    terminal->SetSession(2, 2);
    Ref<File> file = *tty->OpenFor(caller, Path(), O_RDWR);
    EXPECT_EQ(file->inode(), tty);
    EXPECT_EQ(*Write(*file, std::vector<std::byte>(3, std::byte{'x'})), 3u);
    char got[3];
    EXPECT_EQ(read(master, got, sizeof(got)), 3);
    EXPECT_EQ(tty->OpenFor({.process_id = 3, .session_id = 3}, Path(), O_RDWR).error_number(), ENXIO)
        << "another session";
    terminal->SetSession(0, 0);
  }
  close(master);
}

TEST_F(DevfsTest, TtyWithoutATerminalIsEnxio) { EXPECT_EQ(Open("tty").error_number(), ENXIO); }

}  // namespace
}  // namespace remora::fs
