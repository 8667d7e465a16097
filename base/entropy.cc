#include "base/entropy.h"

#include <errno.h>
#include <sys/random.h>

#include "base/check.h"

namespace remora {

uint64_t Entropy::NextU64() {
  uint64_t value;
  Fill(std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

uint64_t Entropy::Below(uint64_t bound) {
  CHECK(bound > 0);
  // Draws below 2^64 mod bound would make small results likelier; they are thrown away.
  const uint64_t unfair = (0 - bound) % bound;
  for (;;) {
    const uint64_t value = NextU64();
    if (value >= unfair) return value % bound;
  }
}

void HostEntropy::Fill(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = getrandom(bytes.data(), bytes.size(), 0);
    if (n < 0) {
      CHECK_MSG(errno == EINTR, "the host's getrandom failed");
      continue;
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

}  // namespace remora
