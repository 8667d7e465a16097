#include "syscalls/poll_set.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <deque>
#include <random>
#include <semaphore>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "fs/special/anonymous_files.h"
#include "fs/special/eventfd.h"
#include "fs/special/pipe.h"
#include "mm/io_buffer.h"
#include "sync/reclaimer.h"

namespace remora::syscalls {
namespace {

#ifdef NDEBUG
constexpr int kSteps = 130'000;  // for each of eight seeds
constexpr int kStressRounds = 3'000;
#else
constexpr int kSteps = 10'000;
constexpr int kStressRounds = 500;
#endif

class CountingWaiter final : public sync::Waiter {
 public:
  ~CountingWaiter() override { Disarm(); }
  void Notify(sync::Events) override { ++count; }
  int count = 0;
};

class PollSetTest : public testing::Test {
 protected:
  ~PollSetTest() override { fds_->CloseAll(); }
  int32_t Open(Ref<fs::File> file) { return *fds_->Add(std::move(file), false); }
  int32_t EventFd(uint64_t initial) { return Open(fs::MakeEventFd(*files_, initial, 0)); }
  static void Write(fs::File& file, uint64_t value) {
    mm::KernelBuffer from(mm::IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(&value, 1)));
    (void)file.Write(from, 0);
  }
  static void Take(fs::File& file) {
    uint64_t value = 0;
    mm::KernelBuffer to(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(&value, 1)));
    (void)file.Read(to, 0);
  }

  HostClock clock_;
  Ref<fs::AnonymousFiles> files_ = MakeRef<fs::AnonymousFiles>(&clock_);
  sync::Reclaimer reclaimer_;
  Ref<fs::FdTable> fds_ = MakeRef<fs::FdTable>(&reclaimer_);
};

TEST_F(PollSetTest, DuplicatesAreAnsweredEachForItself) {
  const int32_t fd = EventFd(1);
  PollSet set;
  for (const uint32_t events : {POLLIN, POLLOUT, POLLIN | POLLOUT, 0}) EXPECT_TRUE(set.Add(*fds_, fd, events));
  EXPECT_EQ(set.num_ready(), 3u);
  EXPECT_EQ(set.Ask(), 3u);
  EXPECT_EQ(set[0].revents, uint32_t{POLLIN});
  EXPECT_EQ(set[1].revents, uint32_t{POLLOUT});
  EXPECT_EQ(set[2].revents, uint32_t{POLLIN | POLLOUT});
  EXPECT_EQ(set[3].revents, 0u);
}

TEST_F(PollSetTest, BadDescriptorsAnswerAndNegativeOnesDoNot) {
  PollSet set;
  EXPECT_FALSE(set.Add(*fds_, 77, POLLIN));
  EXPECT_TRUE(set.Add(*fds_, -1, POLLIN));
  EXPECT_EQ(set.num_ready(), 1u);
  EXPECT_EQ(set.Ask(), 1u);
  EXPECT_EQ(set[0].revents, uint32_t{POLLNVAL});
  EXPECT_EQ(set.ArmAndAsk([]() -> sync::Waiter& {
    ADD_FAILURE() << "there is nothing to wait for";
    std::abort();
  }),
            1u);
}

TEST_F(PollSetTest, ErrorsAndHangupsAreToldUnasked) {
  auto pipe = fs::MakePipe(*files_, fs::Credentials(), 0);
  const int32_t reader = Open(std::move(pipe.reader)), writer = Open(std::move(pipe.writer));
  PollSet set;
  set.Add(*fds_, reader, 0);
  EXPECT_EQ(set.Ask(), 0u);
  ASSERT_TRUE(fds_->Close(writer).ok());
  EXPECT_EQ(set.Ask(), 1u);
  EXPECT_EQ(set[0].revents, uint32_t{POLLHUP});
}

TEST_F(PollSetTest, NormalBandTwinsAreToldToThoseWhoAsk) {
  const int32_t fd = EventFd(1);
  PollSet set;
  set.Add(*fds_, fd, POLLRDNORM);
  EXPECT_EQ(set.Ask(), 1u);
  EXPECT_EQ(set[0].revents, uint32_t{POLLRDNORM});
}

TEST_F(PollSetTest, AClosedDescriptorsFileIsKept) {
  const int32_t fd = EventFd(0);
  PollSet set;
  set.Add(*fds_, fd, POLLIN);
  Ref<fs::File> file = *fds_->Lookup(fd);
  ASSERT_TRUE(fds_->Close(fd).ok());
  std::deque<CountingWaiter> waiters;
  EXPECT_EQ(set.ArmAndAsk([&]() -> sync::Waiter& { return waiters.emplace_back(); }), 0u);
  Write(*file, 1);
  EXPECT_EQ(waiters.front().count, 1);
  EXPECT_EQ(set.Ask(), 1u);
  waiters.clear();
}

// ---- Beside a model ----

class PollSetModelTest : public PollSetTest, public testing::WithParamInterface<uint32_t> {};

