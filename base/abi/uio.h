#ifndef REMORA_BASE_ABI_UIO_H_
#define REMORA_BASE_ABI_UIO_H_

#include <cstdint>

// readv(2) and its kin.
namespace remora::abi {

struct Iovec {
  uint64_t iov_base;
  uint64_t iov_len;
};
static_assert(sizeof(Iovec) == 16);

inline constexpr uint32_t kIOV_MAX = 1024;
// The most bytes that one read or write moves: INT_MAX rounded down to a page.
inline constexpr uint64_t kMAX_RW_COUNT = 0x7ffff000;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_UIO_H_
