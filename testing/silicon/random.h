#ifndef REMORA_TESTING_SILICON_RANDOM_H_
#define REMORA_TESTING_SILICON_RANDOM_H_

#include <cstdint>

namespace remora::silicon {

// SplitMix64: small, and any seed will do. A case's numbers depend on the run's seed and its index only.
class Random {
 public:
  Random(uint64_t seed, uint64_t index) : state_(seed * 0x9e3779b97f4a7c15 ^ index * 0xd1342543de82ef95) { Next(); }

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // 0..limit-1.
  uint64_t Below(uint64_t limit) { return Next() % limit; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low) + 1));
  }

 private:
  uint64_t state_;
};

}  // namespace remora::silicon

#endif  // REMORA_TESTING_SILICON_RANDOM_H_
