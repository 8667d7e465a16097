#ifndef REMORA_BASE_ABI_PERSONALITY_H_
#define REMORA_BASE_ABI_PERSONALITY_H_

#include <cstdint>

// personality(2).
namespace remora::abi {

// Execution domains: the low byte.
inline constexpr uint32_t kPER_MASK = 0xff;
inline constexpr uint32_t kPER_LINUX = 0;
inline constexpr uint32_t kPER_LINUX32 = 8;

inline constexpr uint32_t kUNAME26 = 0x0020000;
inline constexpr uint32_t kADDR_NO_RANDOMIZE = 0x0040000;
inline constexpr uint32_t kMMAP_PAGE_ZERO = 0x0100000;
inline constexpr uint32_t kADDR_COMPAT_LAYOUT = 0x0200000;
inline constexpr uint32_t kREAD_IMPLIES_EXEC = 0x0400000;
inline constexpr uint32_t kADDR_LIMIT_32BIT = 0x0800000;
inline constexpr uint32_t kSHORT_INODE = 0x1000000;
inline constexpr uint32_t kWHOLE_SECONDS = 0x2000000;
inline constexpr uint32_t kSTICKY_TIMEOUTS = 0x4000000;
inline constexpr uint32_t kADDR_LIMIT_3GB = 0x8000000;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_PERSONALITY_H_
