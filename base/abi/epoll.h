#ifndef REMORA_BASE_ABI_EPOLL_H_
#define REMORA_BASE_ABI_EPOLL_H_

#include <cstdint>

// epoll(7). The events are those of poll.h.
namespace remora::abi {

inline constexpr uint32_t kEPOLL_CLOEXEC = 02000000;
inline constexpr int32_t kEPOLL_CTL_ADD = 1;
inline constexpr int32_t kEPOLL_CTL_DEL = 2;
inline constexpr int32_t kEPOLL_CTL_MOD = 3;
inline constexpr uint32_t kEPOLLEXCLUSIVE = 1u << 28;
inline constexpr uint32_t kEPOLLWAKEUP = 1u << 29;
inline constexpr uint32_t kEPOLLONESHOT = 1u << 30;
inline constexpr uint32_t kEPOLLET = 1u << 31;

// Packed on x86-64.
struct [[gnu::packed]] EpollEvent {
  uint32_t events;
  uint64_t data;
};
static_assert(sizeof(EpollEvent) == 12);

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_EPOLL_H_
