#include "fs/fd_table.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <random>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace remora::fs {
namespace {

#ifdef NDEBUG
constexpr int kModelSteps = 1'000'000;
constexpr int kRounds = 6, kWritesInRound = 20'000, kLookupsInRound = 60'000;
#else
constexpr int kModelSteps = 20'000;
constexpr int kRounds = 3, kWritesInRound = 4'000, kLookupsInRound = 12'000;
#endif

struct Tally {
  std::atomic<int> closes{0};       // descriptors
  std::atomic<int> last_closes{0};  // files
  std::atomic<int> deaths{0};
};

class FakeFile final : public File {
 public:
  explicit FakeFile(Tally* tally, uint64_t number = 0) : File(nullptr, Path(), 0), number(number), tally_(tally) {}
  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return Errno(EIO); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EIO); }
  void OnDescriptorClosed() override { ++tally_->closes; }
  void OnLastClose() override { ++tally_->last_closes; }

  const uint64_t number;

 private:
  ~FakeFile() override { ++tally_->deaths; }
  Tally* const tally_;
};

// Its last close takes as long as the test wants.
class SlowFile final : public File {
 public:
  SlowFile() : File(nullptr, Path(), 0) {}
  ErrnoOr<uint64_t> Read(mm::IoBuffer&, uint64_t) override { return Errno(EIO); }
  ErrnoOr<uint64_t> Write(mm::IoBuffer&, uint64_t) override { return Errno(EIO); }
  void OnLastClose() override {
    closing.release();
    go_on.acquire();
  }
  std::binary_semaphore closing{0}, go_on{0};
};

// An online participant that says now and then that it holds nothing.
class Participant {
 public:
  explicit Participant(sync::Reclaimer* reclaimer) : reclaimer_(reclaimer), participant_(reclaimer) {
    participant_.Online();
  }
  ~Participant() { participant_.Offline(); }
  void Quiesce() {
    participant_.Quiesce();
    reclaimer_->Collect();
  }

 private:
  sync::Reclaimer* const reclaimer_;
  sync::Reclaimer::Participant participant_;
};

class FdTableTest : public ::testing::Test {
 protected:
  Ref<File> NewFile() { return MakeRef<FakeFile>(&tally_); }

  Tally tally_;
  sync::Reclaimer reclaimer_;
};

// An array and a search from the beginning.
struct Model {
  struct Open {
    const File* file = nullptr;
    bool close_on_exec = false;
  };
  explicit Model(uint32_t limit) : fds(limit) {}
  int32_t LowestFree(int32_t lowest) const {
    auto fd = static_cast<size_t>(lowest);
    while (fd < fds.size() && fds[fd].file != nullptr) ++fd;
    return static_cast<int32_t>(fd);
  }
  bool Has(int32_t fd) const { return fd >= 0 && static_cast<size_t>(fd) < fds.size() && At(fd).file != nullptr; }
  const Open& At(int32_t fd) const { return fds[static_cast<size_t>(fd)]; }
  void Put(int32_t fd, const File* file, bool close_on_exec) {
    num_open += (file != nullptr) - (At(fd).file != nullptr);
    fds[static_cast<size_t>(fd)] = {file, file != nullptr && close_on_exec};
  }
  std::vector<Open> fds;
  uint32_t num_open = 0;
};

