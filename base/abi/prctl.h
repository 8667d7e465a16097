#ifndef REMORA_BASE_ABI_PRCTL_H_
#define REMORA_BASE_ABI_PRCTL_H_

#include <cstdint>

// prctl(2), arch_prctl(2), capget(2), membarrier(2), rseq(2), reboot-free odds and ends of process control.
namespace remora::abi {

inline constexpr int32_t kPR_SET_PDEATHSIG = 1;
inline constexpr int32_t kPR_GET_PDEATHSIG = 2;
inline constexpr int32_t kPR_GET_DUMPABLE = 3;
inline constexpr int32_t kPR_SET_DUMPABLE = 4;
inline constexpr int32_t kPR_GET_KEEPCAPS = 7;
inline constexpr int32_t kPR_SET_KEEPCAPS = 8;
inline constexpr int32_t kPR_SET_NAME = 15;
inline constexpr int32_t kPR_GET_NAME = 16;
inline constexpr int32_t kPR_GET_SECCOMP = 21;
inline constexpr int32_t kPR_SET_SECCOMP = 22;
inline constexpr int32_t kPR_CAPBSET_READ = 23;
inline constexpr int32_t kPR_CAPBSET_DROP = 24;
inline constexpr int32_t kPR_SET_TIMERSLACK = 29;
inline constexpr int32_t kPR_GET_TIMERSLACK = 30;
inline constexpr int32_t kPR_SET_CHILD_SUBREAPER = 36;
inline constexpr int32_t kPR_GET_CHILD_SUBREAPER = 37;
inline constexpr int32_t kPR_SET_NO_NEW_PRIVS = 38;
inline constexpr int32_t kPR_GET_NO_NEW_PRIVS = 39;
inline constexpr int32_t kPR_GET_TID_ADDRESS = 40;
inline constexpr int32_t kPR_CAP_AMBIENT = 47;
inline constexpr int32_t kPR_SET_VMA = 0x53564d41;

inline constexpr int32_t kARCH_SET_GS = 0x1001;
inline constexpr int32_t kARCH_SET_FS = 0x1002;
inline constexpr int32_t kARCH_GET_FS = 0x1003;
inline constexpr int32_t kARCH_GET_GS = 0x1004;
inline constexpr int32_t kARCH_GET_CPUID = 0x1011;
inline constexpr int32_t kARCH_SET_CPUID = 0x1012;
inline constexpr int32_t kARCH_CET_STATUS = 0x3001;

inline constexpr uint32_t kTASK_COMM_LEN = 16;  // with the NUL

inline constexpr uint32_t k_LINUX_CAPABILITY_VERSION_1 = 0x19980330;
inline constexpr uint32_t k_LINUX_CAPABILITY_VERSION_2 = 0x20071026;
inline constexpr uint32_t k_LINUX_CAPABILITY_VERSION_3 = 0x20080522;
struct CapUserHeader {
  uint32_t version;
  int32_t pid;
};
static_assert(sizeof(CapUserHeader) == 8);
struct CapUserData {
  uint32_t effective;
  uint32_t permitted;
  uint32_t inheritable;
};
static_assert(sizeof(CapUserData) == 12);

// execveat(2) takes AT_* of fcntl.h. argv and envp together: a quarter of RLIMIT_STACK, one string at most 32 pages.
inline constexpr uint64_t kMAX_ARG_STRLEN = 32 * 4096;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_PRCTL_H_
