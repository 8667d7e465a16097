#include "sync/wait_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <semaphore>
#include <thread>
#include <vector>

#include "base/lock_rank.h"

namespace remora::sync {
namespace {

class Recorder final : public Waiter {
 public:
  ~Recorder() override { Disarm(); }
  void Notify(Events events) override {
    ++calls;
    last = events;
  }
  int calls = 0;
  Events last = 0;
};

TEST(WaitQueueTest, TellsWhoIsInterested) {
  WaitQueue queue;
  Recorder reader, writer;
  queue.Arm(&reader, kReadable);
  queue.Arm(&writer, kWritable);
  queue.Notify(kReadable);
  EXPECT_EQ(reader.calls, 1);
  EXPECT_EQ(reader.last, kReadable);
  EXPECT_EQ(writer.calls, 0);
}

TEST(WaitQueueTest, ErrorsAndHangupsAreAlwaysHeard) {
  WaitQueue queue;
  Recorder waiter;
  queue.Arm(&waiter, kReadable);
  queue.Notify(kHangup);
  queue.Notify(kError);
  EXPECT_EQ(waiter.calls, 2);
}

TEST(WaitQueueTest, AWaiterStaysArmedUntilDisarmed) {
  WaitQueue queue;
  Recorder waiter;
  queue.Arm(&waiter, kReadable);
  queue.Notify(kReadable);
  queue.Notify(kReadable);
  EXPECT_EQ(waiter.calls, 2);
  waiter.Disarm();
  EXPECT_FALSE(waiter.armed());
  EXPECT_FALSE(queue.has_waiters());
  queue.Notify(kReadable);
  EXPECT_EQ(waiter.calls, 2);
  waiter.Disarm();  // again: nothing happens
}

TEST(WaitQueueTest, ArmingAgainChangesTheInterest) {
  WaitQueue queue;
  Recorder waiter;
  queue.Arm(&waiter, kReadable);
  queue.Arm(&waiter, kWritable);
  queue.Notify(kReadable);
  EXPECT_EQ(waiter.calls, 0);
  queue.Notify(kWritable);
  EXPECT_EQ(waiter.calls, 1);
}

TEST(WaitQueueTest, ArmingElsewhereMovesTheWaiter) {
  WaitQueue first, second;
  Recorder waiter;
  first.Arm(&waiter, kReadable);
  second.Arm(&waiter, kReadable);
  EXPECT_FALSE(first.has_waiters());
  second.Notify(kReadable);
  EXPECT_EQ(waiter.calls, 1);
}

TEST(WaitQueueTest, NotifyOneTellsAllOthersAndTheOldestExclusive) {
  WaitQueue queue;
  Recorder a, b, first, second, not_interested;
  queue.Arm(&not_interested, kWritable, /*exclusive=*/true);
  queue.Arm(&first, kReadable, /*exclusive=*/true);
  queue.Arm(&a, kReadable);
  queue.Arm(&second, kReadable, /*exclusive=*/true);
  queue.Arm(&b, kReadable);
  queue.NotifyOne(kReadable);
  EXPECT_EQ(a.calls + b.calls, 2);
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls + not_interested.calls, 0);
  queue.Notify(kReadable);
  EXPECT_EQ(second.calls, 1);
}

TEST(WaitQueueTest, ExclusiveWaitersTakeTurns) {
  WaitQueue queue;
  Recorder first, second;
  queue.Arm(&first, kReadable, /*exclusive=*/true);
  queue.Arm(&second, kReadable, /*exclusive=*/true);
  for (int i = 0; i < 4; ++i) queue.NotifyOne(kReadable);
  EXPECT_EQ(first.calls, 2);
  EXPECT_EQ(second.calls, 2);
}

class Sluggard final : public Waiter {
 public:
  ~Sluggard() override { Disarm(); }
  void Notify(Events) override { ++calls; }
  bool NotifyExclusive(Events events) override {
    Notify(events);
    return false;
  }
  int calls = 0;
};

TEST(WaitQueueTest, AnExclusiveWaiterThatWakesNobodyLetsTheNextHear) {
  WaitQueue queue;
  Sluggard first;
  Recorder second, third;
  queue.Arm(&first, kReadable, /*exclusive=*/true);
  queue.Arm(&second, kReadable, /*exclusive=*/true);
  queue.Arm(&third, kReadable, /*exclusive=*/true);
  queue.NotifyOne(kReadable);
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls, 1);
  EXPECT_EQ(third.calls, 0);
}

TEST(WaitQueueTest, RemovalFromTheMiddleKeepsTheOthers) {
  WaitQueue queue;
  Recorder waiters[5];
  for (Recorder& waiter : waiters) queue.Arm(&waiter, kReadable);
  waiters[2].Disarm();
  waiters[0].Disarm();
  waiters[4].Disarm();
  queue.Notify(kReadable);
  EXPECT_EQ(waiters[1].calls, 1);
  EXPECT_EQ(waiters[3].calls, 1);
  EXPECT_EQ(waiters[0].calls + waiters[2].calls + waiters[4].calls, 0);
}

// An epoll instance is told of a file's event and tells its own waiters.
class Relay final : public Waiter {
 public:
  explicit Relay(WaitQueue* to) : to_(to) {}
  ~Relay() override { Disarm(); }
  void Notify(Events events) override { to_->Notify(events); }

 private:
  WaitQueue* const to_;
};

TEST(WaitQueueTest, ANotificationMayGoOnToANestedQueue) {
  WaitQueue file;
  WaitQueue epoll(LockRank::kWaitQueueNested);
  Relay relay(&epoll);
  Recorder waiter;
  file.Arm(&relay, kReadable);
  epoll.Arm(&waiter, kReadable);
  file.Notify(kReadable);
  EXPECT_EQ(waiter.calls, 1);
}

class Semaphore final : public Waiter {
 public:
  ~Semaphore() override { Disarm(); }
  void Notify(Events) override { semaphore.release(); }
  std::counting_semaphore<> semaphore{0};
};

// "Arm before you test" loses no wake even where the condition is a plain store that no lock guards.
TEST(WaitQueueStressTest, NoWakeIsLost) {
  constexpr int kRounds = 3000;
  WaitQueue queue;
  std::atomic<int> produced{0};
  std::atomic<int> consumed{0};
  std::thread producer([&] {
    for (int i = 1; i <= kRounds; ++i) {
      produced.store(i, std::memory_order_relaxed);
      queue.Notify(kReadable);
      while (consumed.load(std::memory_order_acquire) != i) std::this_thread::yield();
    }
  });
  for (int i = 1; i <= kRounds; ++i) {
    Semaphore waiter;
    queue.Arm(&waiter, kReadable);
    while (produced.load(std::memory_order_relaxed) < i) waiter.semaphore.acquire();
    waiter.Disarm();
    consumed.store(i, std::memory_order_release);
  }
  producer.join();
  EXPECT_FALSE(queue.has_waiters());
}

TEST(WaitQueueStressTest, DisarmExcludesNotify) {
  WaitQueue queue;
  std::atomic<bool> stop{false};
  std::thread notifier([&] {
    while (!stop.load(std::memory_order_relaxed)) queue.Notify(kReadable);
  });
  int heard = 0;
  for (int i = 0; i < 3000; ++i) {
    Recorder waiter;  // its plain counters are safe to read once disarmed
    queue.Arm(&waiter, kReadable);
    if (i % 16 == 0) std::this_thread::yield();
    waiter.Disarm();
    heard += waiter.calls;
  }
  stop = true;
  notifier.join();
  EXPECT_GE(heard, 0);
}

}  // namespace
}  // namespace remora::sync
