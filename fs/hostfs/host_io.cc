#include "fs/hostfs/host_io.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace remora::fs::host_io {
namespace {

// Linux moves at most 0x7ffff000 bytes in one call; so do we.
constexpr uint64_t kMaxBytes = 0x7ffff000;

ErrnoOr<uint64_t> Transfer(bool read, int fd, std::span<const iovec> pieces, int64_t offset, int rwf_flags) {
  long number;
  if (offset == kCurrentPosition && rwf_flags == 0) {
    number = read ? SYS_readv : SYS_writev;  // preadv2 does the same, but seccomp filters often lack it
  } else if (rwf_flags == 0) {
    number = read ? SYS_preadv : SYS_pwritev;
  } else {
    number = read ? SYS_preadv2 : SYS_pwritev2;
  }
  while (true) {
    const long n = syscall(number, fd, pieces.data(), pieces.size(), offset, 0L, rwf_flags);
    if (n >= 0) return static_cast<uint64_t>(n);
    if (errno != EINTR) return Errno(errno);
  }
}

ErrnoOr<uint64_t> Once(bool read, int fd, mm::IoBuffer& buffer, uint64_t max_bytes, int64_t offset, int rwf_flags) {
  iovec pieces[kMaxPieces];
  REMORA_ASSIGN_OR_RETURN(const uint32_t count, buffer.Gather(pieces, std::min(max_bytes, kMaxBytes)));
  if (count == 0) return 0u;
  REMORA_ASSIGN_OR_RETURN(const uint64_t n, Transfer(read, fd, std::span(pieces, count), offset, rwf_flags));
  buffer.Advance(n);
  return n;
}

ErrnoOr<uint64_t> Whole(bool read, int fd, mm::IoBuffer& buffer, uint64_t offset) {
  uint64_t done = 0;
  while (buffer.remaining() != 0) {
    iovec pieces[kMaxPieces];
    const auto count = buffer.Gather(pieces, kMaxBytes);
    if (!count.ok()) {
      if (done != 0) break;
      return count.error();
    }
    if (*count == 0) break;
    uint64_t asked = 0;
    for (uint32_t i = 0; i < *count; ++i) asked += pieces[i].iov_len;
    if (offset + done > static_cast<uint64_t>(INT64_MAX) - asked) {
      if (done != 0) break;
      return Errno(read ? EINVAL : EFBIG);
    }
    const auto n = Transfer(read, fd, std::span(pieces, *count), static_cast<int64_t>(offset + done), 0);
    if (!n.ok()) {
      if (done != 0) break;
      return n.error();
    }
    buffer.Advance(*n);
    done += *n;
    if (*n < asked) break;
  }
  return done;
}

}  // namespace

ErrnoOr<uint64_t> ReadVector(int fd, std::span<const iovec> pieces, int64_t offset, int rwf_flags) {
  return Transfer(/*read=*/true, fd, pieces, offset, rwf_flags);
}
ErrnoOr<uint64_t> WriteVector(int fd, std::span<const iovec> pieces, int64_t offset, int rwf_flags) {
  return Transfer(/*read=*/false, fd, pieces, offset, rwf_flags);
}
ErrnoOr<uint64_t> ReadAt(int fd, mm::IoBuffer& to, uint64_t offset) { return Whole(/*read=*/true, fd, to, offset); }
ErrnoOr<uint64_t> WriteAt(int fd, mm::IoBuffer& from, uint64_t offset) {
  return Whole(/*read=*/false, fd, from, offset);
}
ErrnoOr<uint64_t> ReadOnce(int fd, mm::IoBuffer& to, uint64_t max_bytes, int64_t offset, int rwf_flags) {
  return Once(/*read=*/true, fd, to, max_bytes, offset, rwf_flags);
}
ErrnoOr<uint64_t> WriteOnce(int fd, mm::IoBuffer& from, uint64_t max_bytes, int64_t offset, int rwf_flags) {
  return Once(/*read=*/false, fd, from, max_bytes, offset, rwf_flags);
}

Attributes ToAttributes(const struct statx& from) {
  const auto time = [](const statx_timestamp& t) { return Timestamp{t.tv_sec, t.tv_nsec}; };
  Attributes a;
  a.device_major = from.stx_dev_major;
  a.device_minor = from.stx_dev_minor;
  a.inode_number = from.stx_ino;
  a.mode = from.stx_mode;
  a.num_links = from.stx_nlink;
  a.uid = from.stx_uid;
  a.gid = from.stx_gid;
  a.special_major = from.stx_rdev_major;
  a.special_minor = from.stx_rdev_minor;
  a.size_bytes = from.stx_size;
  a.block_size = from.stx_blksize;
  a.num_512_byte_blocks = from.stx_blocks;
  a.accessed = time(from.stx_atime);
  a.modified = time(from.stx_mtime);
  a.changed = time(from.stx_ctime);
  a.born = (from.stx_mask & STATX_BTIME) != 0 ? time(from.stx_btime) : Timestamp{};
  return a;
}

}  // namespace remora::fs::host_io
