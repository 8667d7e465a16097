#ifndef REMORA_BASE_ABI_SOCKET_H_
#define REMORA_BASE_ABI_SOCKET_H_

#include <cstdint>

// socket(2) and its kin.
namespace remora::abi {

inline constexpr int32_t kAF_UNSPEC = 0;
inline constexpr int32_t kAF_UNIX = 1;
inline constexpr int32_t kAF_INET = 2;
inline constexpr int32_t kAF_INET6 = 10;
inline constexpr int32_t kAF_NETLINK = 16;
inline constexpr int32_t kAF_PACKET = 17;

inline constexpr uint32_t kSOCK_STREAM = 1;
inline constexpr uint32_t kSOCK_DGRAM = 2;
inline constexpr uint32_t kSOCK_RAW = 3;
inline constexpr uint32_t kSOCK_SEQPACKET = 5;
inline constexpr uint32_t kSOCK_TYPE_MASK = 0xf;
inline constexpr uint32_t kSOCK_MAX = 11;
inline constexpr uint32_t kSOCK_NONBLOCK = 04000;
inline constexpr uint32_t kSOCK_CLOEXEC = 02000000;

inline constexpr int32_t kSOL_SOCKET = 1;
inline constexpr int32_t kSO_REUSEADDR = 2;
inline constexpr int32_t kSO_TYPE = 3;
inline constexpr int32_t kSO_ERROR = 4;
inline constexpr int32_t kSO_DONTROUTE = 5;
inline constexpr int32_t kSO_BROADCAST = 6;
inline constexpr int32_t kSO_SNDBUF = 7;
inline constexpr int32_t kSO_RCVBUF = 8;
inline constexpr int32_t kSO_KEEPALIVE = 9;
inline constexpr int32_t kSO_OOBINLINE = 10;
inline constexpr int32_t kSO_LINGER = 13;
inline constexpr int32_t kSO_REUSEPORT = 15;
inline constexpr int32_t kSO_PASSCRED = 16;
inline constexpr int32_t kSO_PEERCRED = 17;
inline constexpr int32_t kSO_RCVTIMEO = 20;
inline constexpr int32_t kSO_SNDTIMEO = 21;
inline constexpr int32_t kSO_ACCEPTCONN = 30;
inline constexpr int32_t kSO_PROTOCOL = 38;
inline constexpr int32_t kSO_DOMAIN = 39;

inline constexpr uint32_t kMSG_OOB = 0x1;
inline constexpr uint32_t kMSG_PEEK = 0x2;
inline constexpr uint32_t kMSG_DONTROUTE = 0x4;
inline constexpr uint32_t kMSG_CTRUNC = 0x8;
inline constexpr uint32_t kMSG_TRUNC = 0x20;
inline constexpr uint32_t kMSG_DONTWAIT = 0x40;
inline constexpr uint32_t kMSG_EOR = 0x80;
inline constexpr uint32_t kMSG_WAITALL = 0x100;
inline constexpr uint32_t kMSG_NOSIGNAL = 0x4000;
inline constexpr uint32_t kMSG_MORE = 0x8000;
inline constexpr uint32_t kMSG_CMSG_CLOEXEC = 0x40000000;

inline constexpr int32_t kSHUT_RD = 0;
inline constexpr int32_t kSHUT_WR = 1;
inline constexpr int32_t kSHUT_RDWR = 2;

inline constexpr uint32_t kSCM_RIGHTS = 1;
inline constexpr uint32_t kSCM_CREDENTIALS = 2;
inline constexpr uint32_t kSCM_MAX_FD = 253;

struct Msghdr {
  uint64_t msg_name;
  int32_t msg_namelen;
  uint32_t padding0;
  uint64_t msg_iov;
  uint64_t msg_iovlen;
  uint64_t msg_control;
  uint64_t msg_controllen;
  uint32_t msg_flags;
  uint32_t padding1;
};
static_assert(sizeof(Msghdr) == 56);

struct Cmsghdr {
  uint64_t cmsg_len;
  int32_t cmsg_level;
  int32_t cmsg_type;
};
static_assert(sizeof(Cmsghdr) == 16);
constexpr uint64_t CmsgAlign(uint64_t length) { return (length + 7) & ~uint64_t{7}; }

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_SOCKET_H_