TEST_P(PollSetModelTest, AgreesWithAskingEachRowAlone) {
  constexpr int32_t kFiles = 8;
  std::mt19937 random(GetParam());
  std::vector<Ref<fs::File>> files;
  std::vector<uint64_t> counts(kFiles, 0);
  for (int32_t i = 0; i < kFiles; ++i) {
    files.push_back(fs::MakeEventFd(*files_, 0, 0));
    ASSERT_EQ(Open(files.back()), i);
  }
  PollSet set;
  std::vector<std::pair<int32_t, uint32_t>> rows;
  std::deque<CountingWaiter> waiters;
  bool armed = false;
  int expected_wakes = 0;
  for (int step = 0; step < kSteps; ++step) {
    const auto file = static_cast<int32_t>(random() % kFiles);
    switch (random() % 6) {
      case 0: {
        waiters.clear();
        set = PollSet();
        rows.clear();
        armed = false;
        const uint32_t n = random() % 12;
        for (uint32_t i = 0; i < n; ++i) {
          const auto fd = static_cast<int32_t>(random() % (kFiles + 3)) - 1;
          const uint32_t events = (random() % 2 != 0 ? POLLIN : 0) | (random() % 4 == 0 ? POLLOUT : 0);
          rows.emplace_back(fd, events);
          ASSERT_EQ(set.Add(*fds_, fd, events), fd < kFiles);
        }
        break;
      }
      case 1:
        Write(*files[file], 1);
        ++counts[file];
        if (armed)
          for (const auto& [fd, events] : rows) expected_wakes += fd == file && (events & POLLIN) != 0;
        break;
      case 2:
        Take(*files[file]);
        if (std::exchange(counts[file], 0) != 0 && armed)
          for (const auto& [fd, events] : rows) expected_wakes += fd == file && (events & POLLOUT) != 0;
        break;
      default: {
        uint32_t ready = 0;
        std::vector<uint32_t> expected;
        for (const auto& [fd, events] : rows) {
          uint32_t bits = fd >= kFiles ? POLLNVAL : 0;
          if (fd >= 0 && fd < kFiles) bits = ((counts[fd] != 0 ? POLLIN : 0) | POLLOUT) & events;
          ready += bits != 0;
          expected.push_back(bits);
        }
        if (!armed && random() % 2 == 0) {
          armed = true;
          expected_wakes = 0;
          ASSERT_EQ(set.ArmAndAsk([&]() -> sync::Waiter& { return waiters.emplace_back(); }), ready);
        } else {
          ASSERT_EQ(set.Ask(), ready);
        }
        for (size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(set[i].revents, expected[i]);
      }
    }
    if (armed) {
      int wakes = 0;
      for (const CountingWaiter& waiter : waiters) wakes += waiter.count;
      ASSERT_EQ(wakes, expected_wakes) << "step " << step;
    }
  }
  waiters.clear();
}

INSTANTIATE_TEST_SUITE_P(Seeds, PollSetModelTest, testing::Range(0u, 8u));

// ---- Threads ----

class Semaphore final : public sync::Waiter {
 public:
  ~Semaphore() override { Disarm(); }
  void Notify(sync::Events) override { semaphore.release(); }
  std::counting_semaphore<> semaphore{0};
};

// A writer to a file picked at random; the poller arms, asks, and sleeps until it is told: no wake is lost.
TEST_F(PollSetTest, StressNoEventIsLost) {
  constexpr int kFiles = 4;
  std::vector<int32_t> numbers;
  std::vector<Ref<fs::File>> files;
  for (int i = 0; i < kFiles; ++i) {
    numbers.push_back(EventFd(0));
    files.push_back(*fds_->Lookup(numbers.back()));
  }
  std::atomic<int> taken{0};
  std::thread writer([&] {
    std::mt19937 random(1);
    for (int i = 0; i < kStressRounds; ++i) {
      Write(*files[random() % kFiles], 1);
      while (taken.load(std::memory_order_acquire) <= i) std::this_thread::yield();
    }
  });
  for (int i = 0; i < kStressRounds; ++i) {
    PollSet set;
    for (const int32_t fd : numbers) set.Add(*fds_, fd, POLLIN);
    Semaphore waiter;
    // One semaphore for all files: a relay for each.
    struct Relay final : sync::Waiter {
      explicit Relay(Semaphore* to) : to(to) {}
      ~Relay() override { Disarm(); }
      void Notify(sync::Events events) override { to->Notify(events); }
      Semaphore* const to;
    };
    std::deque<Relay> relays;
    uint32_t ready = set.ArmAndAsk([&]() -> sync::Waiter& { return relays.emplace_back(&waiter); });
    while (ready == 0) {
      waiter.semaphore.acquire();
      ready = set.Ask();
    }
    for (size_t j = 0; j < set.size(); ++j)
      if (set[j].revents != 0) Take(*files[j]);
    relays.clear();
    taken.store(i + 1, std::memory_order_release);
  }
  writer.join();
}

}  // namespace
}  // namespace remora::syscalls
