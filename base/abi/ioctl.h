#ifndef REMORA_BASE_ABI_IOCTL_H_
#define REMORA_BASE_ABI_IOCTL_H_

#include <cstdint>

// ioctl(2) requests that are not a terminal's.
namespace remora::abi {

inline constexpr uint32_t kFIONCLEX = 0x5450;
inline constexpr uint32_t kFIOCLEX = 0x5451;
inline constexpr uint32_t kFIOASYNC = 0x5452;
inline constexpr uint32_t kFIONBIO = 0x5421;
inline constexpr uint32_t kFIONREAD = 0x541b;
inline constexpr uint32_t kFIOQSIZE = 0x5460;
inline constexpr uint32_t kFS_IOC_GETFLAGS = 0x80086601;
inline constexpr uint32_t kFS_IOC_SETFLAGS = 0x40086602;
inline constexpr uint32_t kFICLONE = 0x40049409;
inline constexpr uint32_t kRNDGETENTCNT = 0x80045200;
inline constexpr uint32_t kBLKGETSIZE64 = 0x80081272;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_IOCTL_H_
