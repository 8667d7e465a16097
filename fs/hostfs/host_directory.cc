#include "fs/hostfs/host_directory.h"

#include <dirent.h>
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <string_view>
#include <utility>

namespace remora::fs {
namespace {

// struct linux_dirent64.
struct HostEntry {
  uint64_t d_ino;
  uint64_t d_off;
  uint16_t d_reclen;
  uint8_t d_type;
  char d_name[];
};

}  // namespace

HostDirectory::HostDirectory(Ref<HostInode> inode, const Path& path, uint32_t flags, Ref<HostFd> fd)
    : File(Ref<Inode>(inode), path, flags), host_inode_(std::move(inode)), fd_(std::move(fd)) {
  host_inode_->PinFd();
}

ErrnoOr<uint64_t> HostDirectory::Read(mm::IoBuffer&, uint64_t) { return Errno(EISDIR); }
ErrnoOr<uint64_t> HostDirectory::Write(mm::IoBuffer&, uint64_t) { return Errno(EBADF); }

ErrnoOr<void> HostDirectory::ReadDirectory(uint64_t position, absl::FunctionRef<bool(const DirectoryEntry&)> visit) {
  MutexLock lock(&mu_);
  if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(kBufferBytes);
  // Position 0 is a rewind: what was read ahead may be old.
  if (position != position_ || position == 0) {
    filled_ = next_ = 0;
    position_ = position;
  }
  while (true) {
    if (next_ == filled_) {
      if (host_position_ != position_ || position_ == 0) {
        if (lseek(fd_->get(), static_cast<off_t>(position_), SEEK_SET) < 0) return Errno(errno);
        host_position_ = position_;
      }
      const long n = syscall(SYS_getdents64, fd_->get(), buffer_.get(), kBufferBytes);
      if (n < 0) return Errno(errno);
      if (n == 0) return Ok();
      filled_ = static_cast<uint32_t>(n);
      next_ = 0;
      uint32_t at = 0;
      while (at < filled_) {
        const auto* entry = reinterpret_cast<const HostEntry*>(buffer_.get() + at);
        host_position_ = entry->d_off;
        at += entry->d_reclen;
      }
    }
    const auto* entry = reinterpret_cast<const HostEntry*>(buffer_.get() + next_);
    if (!visit({entry->d_ino, entry->d_off, entry->d_type, std::string_view(entry->d_name)})) return Ok();
    next_ += entry->d_reclen;
    position_ = entry->d_off;
  }
}

ErrnoOr<void> HostDirectory::Sync() {
  if (fsync(fd_->get()) < 0) return Errno(errno);
  return Ok();
}

void HostDirectory::OnLastClose() { host_inode_->UnpinFd(); }

}  // namespace remora::fs
