#ifndef REMORA_FS_HOSTFS_HOST_KEY_H_
#define REMORA_FS_HOSTFS_HOST_KEY_H_

#include <sys/stat.h>

#include "fs/hostfs/host_file_system.h"

namespace remora::fs {

// What is asked of every statx(2) here.
inline constexpr unsigned kHostStatMask = STATX_BASIC_STATS | STATX_BTIME;

// Which file a status is of.
inline HostFileSystem::Key HostKeyOf(const struct statx& status) {
  HostFileSystem::Key key;
  key.device = (uint64_t{status.stx_dev_major} << 32) | status.stx_dev_minor;
  key.number = status.stx_ino;
  key.type = status.stx_mode & S_IFMT;
  if ((status.stx_mask & STATX_BTIME) != 0) {
    key.born_seconds = status.stx_btime.tv_sec;
    key.born_nanos = status.stx_btime.tv_nsec;
  }
  return key;
}

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_KEY_H_
