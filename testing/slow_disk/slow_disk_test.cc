// Real programs in a real Kernel with one worker, whose host files come from a disk that hangs until the test lets it
// go: whoever needs such a file waits, and nobody else does.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "cpu/interpreter.h"
#include "fs/hostfs/slow_disk_for_testing.h"
#include "proc/kernel.h"
#include "runner/file_systems.h"
#include "runner/first_process.h"
#include "runner/inherited_fds.h"
#include "runner/options.h"
#include "syscalls/dispatcher.h"

namespace remora {
namespace {

namespace stdfs = std::filesystem;
using Kind = fs::SlowDiskForTesting::Kind;

class SlowDiskTest : public ::testing::TestWithParam<Kind> {
 protected:
  SlowDiskTest() {
    std::string name = std::string(std::getenv("TEST_TMPDIR")) + "/slow_disk.XXXXXX";
    folder_ = mkdtemp(name.data());
    stdfs::create_directory(folder_ + "/slow");
    stdfs::create_directory(folder_ + "/out");
  }
  ~SlowDiskTest() override { stdfs::remove_all(folder_); }

  void PutSlow(const std::string& name, const std::string& from) {
    stdfs::copy_file(from, folder_ + "/slow/" + name, stdfs::copy_options::overwrite_existing);
    chmod((folder_ + "/slow/" + name).c_str(), 0755);
    disk_.MakeSlow(folder_ + "/slow/" + name);
  }
  static std::string Content(const std::string& name) {
    std::ifstream file(name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  std::string Out(const std::string& name) { return Content(folder_ + "/out/" + name); }

  // Runs the script under busybox while a second process counts in /out/tick. Each time the disk is asked, the counting
  // must get on before the disk answers. The exit status.
  int Run(const std::string& script) {
    runner::Options options;
    options.binds = {{folder_ + "/slow", "/slow", false}, {folder_ + "/out", "/out", true}};
    options.program = {"/bin/busybox", "sh", "-c",
                       "i=0; while [ ! -e /out/done ]; do i=$((i+1)); echo $i > /out/tick; done & "
                       "( " +
                           script + " ); status=$?; : > /out/done; wait; exit $status"};
    std::atomic<bool> ended = false;
    int wait_status = -1;
    std::thread kernel_thread([&] {
      wait_status = RunKernel(options);
      ended = true;
    });
    while (!ended) {
      if (disk_.num_waiting() == 0 || hold_) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      const std::string before = Out("tick");
      std::string now;
      while (!ended && ((now = Out("tick")).empty() || now == before))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ++num_hangs_;
      disk_.Allow(1);
    }
    kernel_thread.join();
    return wait_status;
  }

  int RunKernel(const runner::Options& options) {
    // The guest gets our standard streams for good: afterwards they are put back.
    const std::array<int, 2> kept = {fcntl(0, F_DUPFD_CLOEXEC, 10), fcntl(1, F_DUPFD_CLOEXEC, 10)};
    const int status = RunWithInherited(options, runner::InheritedFds());
    for (int fd = 0; fd < 2; ++fd) {
      dup2(kept[static_cast<size_t>(fd)], fd);
      close(kept[static_cast<size_t>(fd)]);
    }
    return status;
  }

  int RunWithInherited(const runner::Options& options, runner::InheritedFds inherited) {
    auto dispatcher = syscalls::Dispatcher::Create({});
    proc::Kernel::Options kernel_options;
    kernel_options.num_workers = 1;
    kernel_options.dispatcher = dispatcher->get();
    kernel_options.make_engine = [](cpu::BlockCache* blocks) { return cpu::MakeInterpreter(blocks); };
    runner::FileSystems file_systems(shared_disk_);
    proc::Kernel kernel(std::move(kernel_options));
    if (!file_systems.Build(&kernel, options, nullptr).ok()) return -1;
    int exit_status = 0;
    auto first = runner::MakeFirstProcess(options, &kernel, file_systems, inherited, nullptr, &exit_status);
    if (!first.ok() || !kernel.Start(*std::move(first), nullptr).ok()) return -1;
    inherited.LetGo();
    return kernel.Run();
  }

  std::string folder_;
  const std::shared_ptr<fs::SlowDiskForTesting> shared_disk_ = std::make_shared<fs::SlowDiskForTesting>(GetParam());
  fs::SlowDiskForTesting& disk_ = *shared_disk_;
  bool hold_ = false;  // the disk never answers
  uint64_t num_hangs_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Kinds, SlowDiskTest, ::testing::Values(Kind::kKeepsPages, Kind::kKeepsNothing));

TEST_P(SlowDiskTest, AReadWaitsAloneAndIsNeverShort) {
  PutSlow("data", "/bin/bash");
  EXPECT_EQ(Run("cat /slow/data > /out/copy && dd if=/slow/data of=/out/whole bs=2000000 count=1"), 0);
  EXPECT_EQ(Out("copy"), Content("/bin/bash"));
  EXPECT_EQ(Out("whole"), Content("/bin/bash").substr(0, 2'000'000));
  EXPECT_GE(num_hangs_, 5u);
}

TEST_P(SlowDiskTest, AProgramIsExecutedFromIt) {
  PutSlow("busybox", "/bin/busybox");
  EXPECT_EQ(Run("/slow/busybox seq 3 > /out/copy"), 0);
  EXPECT_EQ(Out("copy"), "1\n2\n3\n");
  EXPECT_GE(num_hangs_, 2u);
}

TEST_P(SlowDiskTest, ColdPagesHandedToTheKernel) {
  PutSlow("touches_cold_pages", std::getenv("TOUCHES_COLD_PAGES"));
  EXPECT_EQ(Run("/slow/touches_cold_pages"), 0);
  EXPECT_EQ(Out("cold").substr(0, 24), "written from a cold page");
  EXPECT_GE(num_hangs_, 6u);
}

TEST_P(SlowDiskTest, AnErrorOfTheDiskReachesTheReader) {
  PutSlow("data", "/bin/bash");
  disk_.FailNext(EIO);
  EXPECT_NE(Run("dd if=/slow/data of=/out/copy bs=4096 2> /out/said"), 0);
  EXPECT_NE(Out("said").find("Input/output error"), std::string::npos) << Out("said");
}

TEST_P(SlowDiskTest, WhoWaitsForItCanBeKilled) {
  PutSlow("data", "/bin/bash");
  hold_ = true;
  EXPECT_EQ(Run("cat /slow/data > /out/copy & while [ \"$(cat /out/tick)\" -lt 20 ]; do :; done; kill -9 $!; wait $!; "
                "[ $? = 137 ]"),
            0);
  EXPECT_EQ(disk_.num_waiting(), 1u);
  disk_.Allow(1000);
}

}  // namespace
}  // namespace remora
