// stat, statx, access, statfs, readlink and their kin.

#include "base/abi/stat.h"

#include <algorithm>
#include <span>

#include "base/abi/fcntl.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

abi::Timespec ToTimespec(const fs::Timestamp& t) { return {t.seconds, t.nanos}; }
abi::StatxTimestamp ToStatxTimestamp(const fs::Timestamp& t) { return {t.seconds, static_cast<uint32_t>(t.nanos), 0}; }

SyscallOutcome WriteStat(SyscallContext& c, GuestAddr to, const ErrnoOr<fs::Attributes>& result) {
  if (!result.ok()) return result.error();
  const fs::Attributes& a = *result;
  abi::Stat stat{};
  stat.st_dev = abi::MakeDevice(a.device_major, a.device_minor);
  stat.st_ino = a.inode_number;
  stat.st_nlink = a.num_links;
  stat.st_mode = a.mode;
  stat.st_uid = a.uid;
  stat.st_gid = a.gid;
  stat.st_rdev = abi::MakeDevice(a.special_major, a.special_minor);
  stat.st_size = static_cast<int64_t>(a.size_bytes);
  stat.st_blksize = a.block_size;
  stat.st_blocks = static_cast<int64_t>(a.num_512_byte_blocks);
  stat.st_atim = ToTimespec(a.accessed);
  stat.st_mtim = ToTimespec(a.modified);
  stat.st_ctim = ToTimespec(a.changed);
  return c.memory().Write(to, stat);
}

// What *at calls look at: a path, or with AT_EMPTY_PATH and "" what dirfd is open on, be it a pipe.
ErrnoOr<fs::Attributes> AttributesAt(SyscallContext& c, int32_t dirfd, const std::string& path, uint32_t flags) {
  if (path.empty() && (flags & abi::kAT_EMPTY_PATH) != 0 && dirfd != abi::kAT_FDCWD) {
    REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.task().fds()->Lookup(dirfd));
    return file->inode()->GetAttributes();
  }
  REMORA_ASSIGN_OR_RETURN(const fs::WalkContext walk, c.WalkFrom(dirfd, path));
  fs::WalkOptions options;
  options.follow_last = (flags & abi::kAT_SYMLINK_NOFOLLOW) == 0;
  options.allow_empty = (flags & abi::kAT_EMPTY_PATH) != 0;
  return c.vfs().Stat(walk, path, options);
}

SyscallOutcome StatPath(SyscallContext& c, uint32_t flags) {
  REMORA_ASSIGN_OR_RETURN(const std::string path, c.PathArg(0));
  return WriteStat(c, c.addr(1), AttributesAt(c, abi::kAT_FDCWD, path, flags));
}

// A null path is as good as "" with AT_EMPTY_PATH (since Linux 6.11).
ErrnoOr<std::string> PathOrEmpty(SyscallContext& c, int i, uint32_t flags) {
  if (c.arg(i) == 0 && (flags & abi::kAT_EMPTY_PATH) != 0) return std::string();
  return c.PathArg(i);
}

SyscallOutcome Access(SyscallContext& c, int32_t dirfd, int path_arg, uint32_t mode, uint32_t flags) {
  if ((mode & ~(abi::kR_OK | abi::kW_OK | abi::kX_OK)) != 0) return Errno(EINVAL);
  if ((flags & ~(abi::kAT_EACCESS | abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH)) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const std::string path, c.PathArg(path_arg));
  REMORA_ASSIGN_OR_RETURN(fs::WalkContext walk, c.WalkFrom(dirfd, path));
  if ((flags & abi::kAT_EACCESS) == 0) {
    fs::Credentials& who = walk.credentials;
    who.euid = who.fsuid = who.uid;
    who.egid = who.fsgid = who.gid;
  }
  if (path.empty() && (flags & abi::kAT_EMPTY_PATH) != 0 && !walk.start) {
    REMORA_ASSIGN_OR_RETURN(const fs::Attributes attributes, AttributesAt(c, dirfd, path, flags));
    if (!fs::Vfs::Permits(walk.credentials, attributes, mode)) return Errno(EACCES);
    return SyscallOutcome::Return(0);
  }
  fs::WalkOptions options;
  options.follow_last = (flags & abi::kAT_SYMLINK_NOFOLLOW) == 0;
  options.allow_empty = (flags & abi::kAT_EMPTY_PATH) != 0;
  return c.vfs().Access(walk, path, mode, options);
}

SyscallOutcome WriteStatfs(SyscallContext& c, const fs::FileSystem::Statistics& s) {
  abi::Statfs out{};
  out.f_type = static_cast<int64_t>(s.magic);
  out.f_bsize = out.f_frsize = static_cast<int64_t>(s.block_size);
  out.f_blocks = s.num_blocks;
  out.f_bfree = out.f_bavail = s.num_free_blocks;
  out.f_files = s.num_files;
  out.f_ffree = s.num_free_files;
  out.f_namelen = static_cast<int64_t>(s.max_name_length);
  out.f_flags = abi::kST_VALID | abi::kST_RELATIME;
  return c.memory().Write(c.addr(1), out);
}

