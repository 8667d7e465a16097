#ifndef REMORA_FS_HOSTFS_HOST_DISK_H_
#define REMORA_FS_HOSTFS_HOST_DISK_H_

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "base/errno_or.h"

namespace remora::fs {

// The door through which the bytes of regular host files come: the host itself, or in tests a disk as slow as they
// like. Thread safety: all methods from any thread.
class HostDisk {
 public:
  virtual ~HostDisk() = default;
  // What the host has in memory: the bytes read, fewer than asked at the file's end or where the rest is on disk; 0 at
  // the end; EAGAIN where the first byte is on disk; EOPNOTSUPP where the file system cannot tell. preadv2(2) with
  // RWF_NOWAIT.
  virtual ErrnoOr<uint64_t> ReadNow(int fd, std::span<const iovec> pieces, uint64_t offset);
  // As pread(2): waits for the disk.
  virtual ErrnoOr<uint64_t> ReadWaiting(int fd, std::span<std::byte> to, uint64_t offset);
  // Where ReadNow cannot tell: may a read take for ever? True for what crosses a network or asks another process.
  virtual bool MayHang(int fd);
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_DISK_H_
