#ifndef REMORA_BASE_ABI_STAT_H_
#define REMORA_BASE_ABI_STAT_H_

#include <cstdint>

#include "base/abi/time.h"

// stat(2), statx(2), statfs(2), getdents64(2), mknod(2) and file modes.
namespace remora::abi {

inline constexpr uint32_t kS_IFMT = 0170000;
inline constexpr uint32_t kS_IFSOCK = 0140000;
inline constexpr uint32_t kS_IFLNK = 0120000;
inline constexpr uint32_t kS_IFREG = 0100000;
inline constexpr uint32_t kS_IFBLK = 0060000;
inline constexpr uint32_t kS_IFDIR = 0040000;
inline constexpr uint32_t kS_IFCHR = 0020000;
inline constexpr uint32_t kS_IFIFO = 0010000;
inline constexpr uint32_t kS_ISUID = 04000;
inline constexpr uint32_t kS_ISGID = 02000;
inline constexpr uint32_t kS_ISVTX = 01000;
inline constexpr uint32_t kS_IRWXU = 0700;
inline constexpr uint32_t kS_IRUSR = 0400;
inline constexpr uint32_t kS_IWUSR = 0200;
inline constexpr uint32_t kS_IXUSR = 0100;
inline constexpr uint32_t kS_IRWXG = 070;
inline constexpr uint32_t kS_IRGRP = 040;
inline constexpr uint32_t kS_IWGRP = 020;
inline constexpr uint32_t kS_IXGRP = 010;
inline constexpr uint32_t kS_IRWXO = 07;
inline constexpr uint32_t kS_IROTH = 04;
inline constexpr uint32_t kS_IWOTH = 02;
inline constexpr uint32_t kS_IXOTH = 01;

// struct stat of x86-64.
struct Stat {
  uint64_t st_dev;
  uint64_t st_ino;
  uint64_t st_nlink;
  uint32_t st_mode;
  uint32_t st_uid;
  uint32_t st_gid;
  uint32_t padding0;
  uint64_t st_rdev;
  int64_t st_size;
  int64_t st_blksize;
  int64_t st_blocks;  // of 512 bytes
  Timespec st_atim;
  Timespec st_mtim;
  Timespec st_ctim;
  int64_t unused[3];
};
static_assert(sizeof(Stat) == 144);

// st_dev and st_rdev as the kernel encodes them (new_encode_dev, widened as glibc's makedev).
constexpr uint64_t MakeDevice(uint32_t major, uint32_t minor) {
  return (uint64_t{minor} & 0xff) | (uint64_t{major} & 0xfff) << 8 | (uint64_t{minor} & ~uint64_t{0xff}) << 12 |
         (uint64_t{major} & ~uint64_t{0xfff}) << 32;
}
constexpr uint32_t DeviceMajor(uint64_t device) {
  return static_cast<uint32_t>(((device >> 8) & 0xfff) | ((device >> 32) & ~uint64_t{0xfff}));
}
constexpr uint32_t DeviceMinor(uint64_t device) {
  return static_cast<uint32_t>((device & 0xff) | ((device >> 12) & ~uint64_t{0xff}));
}

struct StatxTimestamp {
  int64_t tv_sec;
  uint32_t tv_nsec;
  int32_t reserved;
};
static_assert(sizeof(StatxTimestamp) == 16);

struct Statx {
  uint32_t stx_mask;
  uint32_t stx_blksize;
  uint64_t stx_attributes;
  uint32_t stx_nlink;
  uint32_t stx_uid;
  uint32_t stx_gid;
  uint16_t stx_mode;
  uint16_t padding0;
  uint64_t stx_ino;
  uint64_t stx_size;
  uint64_t stx_blocks;
  uint64_t stx_attributes_mask;
  StatxTimestamp stx_atime;
  StatxTimestamp stx_btime;
  StatxTimestamp stx_ctime;
  StatxTimestamp stx_mtime;
  uint32_t stx_rdev_major;
  uint32_t stx_rdev_minor;
  uint32_t stx_dev_major;
  uint32_t stx_dev_minor;
  uint64_t stx_mnt_id;
  uint32_t stx_dio_mem_align;
  uint32_t stx_dio_offset_align;
  uint64_t spare[12];
};
static_assert(sizeof(Statx) == 256);

inline constexpr uint32_t kSTATX_TYPE = 0x0001;
inline constexpr uint32_t kSTATX_MODE = 0x0002;
inline constexpr uint32_t kSTATX_NLINK = 0x0004;
inline constexpr uint32_t kSTATX_UID = 0x0008;
inline constexpr uint32_t kSTATX_GID = 0x0010;
inline constexpr uint32_t kSTATX_ATIME = 0x0020;
inline constexpr uint32_t kSTATX_MTIME = 0x0040;
inline constexpr uint32_t kSTATX_CTIME = 0x0080;
inline constexpr uint32_t kSTATX_INO = 0x0100;
inline constexpr uint32_t kSTATX_SIZE = 0x0200;
inline constexpr uint32_t kSTATX_BLOCKS = 0x0400;
inline constexpr uint32_t kSTATX_BASIC_STATS = 0x07ff;
inline constexpr uint32_t kSTATX_BTIME = 0x0800;
inline constexpr uint32_t kSTATX_MNT_ID = 0x1000;
inline constexpr uint32_t kSTATX__RESERVED = 0x80000000;
inline constexpr uint64_t kSTATX_ATTR_MOUNT_ROOT = 0x2000;

struct Statfs {
  int64_t f_type;
  int64_t f_bsize;
  uint64_t f_blocks;
  uint64_t f_bfree;
  uint64_t f_bavail;
  uint64_t f_files;
  uint64_t f_ffree;
  int32_t f_fsid[2];
  int64_t f_namelen;
  int64_t f_frsize;
  int64_t f_flags;
  int64_t f_spare[4];
};
static_assert(sizeof(Statfs) == 120);

inline constexpr int64_t kST_RDONLY = 0x0001;
inline constexpr int64_t kST_NOSUID = 0x0002;
inline constexpr int64_t kST_NODEV = 0x0004;
inline constexpr int64_t kST_NOEXEC = 0x0008;
inline constexpr int64_t kST_VALID = 0x0020;
inline constexpr int64_t kST_NOATIME = 0x0400;
inline constexpr int64_t kST_NODIRATIME = 0x0800;
inline constexpr int64_t kST_RELATIME = 0x1000;

// f_type.
inline constexpr int64_t kTMPFS_MAGIC = 0x01021994;
inline constexpr int64_t kPROC_SUPER_MAGIC = 0x9fa0;
inline constexpr int64_t kSYSFS_MAGIC = 0x62656572;
inline constexpr int64_t kDEVPTS_SUPER_MAGIC = 0x1cd1;
inline constexpr int64_t kPIPEFS_MAGIC = 0x50495045;
inline constexpr int64_t kOVERLAYFS_SUPER_MAGIC = 0x794c7630;
inline constexpr int64_t kEXT4_SUPER_MAGIC = 0xef53;
inline constexpr int64_t kANON_INODE_FS_MAGIC = 0x09041934;
inline constexpr int64_t kSOCKFS_MAGIC = 0x534f434b;

// A record of getdents64(2): this head, the name with its NUL, padding to 8 bytes. d_name starts at offset 19.
struct [[gnu::packed]] Dirent64Head {
  uint64_t d_ino;
  int64_t d_off;
  uint16_t d_reclen;
  uint8_t d_type;
};
static_assert(sizeof(Dirent64Head) == 19);
constexpr uint64_t Dirent64RecordBytes(uint64_t name_length) {
  return (sizeof(Dirent64Head) + name_length + 1 + 7) & ~uint64_t{7};
}
// A record of the old getdents(2): this head, the name with its NUL, padding, and d_type in the record's last byte.
struct [[gnu::packed]] DirentHead {
  uint64_t d_ino;
  uint64_t d_off;
  uint16_t d_reclen;
};
static_assert(sizeof(DirentHead) == 18);
constexpr uint64_t DirentRecordBytes(uint64_t name_length) {
  return (sizeof(DirentHead) + name_length + 2 + 7) & ~uint64_t{7};
}

inline constexpr uint8_t kDT_UNKNOWN = 0;
inline constexpr uint8_t kDT_FIFO = 1;
inline constexpr uint8_t kDT_CHR = 2;
inline constexpr uint8_t kDT_DIR = 4;
inline constexpr uint8_t kDT_BLK = 6;
inline constexpr uint8_t kDT_REG = 8;
inline constexpr uint8_t kDT_LNK = 10;
inline constexpr uint8_t kDT_SOCK = 12;
inline constexpr uint8_t kDT_WHT = 14;
// The d_type of a mode: its S_IFMT bits, shifted.
constexpr uint8_t DirentTypeOfMode(uint32_t mode) { return static_cast<uint8_t>((mode & kS_IFMT) >> 12); }

}  // namespace remora::abi

#endif  // REMORA_BASE_ABI_STAT_H_
