#include "fs/special/epoll_set.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "fs/special/anonymous_files.h"
#include "fs/special/epoll.h"
#include "fs/special/eventfd.h"
#include "mm/io_buffer.h"

namespace remora::fs {
namespace {

#ifdef NDEBUG
constexpr int kSteps = 150'000;  // for each of eight seeds
constexpr int kStressRounds = 20'000;
#else
constexpr int kSteps = 10'000;
constexpr int kStressRounds = 2'000;
#endif

struct Event {
  uint32_t events;
  uint64_t data;
  friend bool operator==(const Event&, const Event&) = default;
};

std::vector<Event> Collect(EpollFile& epoll, uint32_t max = 1000) {
  std::vector<Event> events;
  const auto n = epoll.set().Collect(max, [&](uint32_t bits, uint64_t data) {
    events.push_back({bits, data});
    return Ok();
  });
  EXPECT_TRUE(n.ok());
  EXPECT_EQ(*n, events.size());
  return events;
}

class CountingWaiter final : public sync::Waiter {
 public:
  ~CountingWaiter() override { Disarm(); }
  void Notify(sync::Events) override { ++count; }
  std::atomic<int> count{0};
};

class EpollSetTest : public testing::Test {
 protected:
  Ref<File> EventFd(uint64_t initial = 0) { return MakeEventFd(*files_, initial, 0); }
  Ref<EpollFile> Epoll() { return EpollFile::Make(*files_, nesting_); }
  static void Write(File& file, uint64_t value = 1) {
    mm::KernelBuffer from(mm::IoBuffer::Direction::kDrain, std::as_writable_bytes(std::span(&value, 1)));
    ASSERT_TRUE(file.Write(from, 0).ok());
  }
  static bool Take(File& file) {
    uint64_t value = 0;
    mm::KernelBuffer to(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(&value, 1)));
    return file.Read(to, 0).ok();
  }

  HostClock clock_;
  Ref<AnonymousFiles> files_ = MakeRef<AnonymousFiles>(&clock_);
  Ref<EpollNesting> nesting_ = MakeRef<EpollNesting>();
};

TEST_F(EpollSetTest, ALevelStaysAndAnEdgeIsToldOnce) {
  Ref<EpollFile> epoll = Epoll();
  Ref<File> level = EventFd(1), edge = EventFd(1);
  ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, 1, *level, EPOLLIN, 10).ok());
  ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, 2, *edge, EPOLLIN | EPOLLET, 20).ok());
  EXPECT_EQ(Collect(*epoll), (std::vector<Event>{{EPOLLIN, 10}, {EPOLLIN, 20}}));
  EXPECT_EQ(Collect(*epoll), (std::vector<Event>{{EPOLLIN, 10}}));
  Write(*edge);
  EXPECT_EQ(Collect(*epoll), (std::vector<Event>{{EPOLLIN, 10}, {EPOLLIN, 20}}));
  ASSERT_TRUE(Take(*level));
  EXPECT_TRUE(Collect(*epoll).empty());
  EXPECT_EQ(epoll->set().num_queued(), 0u);
}

TEST_F(EpollSetTest, TheCostFollowsTheReadyOnes) {
  Ref<EpollFile> epoll = Epoll();
  std::vector<Ref<File>> files;
  for (int i = 0; i < 1000; ++i) {
    files.push_back(EventFd());
    ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, i, *files.back(), EPOLLIN, static_cast<uint64_t>(i)).ok());
  }
  EXPECT_EQ(epoll->set().num_queued(), 0u);
  Write(*files[500]);
  Write(*files[7]);
  EXPECT_EQ(epoll->set().num_queued(), 2u);
  EXPECT_EQ(Collect(*epoll), (std::vector<Event>{{EPOLLIN, 500}, {EPOLLIN, 7}}));
}

TEST_F(EpollSetTest, AFileGoesWhileItIsRegistered) {
  Ref<EpollFile> epoll = Epoll();
  Ref<File> file = EventFd(1);
  ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, 1, *file, EPOLLIN, 0).ok());
  ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, 2, *file, EPOLLIN, 0).ok());
  EXPECT_EQ(file->ref_count(), 1u) << "a registration keeps no file";
  file.reset();
  EXPECT_EQ(epoll->set().num_items(), 0u);
  EXPECT_TRUE(Collect(*epoll).empty());
}

