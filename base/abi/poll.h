#ifndef REMORA_BASE_ABI_POLL_H_
#define REMORA_BASE_ABI_POLL_H_

#include <cstdint>

// poll(2), ppoll(2), select(2).
namespace remora::abi {

inline constexpr uint32_t kPOLLIN = 0x0001;
inline constexpr uint32_t kPOLLPRI = 0x0002;
inline constexpr uint32_t kPOLLOUT = 0x0004;
inline constexpr uint32_t kPOLLERR = 0x0008;
inline constexpr uint32_t kPOLLHUP = 0x0010;
inline constexpr uint32_t kPOLLNVAL = 0x0020;
inline constexpr uint32_t kPOLLRDNORM = 0x0040;
inline constexpr uint32_t kPOLLRDBAND = 0x0080;
inline constexpr uint32_t kPOLLWRNORM = 0x0100;
inline constexpr uint32_t kPOLLWRBAND = 0x0200;
inline constexpr uint32_t kPOLLMSG = 0x0400;
inline constexpr uint32_t kPOLLRDHUP = 0x2000;

struct Pollfd {
  int32_t fd;
  int16_t events;
  int16_t revents;
};
static_assert(sizeof(Pollfd) == 8);

// pselect6(2)'s last argument.
struct SigsetArgument {
  uint64_t mask_address;
  uint64_t mask_size;
};
static_assert(sizeof(SigsetArgument) == 16);

inline constexpr uint32_t kFD_SETSIZE = 1024;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_POLL_H_
