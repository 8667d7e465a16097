#include "proc/pending_signals.h"

#include <algorithm>
#include <bit>

#include "proc/signal_sets.h"

namespace remora::proc {

bool PendingSignals::Add(const SignalInfo& info) {
  if (info.signal < abi::kSIGRTMIN && set_.Contains(info.signal)) return false;
  set_ = set_.With(info.signal);
  if (queue_.size() < kMaxQueued) queue_.push_back(info);
  return true;
}

int PendingSignals::First(SignalSet set) {
  if (set.empty()) return 0;
  const SignalSet synchronous = set & kSynchronousSignals;
  return std::countr_zero((synchronous.empty() ? set : synchronous).bits()) + 1;
}

std::optional<SignalInfo> PendingSignals::Take(SignalSet wanted) {
  const int signal = First(set_ & wanted);
  if (signal == 0) return std::nullopt;
  const auto is_it = [signal](const SignalInfo& info) { return info.signal == signal; };
  const auto found = std::find_if(queue_.begin(), queue_.end(), is_it);
  if (found == queue_.end()) {
    // It overflowed: Linux then makes up a siginfo too.
    set_ = set_.Without(signal);
    SignalInfo made_up;
    made_up.signal = signal;
    made_up.code = abi::kSI_USER;
    return made_up;
  }
  const SignalInfo info = *found;
  const auto rest = queue_.erase(found);
  if (std::find_if(rest, queue_.end(), is_it) == queue_.end()) set_ = set_.Without(signal);
  return info;
}

void PendingSignals::Discard(SignalSet signals) {
  if ((set_ & signals).empty()) return;
  set_ = set_ & ~signals;
  std::erase_if(queue_, [signals](const SignalInfo& info) { return signals.Contains(info.signal); });
}

}  // namespace remora::proc
