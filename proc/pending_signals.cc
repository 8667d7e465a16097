#include "proc/pending_signals.h"

#include <algorithm>
#include <bit>

#include "proc/signal_sets.h"

namespace remora::proc {

PendingSignals::Added PendingSignals::Add(const SignalInfo& info, uint64_t limit) {
  if (info.from_timer) {
    set_ = set_.With(info.signal);
    queue_.push_back(info);
    return Added::kAdded;
  }
  if (info.signal < abi::kSIGRTMIN && set_.Contains(info.signal)) return Added::kMerged;
  const bool full = queue_.size() >= std::min<uint64_t>(limit, kMaxQueued);
  if (full && info.signal >= abi::kSIGRTMIN && info.code != abi::kSI_USER) return Added::kOverLimit;
  set_ = set_.With(info.signal);
  if (!full) queue_.push_back(info);
  return Added::kAdded;
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

void PendingSignals::DiscardTimer(int32_t id) {
  int signal = 0;  // all entries of one timer are of one signal
  std::erase_if(queue_, [&](const SignalInfo& info) {
    if (!info.from_timer || info.pid != id) return false;
    signal = info.signal;
    return true;
  });
  const auto same = [&](const SignalInfo& info) { return info.signal == signal; };
  if (signal != 0 && std::none_of(queue_.begin(), queue_.end(), same)) set_ = set_.Without(signal);
}

}  // namespace remora::proc
