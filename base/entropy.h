#ifndef REMORA_BASE_ENTROPY_H_
#define REMORA_BASE_ENTROPY_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace remora {

// The door for randomness: getrandom, /dev/urandom, AT_RANDOM, address layout. Nothing else asks the host for random
// bytes. Thread safety: from any thread.
class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual void Fill(std::span<std::byte> bytes) = 0;

  uint64_t NextU64();
  // Uniform in [0, bound); bound > 0.
  uint64_t Below(uint64_t bound);
};

// The host's getrandom(2).
class HostEntropy final : public Entropy {
 public:
  void Fill(std::span<std::byte> bytes) override;
};

}  // namespace remora

#endif  // REMORA_BASE_ENTROPY_H_
