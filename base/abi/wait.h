#ifndef REMORA_BASE_ABI_WAIT_H_
#define REMORA_BASE_ABI_WAIT_H_

#include <cstdint>

// wait4(2), waitid(2) and the status word.
namespace remora::abi {

inline constexpr uint32_t kWNOHANG = 1;
inline constexpr uint32_t kWUNTRACED = 2;
inline constexpr uint32_t kWSTOPPED = 2;
inline constexpr uint32_t kWEXITED = 4;
inline constexpr uint32_t kWCONTINUED = 8;
inline constexpr uint32_t kWNOWAIT = 0x01000000;
inline constexpr uint32_t k__WNOTHREAD = 0x20000000;
inline constexpr uint32_t k__WALL = 0x40000000;
inline constexpr uint32_t k__WCLONE = 0x80000000;

inline constexpr int32_t kP_ALL = 0;
inline constexpr int32_t kP_PID = 1;
inline constexpr int32_t kP_PGID = 2;
inline constexpr int32_t kP_PIDFD = 3;

// The status word as wait4 stores it.
constexpr int32_t WaitStatusExited(int32_t code) { return (code & 0xff) << 8; }
constexpr int32_t WaitStatusKilled(int32_t signal, bool core_dumped) { return signal | (core_dumped ? 0x80 : 0); }
constexpr int32_t WaitStatusStopped(int32_t signal) { return (signal << 8) | 0x7f; }
inline constexpr int32_t kWaitStatusContinued = 0xffff;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_WAIT_H_
