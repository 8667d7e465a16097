#ifndef REMORA_BASE_ABI_INOTIFY_H_
#define REMORA_BASE_ABI_INOTIFY_H_

#include <cstdint>

// inotify(7).
namespace remora::abi {

inline constexpr uint32_t kIN_ACCESS = 0x001;
inline constexpr uint32_t kIN_MODIFY = 0x002;
inline constexpr uint32_t kIN_ATTRIB = 0x004;
inline constexpr uint32_t kIN_CLOSE_WRITE = 0x008;
inline constexpr uint32_t kIN_CLOSE_NOWRITE = 0x010;
inline constexpr uint32_t kIN_OPEN = 0x020;
inline constexpr uint32_t kIN_MOVED_FROM = 0x040;
inline constexpr uint32_t kIN_MOVED_TO = 0x080;
inline constexpr uint32_t kIN_CREATE = 0x100;
inline constexpr uint32_t kIN_DELETE = 0x200;
inline constexpr uint32_t kIN_DELETE_SELF = 0x400;
inline constexpr uint32_t kIN_MOVE_SELF = 0x800;
inline constexpr uint32_t kIN_ALL_EVENTS = 0xfff;
inline constexpr uint32_t kIN_UNMOUNT = 0x2000;
inline constexpr uint32_t kIN_Q_OVERFLOW = 0x4000;
inline constexpr uint32_t kIN_IGNORED = 0x8000;
inline constexpr uint32_t kIN_ONLYDIR = 0x01000000;
inline constexpr uint32_t kIN_DONT_FOLLOW = 0x02000000;
inline constexpr uint32_t kIN_EXCL_UNLINK = 0x04000000;
inline constexpr uint32_t kIN_MASK_CREATE = 0x10000000;
inline constexpr uint32_t kIN_MASK_ADD = 0x20000000;
inline constexpr uint32_t kIN_ISDIR = 0x40000000;
inline constexpr uint32_t kIN_ONESHOT = 0x80000000;

inline constexpr uint32_t kIN_NONBLOCK = 04000;
inline constexpr uint32_t kIN_CLOEXEC = 02000000;

// struct inotify_event: the name follows, padded with NULs.
struct InotifyEvent {
  int32_t wd;
  uint32_t mask;
  uint32_t cookie;
  uint32_t len;
};
static_assert(sizeof(InotifyEvent) == 16);

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_INOTIFY_H_
