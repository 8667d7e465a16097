#ifndef REMORA_FS_HOSTFS_HOST_FD_H_
#define REMORA_FS_HOSTFS_HOST_FD_H_

#include <unistd.h>

#include "base/ref_counted.h"

namespace remora::fs {

// A host file descriptor, closed with its last reference (unless it was inherited and stays the caller's).
// Thread safety: immutable.
class HostFd final : public RefCounted {
 public:
  enum class Ownership : bool { kBorrowed, kOwned };
  explicit HostFd(int fd, Ownership ownership = Ownership::kOwned) : fd_(fd), ownership_(ownership) {}
  int get() const { return fd_; }

 private:
  ~HostFd() override {
    if (ownership_ == Ownership::kOwned) close(fd_);
  }
  const int fd_;
  const Ownership ownership_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_HOSTFS_HOST_FD_H_