SyscallOutcome ReadLink(SyscallContext& c, int32_t dirfd, int path_arg) {
  const int32_t size = c.i32(path_arg + 2);
  if (size <= 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const std::string path, c.PathArg(path_arg));
  std::string target;
  if (path.empty() && dirfd != abi::kAT_FDCWD) {
    // An O_PATH descriptor of the symlink itself.
    REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.task().fds()->Lookup(dirfd));
    if (file->inode()->type() != abi::kS_IFLNK) return Errno(ENOENT);
    REMORA_ASSIGN_OR_RETURN(target, file->inode()->ReadLink());
  } else {
    REMORA_ASSIGN_OR_RETURN(const fs::WalkContext walk, c.WalkFrom(dirfd, path));
    REMORA_ASSIGN_OR_RETURN(target, c.vfs().ReadLink(walk, path));
  }
  const uint64_t length = std::min<uint64_t>(target.size(), static_cast<uint64_t>(size));
  REMORA_RETURN_IF_ERROR(c.memory().CopyOut(c.addr(path_arg + 1), std::as_bytes(std::span(target.data(), length))));
  return SyscallOutcome::Return(static_cast<int64_t>(length));
}

}  // namespace

SyscallOutcome SysStat(SyscallContext& c) { return StatPath(c, 0); }
SyscallOutcome SysLstat(SyscallContext& c) { return StatPath(c, abi::kAT_SYMLINK_NOFOLLOW); }

SyscallOutcome SysFstat(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0, /*allow_path_only=*/true));
  return WriteStat(c, c.addr(1), file->inode()->GetAttributes());
}

SyscallOutcome SysNewfstatat(SyscallContext& c) {
  const uint32_t flags = c.u32(3);
  if ((flags & ~(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_NO_AUTOMOUNT | abi::kAT_EMPTY_PATH)) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const std::string path, PathOrEmpty(c, 1, flags));
  return WriteStat(c, c.addr(2), AttributesAt(c, c.i32(0), path, flags));
}

SyscallOutcome SysStatx(SyscallContext& c) {
  const uint32_t flags = c.u32(2), mask = c.u32(3);
  if ((flags & ~(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_NO_AUTOMOUNT | abi::kAT_EMPTY_PATH | abi::kAT_STATX_SYNC_TYPE)) !=
      0)
    return Errno(EINVAL);
  if ((flags & abi::kAT_STATX_SYNC_TYPE) == abi::kAT_STATX_SYNC_TYPE) return Errno(EINVAL);
  if ((mask & abi::kSTATX__RESERVED) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const std::string path, PathOrEmpty(c, 1, flags));
  REMORA_ASSIGN_OR_RETURN(const fs::Attributes a, AttributesAt(c, c.i32(0), path, flags));
  abi::Statx out{};
  out.stx_mask = abi::kSTATX_BASIC_STATS;
  out.stx_blksize = a.block_size;
  out.stx_nlink = a.num_links;
  out.stx_uid = a.uid;
  out.stx_gid = a.gid;
  out.stx_mode = static_cast<uint16_t>(a.mode);
  out.stx_ino = a.inode_number;
  out.stx_size = a.size_bytes;
  out.stx_blocks = a.num_512_byte_blocks;
  out.stx_atime = ToStatxTimestamp(a.accessed);
  out.stx_ctime = ToStatxTimestamp(a.changed);
  out.stx_mtime = ToStatxTimestamp(a.modified);
  if (a.born.seconds != 0) {
    out.stx_btime = ToStatxTimestamp(a.born);
    out.stx_mask |= abi::kSTATX_BTIME;
  }
  out.stx_rdev_major = a.special_major;
  out.stx_rdev_minor = a.special_minor;
  out.stx_dev_major = a.device_major;
  out.stx_dev_minor = a.device_minor;
  return c.memory().Write(c.addr(4), out);
}

SyscallOutcome SysAccess(SyscallContext& c) { return Access(c, abi::kAT_FDCWD, 0, c.u32(1), 0); }
SyscallOutcome SysFaccessat(SyscallContext& c) { return Access(c, c.i32(0), 1, c.u32(2), 0); }
SyscallOutcome SysFaccessat2(SyscallContext& c) { return Access(c, c.i32(0), 1, c.u32(2), c.u32(3)); }

SyscallOutcome SysStatfs(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const std::string path, c.PathArg(0));
  REMORA_ASSIGN_OR_RETURN(const auto statistics, c.vfs().GetStatistics(c.WalkFromCwd(), path));
  return WriteStatfs(c, statistics);
}

SyscallOutcome SysFstatfs(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0, /*allow_path_only=*/true));
  return WriteStatfs(c, file->inode()->file_system().GetStatistics());
}

SyscallOutcome SysReadlink(SyscallContext& c) { return ReadLink(c, abi::kAT_FDCWD, 0); }
SyscallOutcome SysReadlinkat(SyscallContext& c) { return ReadLink(c, c.i32(0), 1); }

// As a file system without handles answers, once the name was found.
SyscallOutcome SysNameToHandleAt(SyscallContext& c) {
  const uint32_t flags = c.u32(4);
  if ((flags & ~(abi::kAT_SYMLINK_FOLLOW | abi::kAT_EMPTY_PATH)) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const std::string path, c.PathArg(1));
  if (path.empty() && (flags & abi::kAT_EMPTY_PATH) == 0) return Errno(ENOENT);
  REMORA_RETURN_IF_ERROR(c.WalkFrom(c.i32(0), path));
  return Errno(EOPNOTSUPP);
}

}  // namespace remora::syscalls
