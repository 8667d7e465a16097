#ifndef REMORA_PROC_DEADLINE_TIMER_H_
#define REMORA_PROC_DEADLINE_TIMER_H_

#include "base/ref_counted.h"
#include "proc/deadline_heap.h"

namespace remora::proc {

// Something that happens at a point of CLOCK_MONOTONIC while no task waits for it: alarm(2), timerfd. Armed through
// Scheduler::ArmTimer, which keeps a reference while it is armed.
//
// Thread safety: OnDeadline runs on a worker's thread with no lock held. A timer that was cancelled or armed anew while
// it was just firing may still see one OnDeadline: the derived class compares with what it wants under its own lock.
class DeadlineTimer : public RefCounted {
 public:
  virtual void OnDeadline() = 0;

 private:
  friend class Scheduler;
  DeadlineNode node_;  // guarded by the scheduler's lock
};

}  // namespace remora::proc

#endif  // REMORA_PROC_DEADLINE_TIMER_H_
