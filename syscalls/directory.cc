// Names in directories: getdents, the cwd, mkdir, unlink, rename, link, mknod, and their *at forms.

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "base/abi/fcntl.h"
#include "base/abi/stat.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

// Records are collected here and copied out behind the directory's back: a page fault of the guest's buffer may need
// the file system itself. More entries than fit come with the next call.
constexpr uint64_t kDirentBufferBytes = 8192;

class DirentWriter {
 public:
  DirentWriter(bool wide, uint64_t capacity) : wide_(wide), capacity_(std::min(capacity, kDirentBufferBytes)) {}

  bool Add(const fs::DirectoryEntry& entry) {
    const uint64_t record =
        wide_ ? abi::Dirent64RecordBytes(entry.name.size()) : abi::DirentRecordBytes(entry.name.size());
    if (record > capacity_ - used_) {
      full_ = true;
      return false;
    }
    std::byte* at = buffer_.data() + used_;
    std::memset(at, 0, record);
    uint64_t name_offset = 0;
    if (wide_) {
      const abi::Dirent64Head head{entry.inode_number, static_cast<int64_t>(entry.next_offset),
                                   static_cast<uint16_t>(record), entry.type};
      std::memcpy(at, &head, sizeof(head));
      name_offset = sizeof(head);
    } else {
      const abi::DirentHead head{entry.inode_number, entry.next_offset, static_cast<uint16_t>(record)};
      std::memcpy(at, &head, sizeof(head));
      at[record - 1] = std::byte{entry.type};
      name_offset = sizeof(head);
    }
    std::memcpy(at + name_offset, entry.name.data(), entry.name.size());
    used_ += record;
    next_offset_ = entry.next_offset;
    return true;
  }

  bool nothing_fitted() const { return full_ && used_ == 0; }
  std::span<const std::byte> bytes() const { return {buffer_.data(), used_}; }
  uint64_t next_offset() const { return next_offset_; }

 private:
  const bool wide_;
  const uint64_t capacity_;
  uint64_t used_ = 0;
  uint64_t next_offset_ = 0;
  bool full_ = false;
  std::array<std::byte, kDirentBufferBytes> buffer_;
};

ErrnoOr<uint64_t> FillDirents(SyscallContext& c, fs::File& file, bool wide) {
  DirentWriter writer(wide, c.u32(2));
  MutexLock lock(&file.position_mutex());
  REMORA_RETURN_IF_ERROR(
      file.ReadDirectory(file.position(), [&](const fs::DirectoryEntry& entry) { return writer.Add(entry); }));
  if (writer.nothing_fitted()) return Errno(EINVAL);
  if (writer.bytes().empty()) return uint64_t{0};
  REMORA_RETURN_IF_ERROR(c.memory().CopyOut(c.addr(1), writer.bytes()));
  file.set_position(writer.next_offset());
  return writer.bytes().size();
}

SyscallOutcome Getdents(SyscallContext& c, bool wide) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  if (file->inode()->type() != abi::kS_IFDIR) return Errno(ENOTDIR);
  return RunOnFile(c, file, [&] { return FillDirents(c, *file, wide); });
}

// A path argument and where it starts.
struct Place {
  fs::WalkContext walk;
  std::string path;
};
ErrnoOr<Place> PlaceArg(SyscallContext& c, int32_t dirfd, int path_arg) {
  Place place;
  REMORA_ASSIGN_OR_RETURN(place.path, c.PathArg(path_arg));
  REMORA_ASSIGN_OR_RETURN(place.walk, c.WalkFrom(dirfd, place.path));
  return place;
}

SyscallOutcome MakeDirectory(SyscallContext& c, int32_t dirfd, int path_arg) {
  REMORA_ASSIGN_OR_RETURN(const Place at, PlaceArg(c, dirfd, path_arg));
  return c.vfs().MakeDirectory(at.walk, at.path, c.ApplyUmask(c.u32(path_arg + 1) & 01777));
}

SyscallOutcome MakeNode(SyscallContext& c, int32_t dirfd, int path_arg) {
  REMORA_ASSIGN_OR_RETURN(const Place at, PlaceArg(c, dirfd, path_arg));
  uint32_t mode = c.u32(path_arg + 1);
  const uint32_t device = c.u32(path_arg + 2);
  switch (mode & abi::kS_IFMT) {
    case 0:
      mode |= abi::kS_IFREG;
      break;
    case abi::kS_IFREG:
    case abi::kS_IFIFO:
    case abi::kS_IFSOCK:
    case abi::kS_IFCHR:
    case abi::kS_IFBLK:
      break;
    case abi::kS_IFDIR:
      return Errno(EPERM);
    default:
      return Errno(EINVAL);
  }
  const uint32_t permissions = c.ApplyUmask(mode & 07777);
  return c.vfs().MakeNode(at.walk, at.path, (mode & abi::kS_IFMT) | permissions, abi::DeviceMajor(device),
                          abi::DeviceMinor(device));
}

SyscallOutcome Rename(SyscallContext& c, int32_t from_fd, int from_arg, int32_t to_fd, int to_arg, uint32_t flags) {
  if ((flags & ~(abi::kRENAME_NOREPLACE | abi::kRENAME_EXCHANGE)) != 0) return Errno(EINVAL);
  if (flags == (abi::kRENAME_NOREPLACE | abi::kRENAME_EXCHANGE)) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Place from, PlaceArg(c, from_fd, from_arg));
  REMORA_ASSIGN_OR_RETURN(const Place to, PlaceArg(c, to_fd, to_arg));
  return c.vfs().Rename(from.walk, from.path, to.walk, to.path, flags);
}

