#ifndef REMORA_FS_HOSTFS_HOST_OPEN_H_
#define REMORA_FS_HOSTFS_HOST_OPEN_H_

#include <atomic>
#include <string>

#include "base/errno_or.h"
#include "base/ref_counted.h"
#include "fs/hostfs/host_fd.h"

namespace remora::fs {

// Opens names below a directory and never outside: no component may be "..", an absolute path or a symlink (the guest's
// symlinks are resolved by the VFS, which asks for each component). openat2(2) with RESOLVE_BENEATH, NO_SYMLINKS and
// NO_MAGICLINKS does it in one call; where the host lacks it or a seccomp filter refuses it, one openat(2) with
// O_NOFOLLOW for each component.
// Thread safety: all methods from any thread.
class HostOpener {
 public:
  // `path`: relative, components joined by single slashes. A symlink as the last one is opened itself with
  // O_PATH | O_NOFOLLOW, else ELOOP. O_CLOEXEC and O_NOCTTY are added.
  ErrnoOr<Ref<HostFd>> Open(int directory_fd, const std::string& path, int flags, unsigned permissions = 0);

  void DisableOpenat2() { has_openat2_.store(false, std::memory_order_relaxed); }

 private:
  std::atomic<bool> has_openat2_{true};
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_OPEN_H_
