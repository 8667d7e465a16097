#ifndef REMORA_PROC_PENDING_SIGNALS_H_
#define REMORA_PROC_PENDING_SIGNALS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "proc/signal_types.h"

namespace remora::proc {

// Signals that were sent and not yet taken: of one thread, or of a process. A standard signal (1..31) is kept once,
// with the first siginfo; a real-time one (32..64) as often as it was sent, in order.
//
// Invariants:
//  1. set() contains a signal if queue_ holds an entry of it or it overflowed.
//  2. queue_ holds at most one entry of each standard signal and kMaxQueued in all; beyond that only the bit is kept.
// Thread safety: none; the thread group's mutex guards it. Linux twin: struct sigpending.
class PendingSignals {
 public:
  // Linux's RLIMIT_SIGPENDING bounds it for each user; here for each queue.
  static constexpr size_t kMaxQueued = 8192;

  SignalSet set() const { return set_; }
  // False if it was dropped because an equal standard signal is pending already.
  bool Add(const SignalInfo& info);
  // The signal among `wanted` that Linux would deliver first: a synchronous fault, else the lowest number; within one
  // number the oldest.
  std::optional<SignalInfo> Take(SignalSet wanted);
  void Discard(SignalSet signals);
  size_t num_queued() const { return queue_.size(); }

  // Which of a set comes first; 0 if it is empty.
  static int First(SignalSet set);

 private:
  SignalSet set_;
  std::vector<SignalInfo> queue_;  // in the order of arrival
};

}  // namespace remora::proc

#endif  // REMORA_PROC_PENDING_SIGNALS_H_