TEST_F(EpollSetTest, TheInstanceGoesBeforeItsFiles) {
  Ref<File> file = EventFd(1);
  for (int i = 0; i < 100; ++i) {
    Ref<EpollFile> epoll = Epoll();
    ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, 1, *file, EPOLLIN, 0).ok());
  }
  EXPECT_FALSE(file->wait_queue()->has_waiters());
}

TEST_F(EpollSetTest, AnEventThatCannotBeToldStays) {
  Ref<EpollFile> epoll = Epoll();
  Ref<File> a = EventFd(1), b = EventFd(1);
  ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, 1, *a, EPOLLIN | EPOLLET, 1).ok());
  ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, 2, *b, EPOLLIN | EPOLLET, 2).ok());
  int room = 0;
  const auto emit = [&](uint32_t, uint64_t) -> ErrnoOr<void> {
    if (room-- > 0) return Ok();
    return Errno(EFAULT);
  };
  EXPECT_EQ(epoll->set().Collect(8, emit).error_number(), EFAULT);
  room = 1;
  const auto n = epoll->set().Collect(8, emit);
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(*n, 1u);
  EXPECT_EQ(Collect(*epoll), (std::vector<Event>{{EPOLLIN, 2}}));
}

TEST_F(EpollSetTest, EachEventTellsOneOfThoseWhoWait) {
  Ref<EpollFile> epoll = Epoll();
  Ref<File> file = EventFd();
  ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, 1, *file, EPOLLIN | EPOLLET, 1).ok());
  CountingWaiter first, second, poller;
  epoll->set().queue().Arm(&first, sync::kReadable, /*exclusive=*/true);
  epoll->set().queue().Arm(&second, sync::kReadable, /*exclusive=*/true);
  epoll->set().queue().Arm(&poller, sync::kReadable);
  Write(*file);
  EXPECT_EQ(first.count + second.count, 1);
  Write(*file);
  EXPECT_EQ(first.count, 1);
  EXPECT_EQ(second.count, 1);
  EXPECT_EQ(poller.count, 2);
  // Woken, but did not collect.
  first.Disarm();
  epoll->set().PassOn();
  EXPECT_EQ(second.count, 2);
}

TEST_F(EpollSetTest, AnExclusiveItemThatWakesNobodyLetsTheNextHear) {
  Ref<File> file = EventFd();
  Ref<EpollFile> idle = Epoll(), waited = Epoll(), last = Epoll();
  CountingWaiter waiter, last_waiter;
  waited->set().queue().Arm(&waiter, sync::kReadable, true);
  last->set().queue().Arm(&last_waiter, sync::kReadable, true);
  for (const auto& epoll : {idle, waited, last})
    ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, 1, *file, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE, 1).ok());
  Write(*file);
  EXPECT_EQ(waiter.count, 1);
  EXPECT_EQ(last_waiter.count, 0);
  EXPECT_EQ(idle->set().num_queued(), 1u);
  Write(*file);
  EXPECT_EQ(last_waiter.count, 1);
}

TEST_F(EpollSetTest, AnEventGoesUpThroughInstances) {
  Ref<EpollFile> bottom = Epoll(), left = Epoll(), right = Epoll(), top = Epoll();
  Ref<File> file = EventFd();
  ASSERT_TRUE(bottom->Control(EPOLL_CTL_ADD, 1, *file, EPOLLIN, 1).ok());
  ASSERT_TRUE(left->Control(EPOLL_CTL_ADD, 2, *bottom, EPOLLIN | EPOLLET, 2).ok());
  ASSERT_TRUE(right->Control(EPOLL_CTL_ADD, 2, *bottom, EPOLLIN, 3).ok());
  ASSERT_TRUE(top->Control(EPOLL_CTL_ADD, 3, *left, EPOLLIN, 4).ok());
  ASSERT_TRUE(top->Control(EPOLL_CTL_ADD, 4, *right, EPOLLIN, 5).ok());
  CountingWaiter waiter;
  top->set().queue().Arm(&waiter, sync::kReadable, true);
  Write(*file);
  EXPECT_GE(waiter.count, 1);
  EXPECT_EQ(top->Readiness(sync::kReadable), sync::kReadable);
  EXPECT_EQ(Collect(*top), (std::vector<Event>{{EPOLLIN, 4}, {EPOLLIN, 5}}));
  EXPECT_EQ(Collect(*left), (std::vector<Event>{{EPOLLIN, 2}}));
  EXPECT_EQ(Collect(*top), (std::vector<Event>{{EPOLLIN, 5}}));
  ASSERT_TRUE(Take(*file));
  EXPECT_TRUE(Collect(*top).empty());
  // What goes in the middle is told of no more.
  Write(*file);
  EXPECT_EQ(Collect(*top).size(), 2u);
  bottom.reset();
  EXPECT_TRUE(Collect(*top).empty());
  EXPECT_EQ(left->set().num_items() + right->set().num_items(), 0u);
}

