#ifndef REMORA_SYNC_SEQLOCK_H_
#define REMORA_SYNC_SEQLOCK_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace remora::sync {

// A small value that is read far more often than written: readers take no lock and write nothing; one that meets a
// writer reads again.
//
// Why that is safe without fences (which ThreadSanitizer does not model): the words are atomics. A reader whose acquire
// load of a word finds a writer's release store also finds, in its second look at the sequence, the odd number that the
// writer stored before; so a torn copy is never answered.
//
// Linux twin: seqlock_t. Thread safety: Load from any thread; Store by one thread at a time (the caller's lock).
template <typename T>
  requires(std::is_trivially_copyable_v<T>)
class SeqLock {
 public:
  SeqLock() : SeqLock(T()) {}
  explicit SeqLock(const T& value) { Store(value); }
  SeqLock(const SeqLock&) = delete;
  SeqLock& operator=(const SeqLock&) = delete;

  T Load() const {
    Words copy;
    while (!TryLoad(&copy)) {
    }
    T value;
    std::memcpy(static_cast<void*>(&value), copy.data(), sizeof(T));
    return value;
  }

  void Store(const T& value) {
    Words words{};
    std::memcpy(words.data(), &value, sizeof(T));
    const uint64_t sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);
    for (size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_release);
    sequence_.store(sequence + 2, std::memory_order_release);
  }

  // Even; grows with each Store.
  uint64_t sequence() const { return sequence_.load(std::memory_order_acquire) & ~uint64_t{1}; }

 private:
  static constexpr size_t kWords = (sizeof(T) + 7) / 8;
  using Words = std::array<uint64_t, kWords>;

  bool TryLoad(Words* copy) const {
    const uint64_t before = sequence_.load(std::memory_order_acquire);
    if (before & 1) return false;
    for (size_t i = 0; i < kWords; ++i) (*copy)[i] = words_[i].load(std::memory_order_acquire);
    return sequence_.load(std::memory_order_relaxed) == before;
  }

  std::atomic<uint64_t> sequence_{0};
  std::array<std::atomic<uint64_t>, kWords> words_{};
};

}  // namespace remora::sync

#endif  // REMORA_SYNC_SEQLOCK_H_
