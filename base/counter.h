#ifndef REMORA_BASE_COUNTER_H_
#define REMORA_BASE_COUNTER_H_

#include <atomic>
#include <cstdint>

namespace remora {

// A statistic that one thread counts and any thread reads: costs its owner what a plain integer costs.
// Thread safety: Add by one thread at a time; value from any thread, a little late at most.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

}  // namespace remora

#endif  // REMORA_BASE_COUNTER_H_
