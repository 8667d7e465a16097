#include "fs/hostfs/host_inode.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <utility>
#include <vector>

#include "fs/hostfs/host_directory.h"
#include "fs/hostfs/host_file.h"
#include "fs/hostfs/host_io.h"
#include "fs/hostfs/host_key.h"
#include "fs/hostfs/host_stream.h"

namespace remora::fs {
namespace {

constexpr size_t kMaxDepth = 100'000;

}  // namespace

HostInode::HostInode(Ref<HostFileSystem> fs, const Key& key, Ref<HostInode> parent, std::string name)
    : fs_(std::move(fs)), key_(key), parent_(std::move(parent)), name_(std::move(name)) {}

HostInode::Location HostInode::location() const {
  MutexLock lock(&mu_);
  return {parent_, name_};
}

void HostInode::SetLocation(Ref<HostInode> parent, std::string_view name) {
  MutexLock lock(&mu_);
  if (parent_ == parent && name_ == name) return;
  std::swap(parent_, parent);  // the old one goes behind the lock
  name_ = name;
}

void HostInode::LetGo() {
  slot_->Clear();
  Ref<HostInode> parent;  // all of it goes behind the lock
  Ref<HostFd> created_fd;
  Ref<mm::FilePages> pages;
  Ref<HostWindows> windows;
  MutexLock lock(&mu_);
  parent = std::move(parent_);
  created_fd = std::move(created_fd_);
  pages = std::move(pages_);
  windows = std::move(windows_);
}

ErrnoOr<void> HostInode::CheckIdentity(int fd) const {
  struct statx status;
  if (statx(fd, "", AT_EMPTY_PATH, kHostStatMask, &status) < 0) return Errno(errno);
  if (!(HostKeyOf(status) == key_)) return Errno(ESTALE);
  return Ok();
}

ErrnoOr<Ref<HostFd>> HostInode::PathFd() {
  if (Ref<HostFd> fd = slot_->Get()) return fd;
  // Up to the next ancestor that has a descriptor, then down again in one call (or a few: a path has at most PATH_MAX
  // bytes for the host).
  std::vector<std::string> names;
  Ref<HostInode> at(this);
  Ref<HostFd> from;
  while (!from) {
    Location where = at->location();
    if (!where.parent) {
      from = fs_->root_fd_;
      break;
    }
    // Directories that others moved about can leave a ring of remembered parents.
    if (names.size() == kMaxDepth) return Errno(ESTALE);
    names.push_back(std::move(where.name));
    at = std::move(where.parent);
    from = at->slot_->Get();
  }
  while (!names.empty()) {
    std::string path = std::move(names.back());
    names.pop_back();
    while (!names.empty() && path.size() + 1 + names.back().size() < PATH_MAX - 1) {
      path += '/';
      path += names.back();
      names.pop_back();
    }
    auto next = fs_->opener_.Open(from->get(), path, O_PATH | O_NOFOLLOW);
    if (!next.ok() && (next.error_number() == EMFILE || next.error_number() == ENFILE) && fs_->CloseIdle())
      next = fs_->opener_.Open(from->get(), path, O_PATH | O_NOFOLLOW);
    if (!next.ok()) {
      const int error = next.error_number();
      return Errno(error == ENOENT || error == ENOTDIR || error == ELOOP || error == EXDEV ? ESTALE : error);
    }
    from = *std::move(next);
  }
  REMORA_RETURN_IF_ERROR(CheckIdentity(from->get()));
  return fs_->fds_.Put(slot_, std::move(from));
}

ErrnoOr<Ref<HostFd>> HostInode::OpenReal(int flags) {
  // O_NONBLOCK: a FIFO or device put in the file's place meanwhile must not stop us.
  flags |= O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  Location where = location();
  ErrnoOr<Ref<HostFd>> fd = Errno(ESTALE);
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (where.parent) {
      REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> directory, where.parent->PathFd());
      fd = fs_->opener_.Open(directory->get(), where.name, flags | O_NOFOLLOW);
    } else {
      fd = fs_->opener_.Open(fs_->root_fd_->get(), ".", flags);
    }
    if (fd.ok() || (fd.error_number() != EMFILE && fd.error_number() != ENFILE) || !fs_->CloseIdle()) break;
  }
  if (fd.ok() && CheckIdentity((*fd)->get()).ok()) return fd;
  if (!fd.ok() && fd.error_number() != ENOENT && fd.error_number() != ELOOP && fd.error_number() != ENOTDIR) return fd;
  // Its name is gone, but a descriptor may still be here.
  const Ref<HostFd> path_fd = slot_->Get();
  if (!path_fd) return Errno(ESTALE);
  char link[64];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd->get());
  const int again = open(link, flags);
  if (again < 0) return Errno(errno == ENOENT ? ESTALE : errno);
  fd = MakeRef<HostFd>(again);
  REMORA_RETURN_IF_ERROR(CheckIdentity(again));
  return fd;
}

