#ifndef REMORA_PROC_TIMERFD_H_
#define REMORA_PROC_TIMERFD_H_

#include <cstdint>

#include "base/clock.h"
#include "base/mutex.h"
#include "fs/special/anonymous_file.h"
#include "proc/deadline_timer.h"
#include "proc/interval_timer.h"
#include "proc/repeating_deadline.h"
#include "sync/wait_queue.h"

namespace remora::proc {

class Scheduler;

// The open file of timerfd_create(2): readable while a point of its schedule has passed that nobody has read. It stands
// in proc/, not with the other special files, because the deadline heap is the scheduler's.
//
// Whether it is due is asked of the clock; the scheduler's timer only tells those who wait. After it has told them it
// is armed again by the read, so that nobody's fast timer costs anything while nobody reads.
// Thread safety: all methods from any thread. Linux twin: fs/timerfd.c. Difference: a jump of CLOCK_REALTIME neither
// moves nor cancels it.
class TimerFd final : public fs::AnonymousFile {
 public:
  // `realtime`: absolute times are of CLOCK_REALTIME, else of CLOCK_MONOTONIC. The scheduler and clock outlive it.
  TimerFd(Ref<fs::AnonymousInode> inode, Scheduler* scheduler, Clock* clock, bool realtime, uint32_t flags);

  bool realtime() const { return realtime_; }
  // `deadline` is of CLOCK_MONOTONIC; 0: off. What was set before, and what was not read of it is forgotten.
  IntervalTimer Exchange(int64_t deadline_nanos, int64_t interval_nanos);
  IntervalTimer Get() const;

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t offset) override;  // eight bytes: how often it came
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t offset) override;
  sync::Events Readiness(sync::Events interest) override;
  sync::WaitQueue* wait_queue() override { return &alarm_->queue; }
  void OnLastClose() override;

 private:
  // What the scheduler holds: it may live a moment longer than the file.
  struct Alarm final : DeadlineTimer {
    void OnDeadline() override { queue.Notify(sync::kReadable); }
    sync::WaitQueue queue;
  };

  Scheduler* const scheduler_;
  Clock* const clock_;
  const bool realtime_;
  const Ref<Alarm> alarm_ = MakeRef<Alarm>();
  mutable Mutex mu_{LockRank::kTimers};
  RepeatingDeadline schedule_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::proc

#endif  // REMORA_PROC_TIMERFD_H_
