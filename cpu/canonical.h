#ifndef REMORA_CPU_CANONICAL_H_
#define REMORA_CPU_CANONICAL_H_

#include <cstdint>

namespace remora::cpu {

// Whether the CPU takes it for an address at all, of 48 bits: bits 47 to 63 are equal. Thread safety: pure.
constexpr bool IsCanonical(uint64_t address) {
  return static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16) == address;
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_CANONICAL_H_
