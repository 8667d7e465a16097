#ifndef REMORA_PROC_REPEATING_DEADLINE_H_
#define REMORA_PROC_REPEATING_DEADLINE_H_

#include <algorithm>
#include <cstdint>

namespace remora::proc {

// A point of some clock, in nanoseconds, that may come again at a fixed rhythm: what alarm(2), timerfd and POSIX timers
// have in common. Plain arithmetic: it neither knows which clock nor who waits.
//
// Invariants: 1. deadline() is 0 exactly while it is off. 2. Expire leaves it off or beyond `now`, and never off the
// rhythm that Set began.
// Thread safety: none. Linux twin: the expiry and interval of a k_itimer, and hrtimer_forward.
class RepeatingDeadline {
 public:
  // deadline_nanos <= 0: off. interval_nanos <= 0: once.
  void Set(int64_t deadline_nanos, int64_t interval_nanos) {
    deadline_nanos_ = std::max<int64_t>(deadline_nanos, 0);
    interval_nanos_ = std::max<int64_t>(interval_nanos, 0);
  }
  bool on() const { return deadline_nanos_ != 0; }
  bool repeats() const { return interval_nanos_ != 0; }
  int64_t deadline_nanos() const { return deadline_nanos_; }
  int64_t interval_nanos() const { return interval_nanos_; }
  bool due(int64_t now_nanos) const { return on() && deadline_nanos_ <= now_nanos; }

  // How many of its points lie at or before `now`: it goes on at the next one, or is off if there is none.
  uint64_t Expire(int64_t now_nanos) {
    if (!due(now_nanos)) return 0;
    if (!repeats()) {
      deadline_nanos_ = 0;
      return 1;
    }
    const int64_t beats = (now_nanos - deadline_nanos_) / interval_nanos_ + 1;
    const int64_t ahead = beats * interval_nanos_;  // at most one interval beyond now
    deadline_nanos_ = ahead > INT64_MAX - deadline_nanos_ ? INT64_MAX : deadline_nanos_ + ahead;
    return static_cast<uint64_t>(beats);
  }

  // From now to the next point: 0 if it is off, or was to come once and is due.
  int64_t Remaining(int64_t now_nanos) const {
    if (!on()) return 0;
    RepeatingDeadline next = *this;
    next.Expire(now_nanos);
    return next.on() ? next.deadline_nanos_ - now_nanos : 0;
  }

 private:
  int64_t deadline_nanos_ = 0;
  int64_t interval_nanos_ = 0;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_REPEATING_DEADLINE_H_