ErrnoOr<struct statx> HostInode::Status() {
  struct statx status;
  Ref<HostFd> fd = slot_->Get();
  if (!fd && key_.type != S_IFDIR) {
    // Without a descriptor of its own: one host call, and the cache keeps room for directories.
    const Location where = location();
    if (where.parent) {
      REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> directory, where.parent->PathFd());
      if (statx(directory->get(), where.name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, kHostStatMask, &status) <
          0)
        return Errno(errno == ENOENT || errno == ENOTDIR ? ESTALE : errno);
      if (!(HostKeyOf(status) == key_)) return Errno(ESTALE);
      return status;
    }
  }
  if (!fd) {
    REMORA_ASSIGN_OR_RETURN(fd, PathFd());
  }
  if (statx(fd->get(), "", AT_EMPTY_PATH, kHostStatMask, &status) < 0) return Errno(errno);
  return status;
}

ErrnoOr<Attributes> HostInode::GetAttributes() {
  REMORA_ASSIGN_OR_RETURN(const struct statx status, Status());
  Attributes attributes = host_io::ToAttributes(status);
  MutexLock lock(&mu_);
  if (pages_ && maybe_dirty_) attributes.size_bytes = std::max(attributes.size_bytes, pages_->size_bytes());
  return attributes;
}

ErrnoOr<Ref<HostInode>> HostInode::Child(int directory_fd, std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos)
    return Errno(EINVAL);
  if (name.size() > NAME_MAX) return Errno(ENAMETOOLONG);
  std::string owned(name);
  struct statx status;
  if (statx(directory_fd, owned.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, kHostStatMask, &status) < 0)
    return Errno(errno);
  const Key key = HostKeyOf(status);
  Ref<HostInode> child =
      fs_->inodes_.GetOrCreate(key, [&] { return MakeRef<HostInode>(fs_, key, Ref<HostInode>(this), owned); });
  // The root found again inside itself (a bind mount on the host) keeps having no parent.
  if (!(key == fs_->root_key_)) child->SetLocation(Ref<HostInode>(this), name);
  return child;
}

ErrnoOr<Ref<Inode>> HostInode::Lookup(std::string_view name) {
  if (key_.type != S_IFDIR) return Errno(ENOTDIR);
  REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> fd, PathFd());
  REMORA_ASSIGN_OR_RETURN(Ref<HostInode> child, Child(fd->get(), name));
  return Ref<Inode>(std::move(child));
}

ErrnoOr<std::string> HostInode::ReadLink() {
  if (key_.type != S_IFLNK) return Errno(EINVAL);
  char target[PATH_MAX];
  ssize_t n;
  if (Ref<HostFd> fd = slot_->Get()) {
    n = readlinkat(fd->get(), "", target, sizeof(target));
  } else {
    const Location where = location();
    if (!where.parent) return Errno(EINVAL);
    REMORA_ASSIGN_OR_RETURN(const Ref<HostFd> directory, where.parent->PathFd());
    n = readlinkat(directory->get(), where.name.c_str(), target, sizeof(target));
  }
  if (n < 0) return Errno(errno == EINVAL || errno == ENOENT ? ESTALE : errno);
  return std::string(target, static_cast<size_t>(n));
}

