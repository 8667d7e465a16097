// Permissions, owners, times, sizes.

#include <optional>

#include "base/abi/fcntl.h"
#include "base/abi/inotify.h"
#include "base/abi/stat.h"
#include "base/abi/time.h"
#include "fs/watch_events.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

SyscallOutcome ChangeFile(SyscallContext& c, const Ref<fs::File>& file, const fs::AttributeChange& change) {
  return c.vfs().SetAttributes(c.WalkFromCwd(), file->path(), *file->inode(), change);
}

SyscallOutcome ChangeAt(SyscallContext& c, int32_t dirfd, int path_arg, uint32_t flags,
                        const fs::AttributeChange& change) {
  if ((flags & ~(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH)) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const std::string path, c.PathArg(path_arg));
  REMORA_ASSIGN_OR_RETURN(const fs::WalkContext walk, c.WalkFrom(dirfd, path));
  if (path.empty() && (flags & abi::kAT_EMPTY_PATH) != 0 && !walk.start) {
    REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.task().fds()->Lookup(dirfd));
    return ChangeFile(c, file, change);
  }
  fs::WalkOptions options;
  options.follow_last = (flags & abi::kAT_SYMLINK_NOFOLLOW) == 0;
  options.allow_empty = (flags & abi::kAT_EMPTY_PATH) != 0;
  return c.vfs().SetAttributes(walk, path, change, options);
}

fs::AttributeChange Permissions(uint32_t mode) {
  fs::AttributeChange change;
  change.permissions = mode & 07777;
  return change;
}

fs::AttributeChange Owner(uint32_t uid, uint32_t gid) {
  fs::AttributeChange change;
  if (uid != ~0u) change.uid = uid;
  if (gid != ~0u) change.gid = gid;
  return change;
}

fs::Timestamp Now(SyscallContext& c) {
  const int64_t nanos = c.kernel().clock().RealtimeNanos();
  return {nanos / kNanosPerSecond, nanos % kNanosPerSecond};
}

fs::AttributeChange PresentTimes(SyscallContext& c) {
  fs::AttributeChange change;
  change.accessed = change.modified = Now(c);
  change.dates_are_now = true;
  return change;
}

// One of utimensat's two times; nullopt: leave it.
ErrnoOr<std::optional<fs::Timestamp>> OneTime(SyscallContext& c, const abi::Timespec& t) {
  if (t.tv_nsec == abi::kUTIME_OMIT) return std::optional<fs::Timestamp>();
  if (t.tv_nsec == abi::kUTIME_NOW) return std::optional(Now(c));
  if (t.tv_nsec < 0 || t.tv_nsec >= kNanosPerSecond) return Errno(EINVAL);
  return std::optional(fs::Timestamp{t.tv_sec, t.tv_nsec});
}

ErrnoOr<fs::AttributeChange> TimesFromTimeval(SyscallContext& c, GuestAddr from) {
  fs::AttributeChange change;
  if (from.is_null()) return PresentTimes(c);
  struct Pair {
    abi::Timeval accessed, modified;
  };
  REMORA_ASSIGN_OR_RETURN(const Pair pair, c.memory().Read<Pair>(from));
  for (const abi::Timeval& t : {pair.accessed, pair.modified})
    if (t.tv_usec < 0 || t.tv_usec >= 1'000'000) return Errno(EINVAL);
  change.accessed = fs::Timestamp{pair.accessed.tv_sec, pair.accessed.tv_usec * 1000};
  change.modified = fs::Timestamp{pair.modified.tv_sec, pair.modified.tv_usec * 1000};
  return change;
}

}  // namespace

SyscallOutcome SysChmod(SyscallContext& c) { return ChangeAt(c, abi::kAT_FDCWD, 0, 0, Permissions(c.u32(1))); }
SyscallOutcome SysFchmodat(SyscallContext& c) { return ChangeAt(c, c.i32(0), 1, 0, Permissions(c.u32(2))); }
SyscallOutcome SysFchmodat2(SyscallContext& c) { return ChangeAt(c, c.i32(0), 1, c.u32(3), Permissions(c.u32(2))); }
SyscallOutcome SysFchmod(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  return ChangeFile(c, file, Permissions(c.u32(1)));
}

SyscallOutcome SysChown(SyscallContext& c) { return ChangeAt(c, abi::kAT_FDCWD, 0, 0, Owner(c.u32(1), c.u32(2))); }
SyscallOutcome SysLchown(SyscallContext& c) {
  return ChangeAt(c, abi::kAT_FDCWD, 0, abi::kAT_SYMLINK_NOFOLLOW, Owner(c.u32(1), c.u32(2)));
}
SyscallOutcome SysFchownat(SyscallContext& c) { return ChangeAt(c, c.i32(0), 1, c.u32(4), Owner(c.u32(2), c.u32(3))); }
SyscallOutcome SysFchown(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  return ChangeFile(c, file, Owner(c.u32(1), c.u32(2)));
}