TEST_F(EpollSetTest, CyclesAndLongChainsAreRefused) {
  std::vector<Ref<EpollFile>> chain;
  for (int i = 0; i < 7; ++i) chain.push_back(Epoll());
  const auto add = [&](int from, int to) {
    return chain[from]->Control(EPOLL_CTL_ADD, to, *chain[to], EPOLLIN, 0).error_number();
  };
  for (int i = 0; i < 4; ++i) EXPECT_EQ(add(i, i + 1), 0);
  EXPECT_EQ(add(4, 0), ELOOP);
  EXPECT_EQ(add(4, 5), ELOOP);
  EXPECT_EQ(add(5, 0), ELOOP);
  EXPECT_EQ(add(0, 4), 0) << "a shorter way to the same";
  EXPECT_EQ(add(3, 5), 0);
  EXPECT_EQ(add(5, 6), ELOOP);
  for (const auto& epoll : chain) epoll->set().CheckInvariants();
}

// ---- Beside a model ----

// What epoll_wait would answer, by asking everything each time.
struct Model {
  struct Item {
    uint32_t events;
    uint64_t data;
    bool fresh;  // an event came since it was told
    bool armed = true;
  };
  std::map<std::pair<int, int>, Item> items;  // by descriptor and file
};

class EpollSetModelTest : public EpollSetTest, public testing::WithParamInterface<uint32_t> {};

TEST_P(EpollSetModelTest, AgreesWithAskingEverything) {
  constexpr int kFiles = 12, kDescriptors = 2;
  std::mt19937 random(GetParam());
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  Ref<EpollFile> epoll = Epoll();
  std::vector<Ref<File>> files(kFiles);
  std::vector<uint64_t> counts(kFiles, 0);
  Model model;
  const auto readiness = [&](int file) { return (counts[file] != 0 ? EPOLLIN : 0u) | EPOLLOUT; };
  const auto event_on = [&](int file, uint32_t bits) {
    for (auto& [key, item] : model.items)
      if (key.second == file && item.armed && (item.events & bits) != 0) item.fresh = true;
  };
  for (auto& file : files) file = EventFd();
  for (int step = 0; step < kSteps; ++step) {
    const int f = below(kFiles), fd = below(kDescriptors);
    const std::pair key(fd, f);
    const auto found = model.items.find(key);
    switch (below(8)) {
      case 0: {
        const uint32_t events = (static_cast<uint32_t>(below(4)) & 1 ? EPOLLIN : 0u) | (below(4) == 0 ? EPOLLOUT : 0u) |
                                (below(2) != 0 ? EPOLLET : 0u) | (below(4) == 0 ? EPOLLONESHOT : 0u);
        const uint64_t data = random();
        const int op = below(2) == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
        const int answer = epoll->Control(op, fd, *files[f], events, data).error_number();
        if (op == EPOLL_CTL_ADD) {
          ASSERT_EQ(answer, found == model.items.end() ? 0 : EEXIST);
          if (answer == 0) model.items[key] = {events, data, (readiness(f) & events) != 0};
        } else {
          ASSERT_EQ(answer, found == model.items.end() ? ENOENT : 0);
          if (answer == 0) {
            // A level that stands on the list is still there, an edge is looked for anew.
            const bool fresh = (found->second.fresh && found->second.armed) || (readiness(f) & events) != 0;
            found->second = {events, data, fresh};
          }
        }
        break;
      }
      case 1:
        if (below(4) == 0) {
          ASSERT_EQ(epoll->Control(EPOLL_CTL_DEL, fd, *files[f], 0, 0).error_number(),
                    found == model.items.end() ? ENOENT : 0);
          model.items.erase(key);
        }
        break;
      case 2:
        if (below(20) == 0) {
          files[f] = EventFd();
          counts[f] = 0;
          for (int i = 0; i < kDescriptors; ++i) model.items.erase({i, f});
        }
        break;
      case 3:
      case 4:
        Write(*files[f]);
        ++counts[f];
        event_on(f, EPOLLIN);
        break;
      case 5:
        ASSERT_EQ(Take(*files[f]), counts[f] != 0);
        if (std::exchange(counts[f], 0) != 0) event_on(f, EPOLLOUT);
        break;
      default: {
        std::vector<std::pair<uint64_t, uint32_t>> expected, told;
        for (auto& [at, item] : model.items) {
          const uint32_t bits = item.armed ? readiness(at.second) & item.events : 0u;
          const bool level = (item.events & EPOLLET) == 0;
          if (bits != 0 && (item.fresh || level)) {
            expected.emplace_back(item.data, bits);
            if ((item.events & EPOLLONESHOT) != 0) item.armed = false;
          }
          item.fresh = false;
        }
        for (const Event& event : Collect(*epoll)) told.emplace_back(event.data, event.events);
        std::sort(expected.begin(), expected.end());
        std::sort(told.begin(), told.end());
        ASSERT_EQ(told, expected) << "step " << step;
      }
    }
    ASSERT_EQ(epoll->set().num_items(), model.items.size());
#ifndef NDEBUG
    epoll->set().CheckInvariants();
#endif
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, EpollSetModelTest, testing::Range(0u, 8u));

// ---- Threads ----

// One-shot registrations are handled by one thread at a time, and nothing that was written is lost.
TEST_F(EpollSetTest, StressOneShotsAreHandledOnceAtATime) {
  constexpr int kFiles = 8, kThreads = 3;
  Ref<EpollFile> epoll = Epoll();
  std::vector<Ref<File>> files;
  std::atomic<int> inside[kFiles] = {};
  std::atomic<uint64_t> taken{0};
  for (int i = 0; i < kFiles; ++i) {
    files.push_back(EventFd());
    ASSERT_TRUE(epoll->Control(EPOLL_CTL_ADD, i, *files[i], EPOLLIN | EPOLLONESHOT, static_cast<uint64_t>(i)).ok());
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      while (taken.load() < kStressRounds) {
        std::vector<uint64_t> which;
        (void)epoll->set().Collect(2, [&](uint32_t, uint64_t data) {
          which.push_back(data);
          return Ok();
        });
        for (const uint64_t i : which) {
          ASSERT_EQ(inside[i].fetch_add(1), 0);
          uint64_t value = 0;
          mm::KernelBuffer to(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(&value, 1)));
          ASSERT_TRUE(files[i]->Read(to, 0).ok());
          inside[i].fetch_sub(1);
          ASSERT_TRUE(epoll->Control(EPOLL_CTL_MOD, static_cast<int>(i), *files[i], EPOLLIN | EPOLLONESHOT, i).ok());
          taken.fetch_add(value);
        }
        if (which.empty()) std::this_thread::yield();
      }
    });
  for (int round = 0; round < kStressRounds; ++round) Write(*files[round % kFiles]);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(taken.load(), static_cast<uint64_t>(kStressRounds));
  epoll->set().CheckInvariants();
}

