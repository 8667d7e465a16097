#include "fs/fd_table.h"

#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "gtest/gtest.h"

namespace remora::fs {
namespace {

struct Tally {
  std::atomic<int> closes{0};       // descriptors
  std::atomic<int> last_closes{0};  // files
  std::atomic<int> deaths{0};
};

class FakeFile final : public File {
 public:
  explicit FakeFile(Tally* tally) : File(nullptr, Path(), 0), tally_(tally) {}
  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return Errno(EIO); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EIO); }
  void OnDescriptorClosed() override { ++tally_->closes; }
  void OnLastClose() override { ++tally_->last_closes; }

 private:
  ~FakeFile() override { ++tally_->deaths; }
  Tally* const tally_;
};

class FdTableTest : public ::testing::Test {
 protected:
  Ref<File> NewFile() { return MakeRef<FakeFile>(&tally_); }

  Tally tally_;
  sync::Reclaimer reclaimer_;
};

// A std::map and a search from the beginning.
struct Model {
  struct Open {
    File* file;
    bool close_on_exec;
  };
  std::map<int32_t, Open> fds;
  int32_t LowestFree(int32_t lowest) const {
    while (fds.contains(lowest)) ++lowest;
    return lowest;
  }
};

TEST_F(FdTableTest, AnswersAsAMapDoes) {
  sync::Reclaimer::ReadSection section(&reclaimer_);
  constexpr uint32_t kLimit = 5000;
  Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
  Model model;
  std::mt19937_64 random(11);
  for (int i = 0; i < 30000; ++i) {
    const auto fd = static_cast<int32_t>(random() % 5100) - 50;
    const bool cloexec = random() % 2 == 0;
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        const int32_t lowest = random() % 2 == 0 ? 0 : fd;
        Ref<File> file = NewFile();
        ErrnoOr<int32_t> added = table->Add(file, cloexec, lowest, kLimit);
        if (lowest < 0 || lowest >= static_cast<int32_t>(kLimit)) {
          ASSERT_EQ(added.error_number(), EINVAL);
        } else if (model.LowestFree(lowest) >= static_cast<int32_t>(kLimit)) {
          ASSERT_EQ(added.error_number(), EMFILE);
        } else {
          ASSERT_TRUE(added.ok());
          ASSERT_EQ(*added, model.LowestFree(lowest));
          model.fds[*added] = {file.get(), cloexec};
        }
        break;
      }
      case 3: {
        Ref<File> file = NewFile();
        const bool valid = fd >= 0 && fd < static_cast<int32_t>(kLimit);
        ASSERT_EQ(table->Set(fd, file, cloexec, kLimit).error_number(), valid ? 0 : EBADF);
        if (valid) model.fds[fd] = {file.get(), cloexec};
        break;
      }
      case 4:
      case 5:
        ASSERT_EQ(table->Close(fd).error_number(), model.fds.erase(fd) != 0 ? 0 : EBADF);
        break;
      case 6: {
        auto it = model.fds.find(fd);
        ASSERT_EQ(table->set_close_on_exec(fd, cloexec).ok(), it != model.fds.end());
        if (it != model.fds.end()) it->second.close_on_exec = cloexec;
        break;
      }
      case 7:
        if (random() % 50 == 0) {
          const auto first = static_cast<uint32_t>(random() % 5000),
                     last = first + static_cast<uint32_t>(random() % 500);
          const bool only_mark = random() % 2 == 0;
          ASSERT_TRUE(table->CloseRange(first, last, only_mark).ok());
          for (auto it = model.fds.lower_bound(static_cast<int32_t>(first));
               it != model.fds.end() && it->first <= static_cast<int32_t>(last);) {
            it->second.close_on_exec |= only_mark;
            it = only_mark ? std::next(it) : model.fds.erase(it);
          }
        } else if (random() % 200 == 0) {
          table->CloseOnExec();
          std::erase_if(model.fds, [](const auto& fd) { return fd.second.close_on_exec; });
        } else if (random() % 100 == 0) {
          table = table->Clone();
        }
        break;
    }
    auto it = model.fds.find(fd);
    ErrnoOr<Ref<File>> found = table->Lookup(fd);
    ASSERT_EQ(found.ok() ? found->get() : nullptr, it == model.fds.end() ? nullptr : it->second.file);
    ErrnoOr<bool> flag = table->close_on_exec(fd);
    ASSERT_EQ(flag.ok(), it != model.fds.end());
    if (flag.ok()) ASSERT_EQ(*flag, it->second.close_on_exec);
    ASSERT_EQ(table->num_open(), model.fds.size());
  }
  auto expected = model.fds.begin();
  table->ForEach([&](int32_t fd, const Ref<File>& file, bool cloexec) {
    ASSERT_NE(expected, model.fds.end());
    EXPECT_EQ(fd, expected->first);
    EXPECT_EQ(file.get(), expected->second.file);
    EXPECT_EQ(cloexec, expected->second.close_on_exec);
    ++expected;
  });
  EXPECT_EQ(expected, model.fds.end());
}

