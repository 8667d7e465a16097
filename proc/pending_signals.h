#ifndef REMORA_PROC_PENDING_SIGNALS_H_
#define REMORA_PROC_PENDING_SIGNALS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "proc/signal_types.h"

namespace remora::proc {

// Signals that were sent and not yet taken: of one thread, or of a process. A standard signal (1..31) is kept once,
// with the first siginfo; a real-time one (32..64) as often as it was sent, in order; that of a POSIX timer once for
// each timer, whatever its number (the timer sees to that).
//
// Invariants:
//  1. set() contains a signal if queue_ holds an entry of it or it overflowed.
//  2. Besides those of timers queue_ holds at most one entry of each standard signal, and no more than the limit.
// Thread safety: none; the thread group's mutex guards it. Linux twin: struct sigpending.
class PendingSignals {
 public:
  // Linux's RLIMIT_SIGPENDING bounds it for each user; here for each queue.
  static constexpr size_t kMaxQueued = 8192;

  enum class Added : uint8_t {
    kAdded,
    kMerged,     // an equal standard signal is pending already
    kOverLimit,  // a real-time signal that had something to tell found the queue full: EAGAIN for its sender
  };

  SignalSet set() const { return set_; }
  // `limit`: RLIMIT_SIGPENDING. Beyond it a signal that carries nothing but its number keeps just that.
  Added Add(const SignalInfo& info, uint64_t limit = kMaxQueued);
  // The signal among `wanted` that Linux would deliver first: a synchronous fault, else the lowest number; within one
  // number the oldest.
  std::optional<SignalInfo> Take(SignalSet wanted);
  void Discard(SignalSet signals);
  // Drops what the POSIX timer `id` has queued.
  void DiscardTimer(int32_t id);
  size_t num_queued() const { return queue_.size(); }

  // Which of a set comes first; 0 if it is empty.
  static int First(SignalSet set);

 private:
  SignalSet set_;
  std::vector<SignalInfo> queue_;  // in the order of arrival
};

}  // namespace remora::proc

#endif  // REMORA_PROC_PENDING_SIGNALS_H_
