#ifndef REMORA_BASE_ABI_FCNTL_H_
#define REMORA_BASE_ABI_FCNTL_H_

#include <cstdint>

// open(2), fcntl(2), the *at calls, access(2), lseek(2), fallocate(2), flock(2), rename and pipe flags.
// Values as the x86-64 guest sees them, whatever the host's headers say.
namespace remora::abi {

inline constexpr uint32_t kO_ACCMODE = 03;
inline constexpr uint32_t kO_RDONLY = 00;
inline constexpr uint32_t kO_WRONLY = 01;
inline constexpr uint32_t kO_RDWR = 02;
inline constexpr uint32_t kO_CREAT = 0100;
inline constexpr uint32_t kO_EXCL = 0200;
inline constexpr uint32_t kO_NOCTTY = 0400;
inline constexpr uint32_t kO_TRUNC = 01000;
inline constexpr uint32_t kO_APPEND = 02000;
inline constexpr uint32_t kO_NONBLOCK = 04000;
inline constexpr uint32_t kO_DSYNC = 010000;
inline constexpr uint32_t kO_ASYNC = 020000;  // FASYNC
inline constexpr uint32_t kO_DIRECT = 040000;
inline constexpr uint32_t kO_LARGEFILE = 0100000;  // set by the kernel on every 64-bit open
inline constexpr uint32_t kO_DIRECTORY = 0200000;
inline constexpr uint32_t kO_NOFOLLOW = 0400000;
inline constexpr uint32_t kO_NOATIME = 01000000;
inline constexpr uint32_t kO_CLOEXEC = 02000000;
inline constexpr uint32_t kO_SYNC = 04010000;  // __O_SYNC | O_DSYNC
inline constexpr uint32_t kO_PATH = 010000000;
inline constexpr uint32_t kO_TMPFILE_BIT = 020000000;
inline constexpr uint32_t kO_TMPFILE = kO_TMPFILE_BIT | kO_DIRECTORY;

// fcntl(2) commands.
inline constexpr int32_t kF_DUPFD = 0;
inline constexpr int32_t kF_GETFD = 1;
inline constexpr int32_t kF_SETFD = 2;
inline constexpr int32_t kF_GETFL = 3;
inline constexpr int32_t kF_SETFL = 4;
inline constexpr int32_t kF_GETLK = 5;
inline constexpr int32_t kF_SETLK = 6;
inline constexpr int32_t kF_SETLKW = 7;
inline constexpr int32_t kF_SETOWN = 8;
inline constexpr int32_t kF_GETOWN = 9;
inline constexpr int32_t kF_SETSIG = 10;
inline constexpr int32_t kF_GETSIG = 11;
inline constexpr int32_t kF_SETOWN_EX = 15;
inline constexpr int32_t kF_GETOWN_EX = 16;
inline constexpr int32_t kF_OFD_GETLK = 36;
inline constexpr int32_t kF_OFD_SETLK = 37;
inline constexpr int32_t kF_OFD_SETLKW = 38;
inline constexpr int32_t kF_SETLEASE = 1024;
inline constexpr int32_t kF_GETLEASE = 1025;
inline constexpr int32_t kF_NOTIFY = 1026;
inline constexpr int32_t kF_DUPFD_CLOEXEC = 1030;
inline constexpr int32_t kF_SETPIPE_SZ = 1031;
inline constexpr int32_t kF_GETPIPE_SZ = 1032;
inline constexpr int32_t kF_ADD_SEALS = 1033;
inline constexpr int32_t kF_GET_SEALS = 1034;

inline constexpr int32_t kFD_CLOEXEC = 1;

inline constexpr int16_t kF_RDLCK = 0;
inline constexpr int16_t kF_WRLCK = 1;
inline constexpr int16_t kF_UNLCK = 2;

// struct flock, for F_GETLK and its kin.
struct Flock {
  int16_t l_type;
  int16_t l_whence;
  int32_t padding0;
  int64_t l_start;
  int64_t l_len;
  int32_t l_pid;
  int32_t padding1;
};
static_assert(sizeof(Flock) == 32);

// flock(2).
inline constexpr int32_t kLOCK_SH = 1;
inline constexpr int32_t kLOCK_EX = 2;
inline constexpr int32_t kLOCK_NB = 4;
inline constexpr int32_t kLOCK_UN = 8;

inline constexpr int32_t kAT_FDCWD = -100;
inline constexpr uint32_t kAT_SYMLINK_NOFOLLOW = 0x100;
inline constexpr uint32_t kAT_EACCESS = 0x200;    // faccessat2
inline constexpr uint32_t kAT_REMOVEDIR = 0x200;  // unlinkat
inline constexpr uint32_t kAT_SYMLINK_FOLLOW = 0x400;
inline constexpr uint32_t kAT_NO_AUTOMOUNT = 0x800;
inline constexpr uint32_t kAT_EMPTY_PATH = 0x1000;
inline constexpr uint32_t kAT_STATX_FORCE_SYNC = 0x2000;
inline constexpr uint32_t kAT_STATX_DONT_SYNC = 0x4000;
inline constexpr uint32_t kAT_STATX_SYNC_TYPE = 0x6000;

// access(2).
inline constexpr uint32_t kF_OK = 0;
inline constexpr uint32_t kX_OK = 1;
inline constexpr uint32_t kW_OK = 2;
inline constexpr uint32_t kR_OK = 4;

// lseek(2).
inline constexpr int32_t kSEEK_SET = 0;
inline constexpr int32_t kSEEK_CUR = 1;
inline constexpr int32_t kSEEK_END = 2;
inline constexpr int32_t kSEEK_DATA = 3;
inline constexpr int32_t kSEEK_HOLE = 4;

// fallocate(2).
inline constexpr uint32_t kFALLOC_FL_KEEP_SIZE = 0x01;
inline constexpr uint32_t kFALLOC_FL_PUNCH_HOLE = 0x02;
inline constexpr uint32_t kFALLOC_FL_COLLAPSE_RANGE = 0x08;
inline constexpr uint32_t kFALLOC_FL_ZERO_RANGE = 0x10;
inline constexpr uint32_t kFALLOC_FL_INSERT_RANGE = 0x20;
inline constexpr uint32_t kFALLOC_FL_UNSHARE_RANGE = 0x40;

// renameat2(2).
inline constexpr uint32_t kRENAME_NOREPLACE = 1;
inline constexpr uint32_t kRENAME_EXCHANGE = 2;
inline constexpr uint32_t kRENAME_WHITEOUT = 4;

// openat2(2).
struct OpenHow {
  uint64_t flags;
  uint64_t mode;
  uint64_t resolve;
};
static_assert(sizeof(OpenHow) == 24);
inline constexpr uint64_t kRESOLVE_NO_XDEV = 0x01;
inline constexpr uint64_t kRESOLVE_NO_MAGICLINKS = 0x02;
inline constexpr uint64_t kRESOLVE_NO_SYMLINKS = 0x04;
inline constexpr uint64_t kRESOLVE_BENEATH = 0x08;
inline constexpr uint64_t kRESOLVE_IN_ROOT = 0x10;
inline constexpr uint64_t kRESOLVE_CACHED = 0x20;

// close_range(2).
inline constexpr uint32_t kCLOSE_RANGE_UNSHARE = 2;
inline constexpr uint32_t kCLOSE_RANGE_CLOEXEC = 4;

// posix_fadvise: fadvise64(2).
inline constexpr int32_t kPOSIX_FADV_NORMAL = 0;
inline constexpr int32_t kPOSIX_FADV_NOREUSE = 5;

// memfd_create(2).
inline constexpr uint32_t kMFD_CLOEXEC = 1;
inline constexpr uint32_t kMFD_ALLOW_SEALING = 2;
inline constexpr uint32_t kMFD_HUGETLB = 4;
inline constexpr uint32_t kMFD_NOEXEC_SEAL = 8;
inline constexpr uint32_t kMFD_EXEC = 16;
inline constexpr uint32_t kF_SEAL_SEAL = 0x01;
inline constexpr uint32_t kF_SEAL_SHRINK = 0x02;
inline constexpr uint32_t kF_SEAL_GROW = 0x04;
inline constexpr uint32_t kF_SEAL_WRITE = 0x08;
inline constexpr uint32_t kF_SEAL_FUTURE_WRITE = 0x10;
inline constexpr uint32_t kF_SEAL_EXEC = 0x20;

// splice(2), preadv2(2), getrandom(2), eventfd2(2), setxattr(2).
inline constexpr uint32_t kSPLICE_F_MOVE = 1;
inline constexpr uint32_t kSPLICE_F_NONBLOCK = 2;
inline constexpr uint32_t kSPLICE_F_MORE = 4;
inline constexpr uint32_t kSPLICE_F_GIFT = 8;
inline constexpr uint32_t kRWF_HIPRI = 0x01;
inline constexpr uint32_t kRWF_DSYNC = 0x02;
inline constexpr uint32_t kRWF_SYNC = 0x04;
inline constexpr uint32_t kRWF_NOWAIT = 0x08;
inline constexpr uint32_t kRWF_APPEND = 0x10;
inline constexpr uint32_t kGRND_NONBLOCK = 1;
inline constexpr uint32_t kGRND_RANDOM = 2;
inline constexpr uint32_t kGRND_INSECURE = 4;
inline constexpr uint32_t kEFD_SEMAPHORE = 1;
inline constexpr uint32_t kEFD_NONBLOCK = kO_NONBLOCK;
inline constexpr uint32_t kEFD_CLOEXEC = kO_CLOEXEC;
inline constexpr uint32_t kXATTR_CREATE = 1;
inline constexpr uint32_t kXATTR_REPLACE = 2;

inline constexpr uint32_t kPATH_MAX = 4096;  // with the NUL
inline constexpr uint32_t kNAME_MAX = 255;   // without
inline constexpr uint32_t kPIPE_BUF = 4096;

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_FCNTL_H_
