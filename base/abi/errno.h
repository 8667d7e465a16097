#ifndef REMORA_BASE_ABI_ERRNO_H_
#define REMORA_BASE_ABI_ERRNO_H_

#include <cstdint>

// Error numbers that never reach a guest: what a handler answers to have its call restarted. The others are
// <errno.h>'s, which are asm-generic's on every Linux host.
namespace remora::abi {

inline constexpr int kERESTARTSYS = 512;            // restart if SA_RESTART, else EINTR
inline constexpr int kERESTARTNOINTR = 513;         // always restart
inline constexpr int kERESTARTNOHAND = 514;         // restart if no handler runs, else EINTR
inline constexpr int kERESTART_RESTARTBLOCK = 516;  // restart_syscall if no handler runs, else EINTR
inline constexpr int kMAX_ERRNO = 4095;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_ERRNO_H_
