#ifndef REMORA_CPU_VERIFY_REPLAYED_INPUTS_H_
#define REMORA_CPU_VERIFY_REPLAYED_INPUTS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/entropy.h"

namespace remora::cpu {

// What would make two runs of the same code differ, given alike to both. Thread safety: one thread.

// Stands still between two calls of Advance.
class ReplayedClock final : public Clock {
 public:
  explicit ReplayedClock(Clock* clock) : clock_(*clock) { Advance(); }
  void Advance() {
    monotonic_nanos_ = clock_.MonotonicNanos();
    realtime_nanos_ = clock_.RealtimeNanos();
  }
  int64_t MonotonicNanos() override { return monotonic_nanos_; }
  int64_t RealtimeNanos() override { return realtime_nanos_; }

 private:
  Clock& clock_;
  int64_t monotonic_nanos_ = 0, realtime_nanos_ = 0;
};

// After Rewind gives again what it gave since Forget.
class ReplayedEntropy final : public Entropy {
 public:
  explicit ReplayedEntropy(Entropy* entropy) : entropy_(*entropy) {}
  void Forget() {
    given_.clear();
    next_ = 0;
  }
  void Rewind() { next_ = 0; }
  void Fill(std::span<std::byte> bytes) override {
    if (given_.size() - next_ < bytes.size()) {
      const size_t old = given_.size();
      given_.resize(next_ + bytes.size());
      entropy_.Fill(std::span(given_).subspan(old));
    }
    std::copy_n(given_.begin() + static_cast<ptrdiff_t>(next_), bytes.size(), bytes.begin());
    next_ += bytes.size();
  }

 private:
  Entropy& entropy_;
  std::vector<std::byte> given_;
  size_t next_ = 0;
};

}  // namespace remora::cpu

#endif  // REMORA_CPU_VERIFY_REPLAYED_INPUTS_H_