TEST_F(FdTableTest, AnswersAsAnArrayDoes) {
  Participant participant(&reclaimer_);
  constexpr uint32_t kLimit = 700;
  constexpr auto kEnd = static_cast<int32_t>(kLimit);
  Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
  Model model(kLimit);
  std::mt19937_64 random(11);
  for (int i = 0; i < kModelSteps; ++i) {
    const auto fd = static_cast<int32_t>(random() % (kLimit + 20)) - 10;
    const bool cloexec = random() % 2 == 0;
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        const int32_t lowest = random() % 2 == 0 ? 0 : fd;
        Ref<File> file = NewFile();
        ErrnoOr<int32_t> added = table->Add(file, cloexec, lowest, kLimit);
        if (lowest < 0 || lowest >= kEnd) {
          ASSERT_EQ(added.error_number(), EINVAL);
        } else if (model.LowestFree(lowest) >= kEnd) {
          ASSERT_EQ(added.error_number(), EMFILE);
        } else {
          ASSERT_TRUE(added.ok());
          ASSERT_EQ(*added, model.LowestFree(lowest));
          model.Put(*added, file.get(), cloexec);
        }
        break;
      }
      case 3: {
        Ref<File> file = NewFile();
        const bool valid = fd >= 0 && fd < kEnd;
        ASSERT_EQ(table->Set(fd, file, cloexec, kLimit).error_number(), valid ? 0 : EBADF);
        if (valid) model.Put(fd, file.get(), cloexec);
        break;
      }
      case 4:
      case 5:
        ASSERT_EQ(table->Close(fd).error_number(), model.Has(fd) ? 0 : EBADF);
        if (model.Has(fd)) model.Put(fd, nullptr, false);
        break;
      case 6:
        ASSERT_EQ(table->set_close_on_exec(fd, cloexec).ok(), model.Has(fd));
        if (model.Has(fd)) model.fds[static_cast<size_t>(fd)].close_on_exec = cloexec;
        break;
      case 7:
        if (random() % 50 == 0) {
          const auto first = static_cast<uint32_t>(random() % kLimit),
                     last = first + static_cast<uint32_t>(random() % 150);
          const bool only_mark = random() % 2 == 0;
          ASSERT_TRUE(table->CloseRange(first, last, only_mark).ok());
          for (uint32_t n = first; n <= last && n < kLimit; ++n) {
            const auto closed = static_cast<int32_t>(n);
            if (model.Has(closed)) model.Put(closed, only_mark ? model.At(closed).file : nullptr, only_mark);
          }
        } else if (random() % 200 == 0) {
          table->CloseOnExec();
          for (int32_t n = 0; n < kEnd; ++n)
            if (model.At(n).close_on_exec) model.Put(n, nullptr, false);
        } else if (random() % 100 == 0) {
          table = table->Clone();
        }
        break;
    }
#ifndef NDEBUG
    table->CheckInvariants();
#endif
    ErrnoOr<Ref<File>> found = table->Lookup(fd);
    ASSERT_EQ(found.ok() ? found->get() : nullptr, model.Has(fd) ? model.At(fd).file : nullptr);
    ErrnoOr<bool> flag = table->close_on_exec(fd);
    ASSERT_EQ(flag.ok(), model.Has(fd));
    if (flag.ok()) ASSERT_EQ(*flag, model.At(fd).close_on_exec);
    ASSERT_EQ(table->num_open(), model.num_open);
    if (i % 256 == 0) {
      found = Errno(EBADF);
      participant.Quiesce();
    }
  }
  table->CheckInvariants();
  int32_t next = 0;
  table->ForEach(0, [&](int32_t fd, const Ref<File>& file, bool cloexec) {
    for (; next < fd; ++next) EXPECT_FALSE(model.Has(next));
    EXPECT_EQ(file.get(), model.At(fd).file);
    EXPECT_EQ(cloexec, model.At(fd).close_on_exec);
    ++next;
    return true;
  });
  for (; next < kEnd; ++next) EXPECT_FALSE(model.Has(next));
}

TEST_F(FdTableTest, AWalkBeginsAndEndsWhereItIsAsked) {
  sync::Reclaimer::ReadSection section(&reclaimer_);
  Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
  for (int32_t fd : {0, 63, 64, 200, 201, 1000}) ASSERT_TRUE(table->Set(fd, NewFile(), false).ok());
  std::vector<int32_t> seen;
  table->ForEach(64, [&](int32_t fd, const Ref<File>&, bool) {
    seen.push_back(fd);
    return fd != 201;
  });
  EXPECT_EQ(seen, (std::vector<int32_t>{64, 200, 201}));
  table->ForEach(1001, [](int32_t, const Ref<File>&, bool) -> bool {
    ADD_FAILURE();
    return true;
  });
}

