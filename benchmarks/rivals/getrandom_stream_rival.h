#ifndef REMORA_BENCHMARKS_RIVALS_GETRANDOM_STREAM_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_GETRANDOM_STREAM_RIVAL_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/entropy.h"
#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "benchmarks/rivals/stream_read_write_rival.h"
#include "mm/user_memory.h"

namespace remora {

// The plain way of usermode kernels: `len` bytes are allocated, filled and copied into the guest.
class GetrandomStreamRival {
 public:
  static ErrnoOr<uint64_t> Getrandom(Entropy& entropy, mm::UserMemory memory, GuestAddr to, uint64_t length_bytes) {
    const auto bytes = std::make_unique_for_overwrite<std::byte[]>(length_bytes);
    entropy.Fill({bytes.get(), length_bytes});
    const uint64_t copied = StreamReadWriteRival::CopyOut(memory, to, {bytes.get(), length_bytes});
    if (copied == 0 && length_bytes != 0) return Errno(EFAULT);
    return copied;
  }
};

}  // namespace remora

#endif  // REMORA_BENCHMARKS_RIVALS_GETRANDOM_STREAM_RIVAL_H_
