// The part of HostInode that changes the host: for read-write mounts only.

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "fs/hostfs/host_inode.h"

namespace remora::fs {
namespace {

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

struct FdLink {
  explicit FdLink(int fd) { std::snprintf(text, sizeof(text), "/proc/self/fd/%d", fd); }
  char text[64];
};

// Of an O_PATH descriptor, never of a symlink's target.
ErrnoOr<void> ChangePermissions(int fd, uint32_t permissions) {
  if (syscall(SYS_fchmodat2, fd, "", permissions, AT_EMPTY_PATH) == 0) return Ok();
  if (errno != ENOSYS && errno != EPERM && errno != EINVAL) return Errno(errno);
  if (chmod(FdLink(fd).text, permissions) < 0) return Errno(errno);
  return Ok();
}

timespec ToHost(const std::optional<Timestamp>& t, bool now) {
  if (!t) return {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  // Who may write a file but does not own it may only say "now".
  if (now) return {.tv_sec = 0, .tv_nsec = UTIME_NOW};
  return {.tv_sec = t->seconds, .tv_nsec = t->nanos};
}

ErrnoOr<std::string> CheckedName(std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos) return Errno(EINVAL);
  if (name.size() > NAME_MAX) return Errno(ENAMETOOLONG);
  return std::string(name);
}

}  // namespace

ErrnoOr<void> HostInode::RequireWritable() const {
  if (fs_->options().read_only) return Errno(EROFS);
  return Ok();
}

void HostInode::KeepForever() {
  if (PathFd().ok()) slot_->Pin();
}

ErrnoOr<void> HostInode::SetAttributes(const AttributeChange& change) {
  REMORA_RETURN_IF_ERROR(RequireWritable());
  REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> fd, PathFd());
  if (change.uid || change.gid) {
    if (fchownat(fd->get(), "", change.uid.value_or(static_cast<uid_t>(-1)),
                 change.gid.value_or(static_cast<gid_t>(-1)), AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
      return Errno(errno);
  }
  // After the owner: chown(2) takes set-id bits away.
  if (change.permissions) {
    if (key_.type == S_IFLNK) return Errno(EOPNOTSUPP);
    REMORA_RETURN_IF_ERROR(ChangePermissions(fd->get(), *change.permissions & 07777));
  }
  if (change.accessed || change.modified) {
    const timespec times[2] = {ToHost(change.accessed, change.dates_are_now),
                               ToHost(change.modified, change.dates_are_now)};
    if (utimensat(fd->get(), "", times, AT_EMPTY_PATH) < 0) {
      if (errno != EINVAL && errno != ENOENT) return Errno(errno);
      if (utimensat(AT_FDCWD, FdLink(fd->get()).text, times, 0) < 0) return Errno(errno);
    }
    NoteOwnChange();
  }
  return Ok();
}

ErrnoOr<void> HostInode::Truncate(uint64_t size_bytes) {
  REMORA_RETURN_IF_ERROR(RequireWritable());
  if (size_bytes > static_cast<uint64_t>(INT64_MAX)) return Errno(EFBIG);
  Ref<HostFd> fd;
  {
    MutexLock lock(&mu_);
    fd = created_fd_;
  }
  if (!fd) {
    REMORA_ASSIGN_OR_RETURN(fd, OpenReal(O_WRONLY));
  }
  if (ftruncate(fd->get(), static_cast<off_t>(size_bytes)) < 0) return Errno(errno);
  bool dirty;
  if (Ref<mm::FilePages> pages = PagesIfAny(&dirty)) {
    REMORA_RETURN_IF_ERROR(pages->Truncate(size_bytes));
    NoteOwnChange();
  }
  return Ok();
}

ErrnoOr<Ref<Inode>> HostInode::Create(std::string_view name, const NewNode& node) {
  REMORA_RETURN_IF_ERROR(RequireWritable());
  REMORA_ASSIGN_OR_RETURN(const std::string host_name, CheckedName(name));
  REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> directory, PathFd());
  const int at = directory->get();
  const uint32_t permissions = node.mode & 07777;
  Ref<HostFd> created;
  switch (node.mode & S_IFMT) {
    case S_IFREG: {
      REMORA_ASSIGN_OR_RETURN(created,
                              fs_->opener_.Open(at, host_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, permissions));
      break;
    }
    case S_IFDIR:
      if (mkdirat(at, host_name.c_str(), permissions) < 0) return Errno(errno);
      break;
    case S_IFLNK:
      if (symlinkat(std::string(node.symlink_target).c_str(), at, host_name.c_str()) < 0) return Errno(errno);
      break;
    default:
      if (mknodat(at, host_name.c_str(), node.mode, makedev(node.special_major, node.special_minor)) < 0)
        return Errno(errno);
      break;
  }
  REMORA_ASSIGN_OR_RETURN(Ref<HostInode> child, Child(at, host_name));
  // The host's umask, and ids that differ from Remora's own.
  AttributeChange change;
  if (const auto attributes = child->GetAttributes(); attributes.ok()) {
    if ((attributes->mode & 07777) != permissions && (node.mode & S_IFMT) != S_IFLNK) change.permissions = permissions;
    if (attributes->uid != node.uid) change.uid = node.uid;
    if (attributes->gid != node.gid && (attributes->mode & S_ISGID) == 0) change.gid = node.gid;
  }
  if (change.permissions || change.uid || change.gid) {
    // An unprivileged host user cannot give files away: they stay his.
    if (!child->SetAttributes(change).ok() && change.permissions) {
      AttributeChange only_permissions;
      only_permissions.permissions = change.permissions;
      (void)child->SetAttributes(only_permissions).ok();
    }
  }
  if (created) {
    MutexLock lock(&child->mu_);
    child->created_fd_ = std::move(created);
  }
  return Ref<Inode>(std::move(child));
}

ErrnoOr<void> HostInode::Link(std::string_view name, Inode& target) {
  REMORA_RETURN_IF_ERROR(RequireWritable());
  REMORA_ASSIGN_OR_RETURN(const std::string host_name, CheckedName(name));
  auto* source = dynamic_cast<HostInode*>(&target);
  if (source == nullptr || source->fs_ != fs_) return Errno(EXDEV);
  REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> directory, PathFd());
  const Location where = source->location();
  if (!where.parent) return Errno(EPERM);
  REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> from, where.parent->PathFd());
  if (linkat(from->get(), where.name.c_str(), directory->get(), host_name.c_str(), 0) < 0) return Errno(errno);
  return Ok();
}

