// Any sequence of futex operations, beside a list of waiters for each word.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/errno_or.h"
#include "sync/futex_table.h"

namespace remora::sync {
namespace {

constexpr size_t kWaiters = 12, kKeys = 5;

class CountingWaiter final : public FutexWaiter {
 public:
  void Woken() override { ++wakes; }
  uint32_t wakes = 0;
};

struct Entry {
  size_t waiter;
  uint32_t bitset;
};

class Driver {
 public:
  Driver(const uint8_t* data, size_t size) : data_(data), end_(data + size), table_(1u << (Byte() % 4)) {}
  ~Driver() {
    for (CountingWaiter& waiter : waiters_) table_.Cancel(&waiter);
  }

  void Run() {
    while (data_ != end_) {
      Step();
      table_.CheckInvariants();
      for (size_t i = 0; i < kWaiters; ++i) CHECK(waiters_[i].wakes == wakes_[i]);
    }
  }

 private:
  uint8_t Byte() { return data_ == end_ ? 0 : *data_++; }
  static FutexKey KeyOf(size_t i) { return {1 + i % 2, i / 2 * 4}; }
  size_t Key() { return Byte() % kKeys; }

  uint32_t ModelWake(size_t key, uint32_t max, uint32_t bitset) {
    uint32_t woken = 0;
    std::vector<Entry>& queue = queues_[key];
    for (size_t i = 0; i < queue.size() && woken < max;) {
      if ((queue[i].bitset & bitset) == 0) {
        ++i;
        continue;
      }
      ++wakes_[queue[i].waiter];
      queue.erase(queue.begin() + static_cast<ptrdiff_t>(i));
      ++woken;
    }
    return woken;
  }
  bool ModelCancel(size_t waiter) {
    for (std::vector<Entry>& queue : queues_)
      for (size_t i = 0; i < queue.size(); ++i)
        if (queue[i].waiter == waiter) {
          queue.erase(queue.begin() + static_cast<ptrdiff_t>(i));
          return true;
        }
    return false;
  }

  void Step() {
    const size_t key = Key();
    switch (Byte() % 5) {
      case 0: {
        const size_t w = Byte() % kWaiters;
        CHECK(table_.Cancel(&waiters_[w]) == ModelCancel(w));
        const uint32_t bitset = 1u + Byte() % 7;
        const uint8_t answer = Byte() % 8;
        const auto queued = table_.Wait(KeyOf(key), bitset, &waiters_[w], [&]() -> ErrnoOr<bool> {
          if (answer == 1) return Errno(EFAULT);
          return answer != 0;
        });
        CHECK(queued.error_number() == (answer == 1 ? EFAULT : answer == 0 ? EAGAIN : 0));
        if (queued.ok()) queues_[key].push_back({w, bitset});
        break;
      }
      case 1: {
        const uint32_t max = Byte() % 4, bitset = 1u + Byte() % 7;
        CHECK(table_.Wake(KeyOf(key), max, bitset) == ModelWake(key, max, bitset));
        break;
      }
      case 2: {
        const size_t w = Byte() % kWaiters;
        CHECK(table_.Cancel(&waiters_[w]) == ModelCancel(w));
        break;
      }
      case 3: {
        const size_t to = Key();
        const uint32_t max_wakes = Byte() % 3, max_requeues = Byte() % 4;
        const auto result =
            table_.Requeue(KeyOf(key), KeyOf(to), max_wakes, max_requeues, []() -> ErrnoOr<bool> { return true; });
        CHECK(result.ok() && result->woken == ModelWake(key, max_wakes, ~0u));
        uint32_t moved = 0;
        std::vector<Entry>& from = queues_[key];
        if (key == to) {
          moved = static_cast<uint32_t>(from.size() < max_requeues ? from.size() : max_requeues);
        } else {
          for (; moved < max_requeues && !from.empty(); ++moved) {
            queues_[to].push_back(from.front());
            from.erase(from.begin());
          }
        }
        CHECK(result->requeued == moved);
        break;
      }
      default: {
        const size_t second = Key();
        const uint32_t max_first = Byte() % 3, max_second = Byte() % 3;
        const bool both = Byte() % 2 == 0;
        const auto woken =
            table_.WakeOp(KeyOf(key), KeyOf(second), max_first, max_second, [&]() -> ErrnoOr<bool> { return both; });
        uint32_t expected = ModelWake(key, max_first, ~0u);
        if (both) expected += ModelWake(second, max_second, ~0u);
        CHECK(woken.ok() && *woken == expected);
      }
    }
  }

  const uint8_t* data_;
  const uint8_t* const end_;
  FutexTable table_;
  CountingWaiter waiters_[kWaiters];
  uint32_t wakes_[kWaiters] = {};
  std::vector<Entry> queues_[kKeys];
};

}  // namespace
}  // namespace remora::sync

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  remora::sync::Driver(data, size).Run();
  return 0;
}
