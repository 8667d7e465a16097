#ifndef REMORA_FS_HOSTFS_HOST_IO_H_
#define REMORA_FS_HOSTFS_HOST_IO_H_

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "base/errno_or.h"
#include "fs/inode.h"
#include "mm/io_buffer.h"

struct statx;

// Host calls that move bytes straight between a host descriptor and an IoBuffer's spans: nothing is copied twice and
// nothing is allocated. They go by syscall(2), not through libc, so that ThreadSanitizer does not take a guest's race
// on its own memory for one of Remora's.
namespace remora::fs::host_io {

inline constexpr uint32_t kMaxPieces = 64;  // of one host call
inline constexpr int64_t kCurrentPosition = -1;

// Into / out of the pieces; EINTR is retried. rwf_flags: RWF_NOWAIT, RWF_APPEND.
ErrnoOr<uint64_t> ReadVector(int fd, std::span<const iovec> pieces, int64_t offset, int rwf_flags = 0);
ErrnoOr<uint64_t> WriteVector(int fd, std::span<const iovec> pieces, int64_t offset, int rwf_flags = 0);

// Fills `to` from the file at `offset` until it is full, the file ends, or the buffer faults. The count, or the first
// error if nothing was read. For files that do not block.
ErrnoOr<uint64_t> ReadAt(int fd, mm::IoBuffer& to, uint64_t offset);
// The same for writing. Stops at a short write (ENOSPC shows at the next call).
ErrnoOr<uint64_t> WriteAt(int fd, mm::IoBuffer& from, uint64_t offset);

// One host read or write of at most max_bytes and kMaxPieces pieces; the cursor moves by as much.
ErrnoOr<uint64_t> ReadOnce(int fd, mm::IoBuffer& to, uint64_t max_bytes, int64_t offset, int rwf_flags = 0);
ErrnoOr<uint64_t> WriteOnce(int fd, mm::IoBuffer& from, uint64_t max_bytes, int64_t offset, int rwf_flags = 0);

// What the host's statx tells, as the guest sees it.
Attributes ToAttributes(const struct statx& from);

}  // namespace remora::fs::host_io

#endif  // REMORA_FS_HOSTFS_HOST_IO_H_