TEST_F(FdTableTest, TheLastCloseIsHeardAtOnceThoughMemoryGoesLater) {
  sync::Reclaimer::ReadSection section(&reclaimer_);
  Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
  ErrnoOr<int32_t> fd = table->Add(NewFile(), false);
  ASSERT_TRUE(fd.ok());
  Ref<FdTable> clone = table->Clone();
  ASSERT_TRUE(table->Close(*fd).ok());
  EXPECT_EQ(tally_.closes, 1);
  EXPECT_EQ(tally_.last_closes, 0);
  ASSERT_TRUE(clone->Close(*fd).ok());
  EXPECT_EQ(tally_.closes, 2);
  EXPECT_EQ(tally_.last_closes, 1);
  EXPECT_EQ(tally_.deaths, 0);  // a lookup might still look at its count
}

TEST_F(FdTableTest, TheLastUserClosesThoughOthersStillLook) {
  sync::Reclaimer::ReadSection section(&reclaimer_);
  Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
  table->AddUser();
  table->AddUser();
  ASSERT_TRUE(table->Add(NewFile(), false).ok());
  table->DropUser();
  EXPECT_EQ(tally_.closes, 0);
  table->DropUser();
  EXPECT_EQ(tally_.closes, 1);
  EXPECT_EQ(tally_.last_closes, 1);
  EXPECT_EQ(table->Lookup(0).error_number(), EBADF);
}

TEST_F(FdTableTest, LookupTakesNoLock) {
  sync::Reclaimer::ReadSection section(&reclaimer_);
  Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
  ASSERT_TRUE(table->Add(NewFile(), false).ok());
  const uint64_t before = LocksTakenByThisThread();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(table->Lookup(0).ok());
  EXPECT_EQ(LocksTakenByThisThread(), before);
}

TEST_F(FdTableTest, LookupsRaceWithCloseDupAndGrowth) {
  Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      sync::Reclaimer::Participant participant(&reclaimer_);
      participant.Online();
      std::mt19937_64 random(static_cast<unsigned>(t));
      while (!stop.load(std::memory_order_relaxed)) {
        ErrnoOr<Ref<File>> file = table->Lookup(static_cast<int32_t>(random() % 300));
        if (file.ok()) ASSERT_GE((*file)->ref_count(), 1u);
        file = Errno(EBADF);
        participant.Quiesce();
      }
      participant.Offline();
    });
  }
  std::mt19937_64 random(5);
  for (int i = 0; i < 4000; ++i) {
    const auto fd = static_cast<int32_t>(random() % 300);
    switch (random() % 3) {
      case 0:
        ASSERT_TRUE(table->Add(NewFile(), true).ok());
        break;
      case 1:
        ASSERT_TRUE(table->Set(fd, NewFile(), false).ok());
        break;
      default:
        (void)table->Close(fd);
    }
    if (i % 1000 == 999) table->CloseOnExec();
    reclaimer_.Collect();
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  table->CloseAll();
  reclaimer_.Collect();
  EXPECT_EQ(tally_.deaths, tally_.last_closes);
}

}  // namespace
}  // namespace remora::fs