ErrnoOr<Ref<File>> HostInode::Open(const Path& path, uint32_t flags) {
  const uint32_t mode = flags & O_ACCMODE;
  const bool writes = mode == O_WRONLY || mode == O_RDWR;
  const auto host_flags = static_cast<int>(flags & (O_ACCMODE | O_SYNC | O_DSYNC | O_NOATIME));
  Ref<HostInode> self(this);
  switch (key_.type) {
    case S_IFDIR: {
      if (writes) return Errno(EISDIR);
      REMORA_ASSIGN_OR_RETURN(Ref<HostFd> fd, OpenReal(O_RDONLY | O_DIRECTORY));
      return Ref<File>(MakeRef<HostDirectory>(std::move(self), path, flags, std::move(fd)));
    }
    case S_IFREG: {
      if (writes) REMORA_RETURN_IF_ERROR(RequireWritable());
      Ref<HostFd> fd;
      {
        MutexLock lock(&mu_);
        fd = std::move(created_fd_);
      }
      if (!fd) {
        REMORA_ASSIGN_OR_RETURN(fd, OpenReal(host_flags));
      }
      // The open file can be asked for its attributes after its name is gone.
      REMORA_RETURN_IF_ERROR(PathFd());
      return Ref<File>(MakeRef<HostFile>(std::move(self), path, flags, std::move(fd)));
    }
    case S_IFIFO:
    case S_IFCHR:
    case S_IFBLK: {
      if (fs_->options().stream.reactor == nullptr) return Errno(ENXIO);
      ErrnoOr<Ref<HostFd>> fd = OpenReal(host_flags);
      if (!fd.ok()) {
        // The host's FIFO has no reader yet, and the guest would wait for one: it has to ask again.
        const bool no_reader = fd.error_number() == ENXIO && key_.type == S_IFIFO;
        return no_reader && (flags & O_NONBLOCK) == 0 ? Errno(EAGAIN) : fd.error();
      }
      return MakeNamedHostStream(fs_->options().stream, *std::move(fd), flags, nullptr, Ref<Inode>(this), path,
                                 /*wait_for_writer=*/key_.type == S_IFIFO);
    }
    case S_IFLNK:
      return Errno(ELOOP);
    default:
      return Errno(ENXIO);
  }
}

Ref<HostWindows> HostInode::windows() {
  MutexLock lock(&mu_);
  if (!windows_) windows_ = MakeRef<HostWindows>();
  return windows_;
}

// --- The pages of mapped files ---

ErrnoOr<Ref<mm::FilePages>> HostInode::PagesForMapping(Ref<HostFd> fd, bool shared_writable, std::string name) {
  mm::MemoryContext* memory = fs_->options().stream.memory;
  if (memory == nullptr) return Errno(ENODEV);
  REMORA_ASSIGN_OR_RETURN(const struct statx status, Status());
  const Attributes attributes = host_io::ToAttributes(status);
  Ref<mm::FilePages> result, dropped;
  Ref<HostWindows> windows = this->windows();
  {
    MutexLock lock(&mu_);
    const bool stale =
        pages_ && !maybe_dirty_ &&
        (pages_size_ != attributes.size_bytes || pages_modified_.seconds != attributes.modified.seconds ||
         pages_modified_.nanos != attributes.modified.nanos);
    if (stale) dropped = std::move(pages_);
    if (!pages_) {
      auto backing = std::make_unique<HostPageBacking>(read_pool(), fd, std::move(windows));
      backing_ = backing.get();
      pages_ = MakeRef<mm::FilePages>(memory, std::move(backing),
                                      mm::Mappable::Description{attributes.device_major, attributes.device_minor,
                                                                attributes.inode_number, std::move(name)});
      pages_size_ = attributes.size_bytes;
      pages_modified_ = attributes.modified;
    }
    if (shared_writable && !maybe_dirty_) {
      backing_->SetFd(std::move(fd));  // one that can be written
      maybe_dirty_ = true;
    }
    result = pages_;
  }
  fs_->NotePages(this);
  return result;
}

Ref<mm::FilePages> HostInode::PagesIfAny(bool* dirty) {
  MutexLock lock(&mu_);
  *dirty = maybe_dirty_;
  return pages_;
}

void HostInode::NoteOwnChange() {
  {
    MutexLock lock(&mu_);
    if (!pages_) return;
  }
  const auto status = Status();
  if (!status.ok()) return;
  const Attributes attributes = host_io::ToAttributes(*status);
  MutexLock lock(&mu_);
  pages_size_ = attributes.size_bytes;
  pages_modified_ = attributes.modified;
}

bool HostInode::DropPagesIfIdle() {
  Ref<mm::FilePages> dropped;
  MutexLock lock(&mu_);
  if (!pages_) return true;
  // Count one: nobody maps it and no mmap(2) is on its way to (that would hold mu_ or a reference).
  if (pages_->ref_count() != 1 || maybe_dirty_) return false;
  dropped = std::move(pages_);
  backing_ = nullptr;
  return true;
}

}  // namespace remora::fs
