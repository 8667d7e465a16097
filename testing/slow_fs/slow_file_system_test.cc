// No lock is held across a hook: while one of a file's hooks waits, everything else goes on.

#include "testing/slow_fs/slow_file_system.h"

#include <fcntl.h>

#include <string>
#include <thread>

#include "base/clock.h"
#include "fs/fd_table.h"
#include "fs/vfs_for_testing.h"
#include "gtest/gtest.h"
#include "sync/reclaimer.h"

namespace remora::testing {
namespace {

using fs::File;

class SlowFileSystemTest : public ::testing::Test {
 protected:
  SlowFileSystemTest() {
    t_.vfs().MountRoot(t_.NewTmpfs(), 0);
    EXPECT_EQ(t_.MakeDirectory("/slow"), 0);
    EXPECT_TRUE(t_.vfs()
                    .Mount(t_.context(), "/slow",
                           backend_.NewFileSystem(t_.vfs().NewDeviceId(), &clock_, &t_.reclaimer()), "slow", 0)
                    .ok());
  }
  Ref<File> Open(const std::string& path) {
    auto file = t_.vfs().Open(t_.context(), path, {.flags = O_RDWR, .permissions = 0, .resolve = 0});
    return file.ok() ? *std::move(file) : nullptr;
  }
  // `work` in a thread of its own that comes to the gate; `meanwhile` here while it waits.
  template <typename Work, typename Meanwhile>
  void While(SlowHook hook, Work work, Meanwhile meanwhile) {
    backend_.Shut(hook);
    std::thread thread([&] {
      sync::Reclaimer::ReadSection section(&t_.reclaimer());
      work();
    });
    backend_.AwaitWaiting(hook, 1);
    meanwhile();
    EXPECT_EQ(backend_.num_waiting(hook), 1u);
    backend_.Lift(hook);
    thread.join();
  }
  // Opens, looks at and closes the neighbours: of the same directory and of another.
  void UseOthers() {
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(Open("/slow/" + std::to_string(i)));
      EXPECT_TRUE(t_.Stat("/slow/" + std::to_string(i)).ok());
      EXPECT_EQ(t_.WriteFile("/" + std::to_string(i), "text"), 0);
    }
  }

  HostClock clock_;
  SlowBackend backend_;
  fs::VfsForTesting t_;
};

TEST_F(SlowFileSystemTest, OthersAreOpenedWhileOneOpenWaits) {
  While(SlowHook::kOpen, [&] { EXPECT_TRUE(Open("/slow/slow1")); }, [&] { UseOthers(); });
}

TEST_F(SlowFileSystemTest, OthersAreOpenedWhileALookupWaits) {
  While(SlowHook::kLookup, [&] { EXPECT_TRUE(Open("/slow/slow1")); }, [&] { UseOthers(); });
}

TEST_F(SlowFileSystemTest, OthersAreOpenedWhileAStatWaits) {
  While(SlowHook::kStat, [&] { EXPECT_TRUE(t_.Stat("/slow/slow1").ok()); }, [&] { UseOthers(); });
}

TEST_F(SlowFileSystemTest, OthersAreOpenedWhileACloseWaits) {
  Ref<File> file = Open("/slow/slow1");
  While(SlowHook::kClose, [&] { file.reset(); }, [&] { UseOthers(); });
}

// Two that open one file agree on its inode though both had to make it.
TEST_F(SlowFileSystemTest, TwoWhoWaitInOneLookupGetOneInode) {
  backend_.Shut(SlowHook::kLookup);
  Ref<File> files[2];
  std::thread threads[2];
  for (int i = 0; i < 2; ++i)
    threads[i] = std::thread([&, i] {
      sync::Reclaimer::ReadSection section(&t_.reclaimer());
      files[i] = Open("/slow/slow7");
    });
  backend_.AwaitWaiting(SlowHook::kLookup, 2);
  backend_.Lift(SlowHook::kLookup);
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(files[0] && files[1]);
  EXPECT_EQ(files[0]->inode(), files[1]->inode());
}

TEST_F(SlowFileSystemTest, DescriptorsAreUsedWhileACloseWaits) {
  const auto table = MakeRef<fs::FdTable>(&t_.reclaimer());
  ASSERT_EQ(*table->Add(Open("/slow/slow1"), false), 0);
  ASSERT_EQ(*table->Add(Open("/slow/1"), false), 1);
  for (const SlowHook hook : {SlowHook::kFlush, SlowHook::kClose}) {
    While(
        hook, [&] { EXPECT_TRUE(table->Close(0).ok()); },
        [&] {
          EXPECT_FALSE(table->Lookup(0).ok());
          EXPECT_TRUE(table->Lookup(1).ok());
          EXPECT_EQ(*table->Add(Open("/slow/2"), false), 0);
          EXPECT_TRUE(table->Close(0).ok());
        });
    ASSERT_EQ(*table->Add(Open("/slow/slow1"), false), 0);
  }
  table->CloseAll();
}

TEST_F(SlowFileSystemTest, TheControlFileIsTheGuestsDoor) {
  EXPECT_EQ(t_.WriteFile("/slow/control", "shut stat\n"), 0);
  std::thread thread([&] {
    sync::Reclaimer::ReadSection section(&t_.reclaimer());
    EXPECT_TRUE(t_.Stat("/slow/slow3").ok());
  });
  backend_.AwaitWaiting(SlowHook::kStat, 1);
  EXPECT_EQ(t_.ReadFile("/slow/control"), "lookup 0\nopen 0\nstat 1\nflush 0\nclose 0\n");
  EXPECT_EQ(t_.WriteFile("/slow/control", "lift stat"), 0);
  thread.join();
  EXPECT_EQ(t_.WriteFile("/slow/control", "lift nothing"), EINVAL);
  EXPECT_EQ(t_.WriteFile("/slow/control", "open"), EINVAL);
  EXPECT_FALSE(Open("/slow/slowly"));
  EXPECT_FALSE(Open("/slow/12x"));
}

}  // namespace
}  // namespace remora::testing
