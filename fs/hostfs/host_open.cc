#include "fs/hostfs/host_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace remora::fs {

ErrnoOr<Ref<HostFd>> HostOpener::Open(int directory_fd, const std::string& path, int flags, unsigned permissions) {
  flags |= O_CLOEXEC;
  if ((flags & O_PATH) == 0) flags |= O_NOCTTY;  // openat2 refuses flags that mean nothing
  if (path.empty() || path.front() == '/') return Errno(ENOENT);
  if (has_openat2_.load(std::memory_order_relaxed)) {
    open_how how = {};
    how.flags = static_cast<uint64_t>(static_cast<unsigned>(flags));
    how.mode = (flags & O_CREAT) != 0 ? permissions : 0;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    while (true) {
      const long fd = syscall(SYS_openat2, directory_fd, path.c_str(), &how, sizeof(how));
      if (fd >= 0) return MakeRef<HostFd>(static_cast<int>(fd));
      if (errno == EINTR || errno == EAGAIN) continue;  // EAGAIN: a rename raced with the walk
      if (errno == ENOSYS) has_openat2_.store(false, std::memory_order_relaxed);
      if (errno != ENOSYS && errno != EPERM) return Errno(errno);
      break;
    }
  }
  // By hand. Each directory is held open while its child is looked up, so a rename cannot lead outside.
  Ref<HostFd> at;
  size_t start = 0;
  while (true) {
    const size_t slash = path.find('/', start);
    const std::string component = path.substr(start, slash == std::string::npos ? slash : slash - start);
    if (component.empty() || component == "..") return Errno(EXDEV);
    const bool last = slash == std::string::npos;
    const int how = last ? flags | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd;
    do {
      fd = openat(at ? at->get() : directory_fd, component.c_str(), how, permissions);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) return Errno(errno);
    at = MakeRef<HostFd>(fd);
    if (last) return at;
    start = slash + 1;
  }
}

}  // namespace remora::fs
