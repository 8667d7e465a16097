#include "proc/timerfd.h"

#include <fcntl.h>

#include <random>
#include <span>

#include "base/manual_clock.h"
#include "fs/special/anonymous_files.h"
#include "gtest/gtest.h"
#include "proc/scheduler.h"

namespace remora::proc {
namespace {

class TimerFdTest : public testing::Test {
 protected:
  // The count, or -errno.
  int64_t Read() {
    uint64_t value = 0;
    mm::KernelBuffer to(mm::IoBuffer::Direction::kFill, std::as_writable_bytes(std::span(&value, 1)));
    const auto n = timer_->Read(to, 0);
    return n.ok() ? static_cast<int64_t>(value) : -n.error_number();
  }
  int64_t now() { return clock_.MonotonicNanos(); }

  ManualClock clock_;
  Scheduler scheduler_{&clock_, 1};
  Ref<fs::AnonymousFiles> files_ = MakeRef<fs::AnonymousFiles>(&clock_);
  Ref<TimerFd> timer_ = MakeRef<TimerFd>(files_->MakeInode("anon_inode:[timerfd]", 0600), &scheduler_, &clock_, false,
                                         uint32_t{O_NONBLOCK});
};

class Listener final : public sync::Waiter {
 public:
  ~Listener() override { Disarm(); }
  void Notify(sync::Events) override { ++times; }
  int times = 0;
};

TEST_F(TimerFdTest, OnceItIsReadItIsOff) {
  EXPECT_EQ(Read(), -EAGAIN);
  timer_->Exchange(now() + 100, 0);
  EXPECT_EQ(timer_->Readiness(sync::kReadable), 0u);
  EXPECT_EQ(timer_->Get().remaining_nanos, 100);
  clock_.Advance(150);
  EXPECT_EQ(timer_->Readiness(sync::kReadable), sync::kReadable);
  EXPECT_EQ(timer_->Get().remaining_nanos, 0);
  EXPECT_EQ(Read(), 1);
  EXPECT_EQ(Read(), -EAGAIN);
}

TEST_F(TimerFdTest, WhoWaitsIsTold) {
  Listener listener;
  timer_->wait_queue()->Arm(&listener, sync::kReadable);
  timer_->Exchange(now() + 100, 50);
  scheduler_.RunDue(now());
  EXPECT_EQ(listener.times, 0);
  clock_.Advance(100);
  scheduler_.RunDue(now());
  EXPECT_EQ(listener.times, 1);
  // Not again before it was read.
  clock_.Advance(100);
  scheduler_.RunDue(now());
  EXPECT_EQ(listener.times, 1);
  EXPECT_EQ(Read(), 3);
  clock_.Advance(50);
  scheduler_.RunDue(now());
  EXPECT_EQ(listener.times, 2);
}

TEST_F(TimerFdTest, NothingFiresAfterTheLastClose) {
  timer_->Exchange(now() + 10, 10);
  timer_.reset();
  clock_.Advance(100);
  scheduler_.RunDue(now());
}

// The model counts beats one by one.
TEST_F(TimerFdTest, CountsAsAClockWould) {
  std::mt19937 random(7);
  int64_t next = 0, interval = 0;
  for (int step = 0; step < 5000; ++step) {
    clock_.Advance(static_cast<int64_t>(random() % 40));
    switch (random() % 8) {
      case 0:
        interval = static_cast<int64_t>(random() % 3 * 10);
        next = now() + 1 + static_cast<int64_t>(random() % 50);
        timer_->Exchange(next, interval);
        break;
      case 1:
        timer_->Exchange(0, 0);
        next = interval = 0;
        break;
      default: {
        int64_t beats = 0;
        while (next != 0 && next <= now()) {
          ++beats;
          next = interval == 0 ? 0 : next + interval;
        }
        ASSERT_EQ(timer_->Readiness(sync::kReadable) != 0, beats != 0);
        ASSERT_EQ(Read(), beats == 0 ? -EAGAIN : beats);
      }
    }
    scheduler_.RunDue(now());
  }
}

}  // namespace
}  // namespace remora::proc
