#include "fs/hostfs/host_disk.h"

#include <errno.h>
#include <sys/vfs.h>

#include <array>

#include "fs/hostfs/host_io.h"

namespace remora::fs {
namespace {

// statfs(2)'s f_type of file systems that need somebody else to answer.
constexpr std::array<uint32_t, 9> kRemoteTypes = {
    0x6969,      // NFS
    0xff534d42,  // CIFS
    0xfe534d42,  // SMB2
    0x517b,      // SMB
    0x01021997,  // 9p
    0x65735546,  // FUSE
    0x00c36400,  // Ceph
    0x5346414f,  // AFS
    0x0bd00bd0,  // Lustre
};

}  // namespace

ErrnoOr<uint64_t> HostDisk::ReadNow(int fd, std::span<const iovec> pieces, uint64_t offset) {
  const auto n = host_io::ReadVector(fd, pieces, static_cast<int64_t>(offset), RWF_NOWAIT);
  // Old kernels and seccomp filters do not know the call.
  if (n.error_number() == ENOSYS || n.error_number() == EPERM) return Errno(EOPNOTSUPP);
  return n;
}

ErrnoOr<uint64_t> HostDisk::ReadWaiting(int fd, std::span<std::byte> to, uint64_t offset) {
  const iovec piece{to.data(), to.size()};
  return host_io::ReadVector(fd, std::span(&piece, 1), static_cast<int64_t>(offset));
}

bool HostDisk::MayHang(int fd) {
  struct statfs status;
  if (fstatfs(fd, &status) < 0) return false;
  for (const uint32_t type : kRemoteTypes)
    if (static_cast<uint32_t>(status.f_type) == type) return true;
  return false;
}

}  // namespace remora::fs