SyscallOutcome SysUtimensat(SyscallContext& c) {
  fs::AttributeChange change;
  if (c.addr(2).is_null()) {
    change = PresentTimes(c);
  } else {
    struct Pair {
      abi::Timespec accessed, modified;
    };
    REMORA_ASSIGN_OR_RETURN(const Pair pair, c.memory().Read<Pair>(c.addr(2)));
    // Linux leaves at once when there is nothing to do, whatever the path is.
    if (pair.accessed.tv_nsec == abi::kUTIME_OMIT && pair.modified.tv_nsec == abi::kUTIME_OMIT)
      return SyscallOutcome::Return(0);
    REMORA_ASSIGN_OR_RETURN(change.accessed, OneTime(c, pair.accessed));
    REMORA_ASSIGN_OR_RETURN(change.modified, OneTime(c, pair.modified));
    change.dates_are_now = pair.accessed.tv_nsec == abi::kUTIME_NOW && pair.modified.tv_nsec == abi::kUTIME_NOW;
  }
  if (!c.addr(1).is_null()) return ChangeAt(c, c.i32(0), 1, c.u32(3), change);
  if (c.i32(0) == abi::kAT_FDCWD) return Errno(EFAULT);
  if (c.u32(3) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  return ChangeFile(c, file, change);
}

SyscallOutcome SysUtimes(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const fs::AttributeChange change, TimesFromTimeval(c, c.addr(1)));
  return ChangeAt(c, abi::kAT_FDCWD, 0, 0, change);
}

SyscallOutcome SysFutimesat(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const fs::AttributeChange change, TimesFromTimeval(c, c.addr(2)));
  if (!c.addr(1).is_null()) return ChangeAt(c, c.i32(0), 1, 0, change);
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  return ChangeFile(c, file, change);
}

SyscallOutcome SysUtime(SyscallContext& c) {
  fs::AttributeChange change;
  if (c.addr(1).is_null()) {
    change = PresentTimes(c);
  } else {
    REMORA_ASSIGN_OR_RETURN(const auto times, c.memory().Read<abi::Utimbuf>(c.addr(1)));
    change.accessed = fs::Timestamp{times.actime, 0};
    change.modified = fs::Timestamp{times.modtime, 0};
  }
  return ChangeAt(c, abi::kAT_FDCWD, 0, 0, change);
}

SyscallOutcome SysTruncate(SyscallContext& c) {
  if (c.i64(1) < 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const std::string path, c.PathArg(0));
  const ErrnoOr<void> done = c.vfs().Truncate(c.WalkFromCwd(), path, c.arg(1));
  return done.error_number() == EAGAIN ? c.ParkForSlowFile() : SyscallOutcome(done);
}

SyscallOutcome SysFtruncate(SyscallContext& c) {
  if (c.i64(1) < 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  if (file->inode()->type() != abi::kS_IFREG || !file->writable()) return Errno(EINVAL);
  return RunOnFile(c, file, [&]() -> ErrnoOr<void> {
    REMORA_RETURN_IF_ERROR(file->Truncate(c.arg(1)));
    if (file->path()) fs::Tell(*file->path().dentry, abi::kIN_MODIFY);
    return Ok();
  });
}

SyscallOutcome SysFallocate(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  if (c.i64(2) < 0 || c.i64(3) <= 0) return Errno(EINVAL);
  const uint32_t mode = c.u32(1);
  constexpr uint32_t kKnown = abi::kFALLOC_FL_KEEP_SIZE | abi::kFALLOC_FL_PUNCH_HOLE | abi::kFALLOC_FL_COLLAPSE_RANGE |
                              abi::kFALLOC_FL_ZERO_RANGE | abi::kFALLOC_FL_INSERT_RANGE | abi::kFALLOC_FL_UNSHARE_RANGE;
  if ((mode & ~kKnown) != 0) return Errno(EOPNOTSUPP);
  if ((mode & abi::kFALLOC_FL_PUNCH_HOLE) != 0 && (mode & abi::kFALLOC_FL_KEEP_SIZE) == 0) return Errno(EOPNOTSUPP);
  if (!file->writable()) return Errno(EBADF);
  switch (file->inode()->type()) {
    case abi::kS_IFREG:
      break;
    case abi::kS_IFIFO:
      return Errno(ESPIPE);
    case abi::kS_IFDIR:
      return Errno(EISDIR);
    default:
      return Errno(ENODEV);
  }
  if (c.i64(2) > INT64_MAX - c.i64(3)) return Errno(EFBIG);
  return RunOnFile(c, file, [&]() -> ErrnoOr<void> {
    REMORA_RETURN_IF_ERROR(file->Allocate(static_cast<int>(mode), c.arg(2), c.arg(3)));
    if (file->path()) fs::Tell(*file->path().dentry, abi::kIN_MODIFY);
    return Ok();
  });
}

SyscallOutcome SysUmask(SyscallContext& c) {
  return SyscallOutcome::Return(c.task().fs_context()->exchange_umask(c.u32(0) & 0777));
}

}  // namespace remora::syscalls