SyscallOutcome Link(SyscallContext& c, int32_t from_fd, int from_arg, int32_t to_fd, int to_arg, uint32_t flags) {
  if ((flags & ~(abi::kAT_SYMLINK_FOLLOW | abi::kAT_EMPTY_PATH)) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Place from, PlaceArg(c, from_fd, from_arg));
  REMORA_ASSIGN_OR_RETURN(const Place to, PlaceArg(c, to_fd, to_arg));
  // Needs CAP_DAC_READ_SEARCH; without it an empty path is no path.
  if (from.path.empty() && !from.walk.credentials.privileged()) return Errno(ENOENT);
  fs::WalkOptions options;
  options.follow_last = (flags & abi::kAT_SYMLINK_FOLLOW) != 0;
  options.allow_empty = (flags & abi::kAT_EMPTY_PATH) != 0;
  return c.vfs().Link(from.walk, from.path, options, to.walk, to.path);
}

SyscallOutcome Symlink(SyscallContext& c, int target_arg, int32_t dirfd, int path_arg) {
  REMORA_ASSIGN_OR_RETURN(const std::string target, c.PathArg(target_arg));
  if (target.empty()) return Errno(ENOENT);
  REMORA_ASSIGN_OR_RETURN(const Place at, PlaceArg(c, dirfd, path_arg));
  return c.vfs().MakeSymlink(at.walk, target, at.path);
}

// A directory that may be searched: what chdir and chroot want.
ErrnoOr<fs::Path> SearchableDirectory(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Place at, PlaceArg(c, abi::kAT_FDCWD, 0));
  fs::WalkOptions options;
  options.must_be_directory = true;
  REMORA_ASSIGN_OR_RETURN(fs::Path path, c.vfs().Resolve(at.walk, at.path, options));
  REMORA_RETURN_IF_ERROR(c.vfs().Access(at.walk, at.path, abi::kX_OK, options));
  return path;
}

}  // namespace

SyscallOutcome SysGetdents64(SyscallContext& c) { return Getdents(c, true); }
SyscallOutcome SysGetdents(SyscallContext& c) { return Getdents(c, false); }

SyscallOutcome SysGetcwd(SyscallContext& c) {
  const auto& context = c.task().fs_context();
  const std::string name = c.vfs().NameOf(context->cwd(), context->root());
  if (name.ends_with(" (deleted)")) return Errno(ENOENT);
  const uint64_t length = name.size() + 1;
  if (length > c.arg(1)) return Errno(ERANGE);
  REMORA_RETURN_IF_ERROR(c.memory().CopyOut(c.addr(0), std::as_bytes(std::span(name.c_str(), length))));
  return SyscallOutcome::Return(static_cast<int64_t>(length));
}

SyscallOutcome SysChdir(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(fs::Path path, SearchableDirectory(c));
  c.task().fs_context()->set_cwd(std::move(path));
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysFchdir(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0, /*allow_path_only=*/true));
  if (file->inode()->type() != abi::kS_IFDIR) return Errno(ENOTDIR);
  REMORA_ASSIGN_OR_RETURN(const fs::Attributes attributes, file->inode()->GetAttributes());
  if (!fs::Vfs::Permits(*c.task().credentials(), attributes, abi::kX_OK)) return Errno(EACCES);
  c.task().fs_context()->set_cwd(file->path());
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysChroot(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(fs::Path path, SearchableDirectory(c));
  if (!c.task().credentials()->privileged()) return Errno(EPERM);
  c.task().fs_context()->set_root(std::move(path));
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysMkdir(SyscallContext& c) { return MakeDirectory(c, abi::kAT_FDCWD, 0); }
SyscallOutcome SysMkdirat(SyscallContext& c) { return MakeDirectory(c, c.i32(0), 1); }
SyscallOutcome SysMknod(SyscallContext& c) { return MakeNode(c, abi::kAT_FDCWD, 0); }
SyscallOutcome SysMknodat(SyscallContext& c) { return MakeNode(c, c.i32(0), 1); }

SyscallOutcome SysRmdir(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Place at, PlaceArg(c, abi::kAT_FDCWD, 0));
  return c.vfs().RemoveDirectory(at.walk, at.path);
}
SyscallOutcome SysUnlink(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Place at, PlaceArg(c, abi::kAT_FDCWD, 0));
  return c.vfs().Unlink(at.walk, at.path);
}
SyscallOutcome SysUnlinkat(SyscallContext& c) {
  const uint32_t flags = c.u32(2);
  if ((flags & ~abi::kAT_REMOVEDIR) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Place at, PlaceArg(c, c.i32(0), 1));
  return flags != 0 ? c.vfs().RemoveDirectory(at.walk, at.path) : c.vfs().Unlink(at.walk, at.path);
}

SyscallOutcome SysRename(SyscallContext& c) { return Rename(c, abi::kAT_FDCWD, 0, abi::kAT_FDCWD, 1, 0); }
SyscallOutcome SysRenameat(SyscallContext& c) { return Rename(c, c.i32(0), 1, c.i32(2), 3, 0); }
SyscallOutcome SysRenameat2(SyscallContext& c) { return Rename(c, c.i32(0), 1, c.i32(2), 3, c.u32(4)); }
SyscallOutcome SysLink(SyscallContext& c) { return Link(c, abi::kAT_FDCWD, 0, abi::kAT_FDCWD, 1, 0); }
SyscallOutcome SysLinkat(SyscallContext& c) { return Link(c, c.i32(0), 1, c.i32(2), 3, c.u32(4)); }
SyscallOutcome SysSymlink(SyscallContext& c) { return Symlink(c, 0, abi::kAT_FDCWD, 1); }
SyscallOutcome SysSymlinkat(SyscallContext& c) { return Symlink(c, 0, c.i32(1), 2); }

}  // namespace remora::syscalls