TEST_F(FdTableTest, ACloneHasRoomForWhatIsOpen) {
  sync::Reclaimer::ReadSection section(&reclaimer_);
  Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
  ASSERT_TRUE(table->Set(100'000, NewFile(), false).ok());
  ASSERT_TRUE(table->Set(7, NewFile(), true).ok());
  ASSERT_TRUE(table->Close(100'000).ok());
  Ref<FdTable> clone = table->Clone();
  clone->CheckInvariants();
  EXPECT_EQ(clone->Lookup(7).value().get(), table->Lookup(7).value().get());
  EXPECT_TRUE(clone->close_on_exec(7).value());
  EXPECT_EQ(clone->num_open(), 1u);
  ASSERT_TRUE(clone->Set(100'000, NewFile(), false).ok());
  clone->CheckInvariants();
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

// While one close takes its time, all else goes on: the test would hang, were a lock held.
TEST_F(FdTableTest, ASlowCloseHoldsNobodyUp) {
  using Closer = std::function<void(FdTable&)>;
  const Closer closers[] = {
      [](FdTable& t) { EXPECT_TRUE(t.Close(5).ok()); },
      [this](FdTable& t) { EXPECT_TRUE(t.Set(5, NewFile(), true).ok()); },
      [](FdTable& t) { EXPECT_TRUE(t.CloseRange(5, 9, false).ok()); },
      [](FdTable& t) { t.CloseOnExec(); },
      [](FdTable& t) { t.DropUser(); },
  };
  for (const Closer& closer : closers) {
    Participant participant(&reclaimer_);
    Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
    table->AddUser();
    Ref<SlowFile> slow = MakeRef<SlowFile>();
    for (int32_t fd = 0; fd < 4000; ++fd) {
      const bool is_slow = fd == 5;
      ASSERT_TRUE(table->Add(is_slow ? Ref<File>(slow) : NewFile(), fd >= 5).ok());
    }
    SlowFile* const file = slow.get();
    slow.reset();  // the descriptor's reference is the last
    std::thread thread([&] { closer(*table); });
    file->closing.acquire();
    EXPECT_TRUE(table->Lookup(4).ok() || table->num_users() == 0);
    EXPECT_TRUE(table->Set(6000, NewFile(), false).ok());
    EXPECT_TRUE(table->Lookup(6000).ok());
    EXPECT_TRUE(table->Add(NewFile(), false).ok());
    EXPECT_TRUE(table->Close(6000).ok());
    EXPECT_GT(table->Clone()->num_open(), 0u);
    table->CheckInvariants();
    file->go_on.release();
    thread.join();
  }
}

TEST_F(FdTableTest, ExecClosesThousandsInBatches) {
  sync::Reclaimer::ReadSection section(&reclaimer_);
  Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
  for (int i = 0; i < 4003; ++i) ASSERT_TRUE(table->Add(NewFile(), i >= 3).ok());
  table->CloseOnExec();
  EXPECT_EQ(table->num_open(), 3u);
  EXPECT_EQ(tally_.closes, 4000);
  EXPECT_EQ(table->Add(NewFile(), false).value(), 3);
  table->CheckInvariants();
}

// At every moment one of the two descriptors is open, so every clone has one.
TEST_F(FdTableTest, ACloneIsOfOneMoment) {
  Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
  std::atomic<bool> stop{false};
  ASSERT_TRUE(table->Set(5, NewFile(), false).ok());
  std::thread mover([&] {
    Participant participant(&reclaimer_);
    for (int32_t from = 5, to = 700; !stop; std::swap(from, to)) {
      EXPECT_TRUE(table->Set(to, table->Lookup(from).value(), false).ok());
      EXPECT_TRUE(table->Close(from).ok());
      participant.Quiesce();
    }
  });
  for (int i = 0; i < kWritesInRound / 20; ++i) {
    Participant participant(&reclaimer_);
    const Ref<FdTable> clone = table->Clone();
    EXPECT_TRUE(clone->Lookup(5).ok() || clone->Lookup(700).ok());
    clone->CheckInvariants();
  }
  stop = true;
  mover.join();
}

// What one call did or saw, between two draws from one counter.
struct Event {
  int32_t fd;
  uint64_t number;  // the file's; 0: none
  uint64_t start, end;
};

// May `lookup` have seen what it did? `writes`: of its descriptor, in order, by one thread. What write i - 1 put there
// stood from its start, at the earliest, to the end of write i, at the latest.
bool Explained(const Event& lookup, const std::vector<Event>& writes) {
  const auto first = std::upper_bound(writes.begin(), writes.end(), lookup.start,
                                      [](uint64_t start, const Event& write) { return start < write.end; });
  for (auto i = static_cast<size_t>(first - writes.begin()); i <= writes.size(); ++i) {
    if (i != 0 && writes[i - 1].start > lookup.end) return false;
    if (lookup.number == (i == 0 ? 0 : writes[i - 1].number)) return true;
  }
  return false;
}

// Two threads close, dup2 and open descriptors of their own while two look all of them up and the table grows: a lookup
// answers only what stood in the slot during the call.
TEST_F(FdTableTest, LookupsSeeWhatStoodThereDuringTheCall) {
  constexpr int32_t kFds = 600;
  for (int round = 0; round < kRounds; ++round) {
    Ref<FdTable> table = MakeRef<FdTable>(&reclaimer_);
    std::atomic<uint64_t> counter{1}, next_number{1};
    std::vector<Event> writes[2], lookups[2];
    const auto write = [&](int self) {
      Participant participant(&reclaimer_);
      std::mt19937_64 random(static_cast<unsigned>(round * 10 + self));
      const auto own = [&] { return static_cast<int32_t>(random() % (random() % 8 == 0 ? kFds : 20)) / 2 * 2 + self; };
      for (int i = 0; i < kWritesInRound; ++i) {
        Event event{.fd = own(), .number = 0, .start = 0, .end = 0};
        Ref<File> file;
        if (const auto kind = random() % 4; kind == 0) {  // dup2
          if (auto found = table->Lookup(own()); found.ok()) file = *found;
        } else if (kind != 1) {
          file = MakeRef<FakeFile>(&tally_, next_number.fetch_add(1, std::memory_order_relaxed));
        }
        if (file) event.number = static_cast<FakeFile&>(*file).number;
        event.start = counter.fetch_add(1, std::memory_order_acq_rel);
        if (file)
          EXPECT_TRUE(table->Set(event.fd, std::move(file), i % 2 == 0).ok());
        else
          (void)table->Close(event.fd);
        event.end = counter.fetch_add(1, std::memory_order_acq_rel);
        writes[self].push_back(event);
        if (i % 16 == 0) participant.Quiesce();
      }
    };
    const auto look = [&](int self) {
      Participant participant(&reclaimer_);
      std::mt19937_64 random(static_cast<unsigned>(round * 10 + self + 5));
      for (int i = 0; i < kLookupsInRound; ++i) {
        Event event{.fd = static_cast<int32_t>(random() % (random() % 8 == 0 ? kFds : 20)),
                    .number = 0,
                    .start = counter.fetch_add(1, std::memory_order_acq_rel),
                    .end = 0};
        if (auto found = table->Lookup(event.fd); found.ok()) event.number = static_cast<FakeFile&>(**found).number;
        event.end = counter.fetch_add(1, std::memory_order_acq_rel);
        lookups[self].push_back(event);
        if (i % 16 == 0) participant.Quiesce();
      }
    };
    std::thread threads[] = {std::thread(write, 0), std::thread(write, 1), std::thread(look, 0), std::thread(look, 1)};
    for (std::thread& thread : threads) thread.join();
    table->CheckInvariants();
    std::map<int32_t, std::vector<Event>> by_fd;
    for (const auto& own : writes)
      for (const Event& event : own) by_fd[event.fd].push_back(event);
    for (const auto& own : lookups)
      for (const Event& event : own)
        ASSERT_TRUE(Explained(event, by_fd[event.fd])) << event.fd << " showed file " << event.number;
  }
  for (int i = 0; i < 3; ++i) reclaimer_.Collect();
  EXPECT_EQ(tally_.deaths, tally_.last_closes);
}

}  // namespace
}  // namespace remora::fs