ErrnoOr<void> HostInode::Unlink(std::string_view name, Inode& target) {
  REMORA_RETURN_IF_ERROR(RequireWritable());
  REMORA_ASSIGN_OR_RETURN(const std::string host_name, CheckedName(name));
  REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> directory, PathFd());
  if (auto* gone = dynamic_cast<HostInode*>(&target)) gone->KeepForever();
  if (unlinkat(directory->get(), host_name.c_str(), 0) < 0) return Errno(errno);
  return Ok();
}

ErrnoOr<void> HostInode::RemoveDirectory(std::string_view name, Inode& target) {
  REMORA_RETURN_IF_ERROR(RequireWritable());
  REMORA_ASSIGN_OR_RETURN(const std::string host_name, CheckedName(name));
  REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> directory, PathFd());
  if (auto* gone = dynamic_cast<HostInode*>(&target)) gone->KeepForever();
  if (unlinkat(directory->get(), host_name.c_str(), AT_REMOVEDIR) < 0) return Errno(errno);
  return Ok();
}

ErrnoOr<void> HostInode::Rename(std::string_view name, Inode& moved, Inode& new_directory, std::string_view new_name,
                                Inode* replaced, uint32_t flags) {
  REMORA_RETURN_IF_ERROR(RequireWritable());
  REMORA_ASSIGN_OR_RETURN(const std::string from_name, CheckedName(name));
  REMORA_ASSIGN_OR_RETURN(const std::string to_name, CheckedName(new_name));
  auto* to = dynamic_cast<HostInode*>(&new_directory);
  if (to == nullptr || to->fs_ != fs_) return Errno(EXDEV);
  REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> from_fd, PathFd());
  REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> to_fd, to->PathFd());
  auto* victim = dynamic_cast<HostInode*>(replaced);
  constexpr uint32_t kExchange = 2;  // RENAME_EXCHANGE
  if (victim != nullptr && (flags & kExchange) == 0) victim->KeepForever();
  if (syscall(SYS_renameat2, from_fd->get(), from_name.c_str(), to_fd->get(), to_name.c_str(), flags) < 0) {
    if (errno != ENOSYS || flags != 0) return Errno(errno);
    if (renameat(from_fd->get(), from_name.c_str(), to_fd->get(), to_name.c_str()) < 0) return Errno(errno);
  }
  if (auto* child = dynamic_cast<HostInode*>(&moved)) child->SetLocation(Ref<HostInode>(to), to_name);
  if (victim != nullptr && (flags & kExchange) != 0) victim->SetLocation(Ref<HostInode>(this), from_name);
  return Ok();
}

}  // namespace remora::fs
