#ifndef REMORA_BASE_SEEDED_ENTROPY_H_
#define REMORA_BASE_SEEDED_ENTROPY_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/entropy.h"
#include "base/lock_rank.h"
#include "base/mutex.h"

namespace remora {

// Random-looking bytes that a seed determines: for tests and for runs that can be repeated. Not for secrets.
// The stream is SplitMix64's. A Fill takes whole words of it, so a sequence of Fills gives the same bytes in each run.
// Thread safety: all methods from any thread; which thread gets which part is then up to their order.
class SeededEntropy final : public Entropy {
 public:
  explicit SeededEntropy(uint64_t seed) : state_(seed) {}

  void Fill(std::span<std::byte> bytes) override {
    MutexLock lock(&mu_);
    while (!bytes.empty()) {
      const uint64_t word = NextLocked();
      const size_t n = bytes.size() < sizeof(word) ? bytes.size() : sizeof(word);
      std::memcpy(bytes.data(), &word, n);
      bytes = bytes.subspan(n);
    }
  }

 private:
  uint64_t NextLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  Mutex mu_{LockRank::kLeaf};
  uint64_t state_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora

#endif  // REMORA_BASE_SEEDED_ENTROPY_H_