// Files and instances go while events, changes and harvests go on.
TEST_F(EpollSetTest, StressBothEndsGoAtOnce) {
  for (int round = 0; round < kStressRounds / 40; ++round) {
    Ref<EpollFile> inner = Epoll(), outer = Epoll();
    Ref<File> a = EventFd(), b = EventFd();
    ASSERT_TRUE(inner->Control(EPOLL_CTL_ADD, 1, *a, EPOLLIN, 1).ok());
    ASSERT_TRUE(inner->Control(EPOLL_CTL_ADD, 2, *b, EPOLLIN | EPOLLOUT | EPOLLET, 2).ok());
    ASSERT_TRUE(outer->Control(EPOLL_CTL_ADD, 3, *inner, EPOLLIN, 3).ok());
    ASSERT_TRUE(outer->Control(EPOLL_CTL_ADD, 4, *a, EPOLLIN | EPOLLET, 4).ok());
    std::thread writer([a, b = std::move(b)]() mutable {
      Write(*a);
      Write(*b);
      b.reset();
      Write(*a);
      a.reset();
    });
    std::thread collector([outer] {
      for (int i = 0; i < 5; ++i) Collect(*outer);
    });
    std::thread changer([inner, a = std::move(a)]() mutable {
      (void)inner->Control(EPOLL_CTL_MOD, 1, *a, EPOLLIN | EPOLLET, 5);
      (void)inner->Control(EPOLL_CTL_DEL, 1, *a, 0, 0);
      (void)inner->Control(EPOLL_CTL_ADD, 1, *a, EPOLLIN, 6);
      a.reset();
      inner.reset();
    });
    inner.reset();
    outer.reset();
    writer.join();
    collector.join();
    changer.join();
  }
}

}  // namespace
}  // namespace remora::fs
