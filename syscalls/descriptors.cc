// Descriptors and what they stand for: dup, fcntl, close, pipe, eventfd, memfd, lseek, ioctl, fsync.

#include <algorithm>
#include <array>

#include "base/abi/fcntl.h"
#include "base/abi/ioctl.h"
#include "base/abi/poll.h"
#include "base/abi/stat.h"
#include "base/abi/termios.h"
#include "fs/special/eventfd.h"
#include "fs/special/pipe.h"
#include "fs/tmpfs/memfd.h"
#include "mm/address_space.h"
#include "proc/terminal_caller.h"
#include "syscalls/context.h"
#include "syscalls/file_locks.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

SyscallOutcome DuplicateTo(SyscallContext& c, int32_t to, bool close_on_exec) {
  REMORA_ASSIGN_OR_RETURN(Ref<fs::File> file, c.FileArg(0, /*allow_path_only=*/true));
  REMORA_RETURN_IF_ERROR(c.task().fds()->Set(to, std::move(file), close_on_exec, c.FdLimit()));
  return SyscallOutcome::Return(to);
}

SyscallOutcome DuplicateFrom(SyscallContext& c, Ref<fs::File> file, bool close_on_exec) {
  const uint32_t limit = c.FdLimit();
  if (c.arg(2) >= limit) return Errno(EINVAL);
  return c.task().fds()->Add(std::move(file), close_on_exec, c.i32(2), limit);
}

SyscallOutcome MakePipe(SyscallContext& c, uint32_t flags) {
  if ((flags & ~(abi::kO_CLOEXEC | abi::kO_NONBLOCK | abi::kO_DIRECT)) != 0) return Errno(EINVAL);
  fs::PipeEnds ends =
      fs::MakePipe(c.vfs().anonymous_files(), *c.task().credentials(), flags & (abi::kO_NONBLOCK | abi::kO_DIRECT));
  const bool close_on_exec = (flags & abi::kO_CLOEXEC) != 0;
  fs::FdTable& fds = *c.task().fds();
  REMORA_ASSIGN_OR_RETURN(const int32_t reader, c.AddFd(std::move(ends.reader), close_on_exec));
  const auto writer = c.AddFd(std::move(ends.writer), close_on_exec);
  if (!writer.ok()) {
    (void)fds.Close(reader);
    return writer.error();
  }
  const auto written = c.memory().Write(c.addr(0), std::array<int32_t, 2>{reader, *writer});
  if (!written.ok()) {
    (void)fds.Close(reader);
    (void)fds.Close(*writer);
  }
  return written;
}

SyscallOutcome MakeEventFd(SyscallContext& c, uint32_t flags) {
  if ((flags & ~(abi::kEFD_SEMAPHORE | abi::kEFD_NONBLOCK | abi::kEFD_CLOEXEC)) != 0) return Errno(EINVAL);
  return c.AddFd(fs::MakeEventFd(c.vfs().anonymous_files(), c.u32(0), flags & ~abi::kEFD_CLOEXEC),
                 (flags & abi::kEFD_CLOEXEC) != 0);
}

// F_SEAL_WRITE is refused while the caller may write to the object through a mapping.
SyscallOutcome AddSeals(SyscallContext& c, fs::File& file, uint32_t seals) {
  if (!file.writable()) return Errno(EPERM);
  REMORA_RETURN_IF_ERROR(file.Seals());
  if ((seals & abi::kF_SEAL_WRITE) != 0) {
    REMORA_ASSIGN_OR_RETURN(const Ref<mm::Mappable> object, file.Mappable());
    bool mapped = false;
    c.task().space()->ForEachMapping([&](const mm::MappingInfo& mapping) {
      mapped |= mapping.shared && mapping.object.get() == object.get() && mapping.protection.writable();
    });
    if (mapped) return Errno(EBUSY);
  }
  return file.AddSeals(seals);
}

// Sets one status flag, as FIONBIO and FIOASYNC do.
SyscallOutcome SetFlagFromInt(SyscallContext& c, fs::File& file, uint32_t flag) {
  REMORA_ASSIGN_OR_RETURN(const int32_t on, c.memory().Read<int32_t>(c.addr(2)));
  file.SetStatusFlags(on != 0 ? file.flags() | flag : file.flags() & ~flag);
  return SyscallOutcome::Return(0);
}

// The new position; `size` is called only where it is needed.
ErrnoOr<uint64_t> NewPosition(fs::File& file, uint64_t position, int64_t offset, int32_t whence) {
  int64_t base = 0;
  switch (whence) {
    case abi::kSEEK_SET:
      break;
    case abi::kSEEK_CUR:
      base = static_cast<int64_t>(position);
      break;
    case abi::kSEEK_END:
    case abi::kSEEK_DATA:
    case abi::kSEEK_HOLE: {
      REMORA_ASSIGN_OR_RETURN(const uint64_t size, file.SizeForSeek());
      if (whence == abi::kSEEK_END) {
        base = static_cast<int64_t>(size);
        break;
      }
      // A file is one piece of data with a hole behind its end: what Linux's generic_file_llseek answers.
      if (offset < 0 || static_cast<uint64_t>(offset) >= size) return Errno(ENXIO);
      return whence == abi::kSEEK_DATA ? static_cast<uint64_t>(offset) : size;
    }
    default:
      return Errno(EINVAL);
  }
  int64_t result = 0;
  if (__builtin_add_overflow(base, offset, &result)) return Errno(EOVERFLOW);
  if (result < 0) return Errno(EINVAL);
  return static_cast<uint64_t>(result);
}

}  // namespace

SyscallOutcome SysDup(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(Ref<fs::File> file, c.FileArg(0, /*allow_path_only=*/true));
  return c.AddFd(std::move(file), false);
}

SyscallOutcome SysDup2(SyscallContext& c) {
  if (c.i32(0) != c.i32(1)) return DuplicateTo(c, c.i32(1), false);
  REMORA_RETURN_IF_ERROR(c.FileArg(0, /*allow_path_only=*/true));
  return SyscallOutcome::Return(c.i32(1));
}

SyscallOutcome SysDup3(SyscallContext& c) {
  if ((c.u32(2) & ~abi::kO_CLOEXEC) != 0 || c.i32(0) == c.i32(1)) return Errno(EINVAL);
  return DuplicateTo(c, c.i32(1), c.u32(2) != 0);
}

SyscallOutcome SysFcntl(SyscallContext& c) {
  const int32_t command = c.i32(1);
  // F_SETLKW that waits: it goes on with the file it began with.
  if (auto* waiting = c.state<FileWait>()) return RecordLock(c, Ref<fs::File>(waiting->file), command);
  REMORA_ASSIGN_OR_RETURN(Ref<fs::File> file, c.FileArg(0, /*allow_path_only=*/true));
  const bool path_only = (file->flags() & abi::kO_PATH) != 0;
  fs::FdTable& fds = *c.task().fds();
  switch (command) {
    case abi::kF_DUPFD:
      return DuplicateFrom(c, std::move(file), false);
    case abi::kF_DUPFD_CLOEXEC:
      return DuplicateFrom(c, std::move(file), true);
    case abi::kF_GETFD: {
      REMORA_ASSIGN_OR_RETURN(const bool on, fds.close_on_exec(c.i32(0)));
      return SyscallOutcome::Return(on ? abi::kFD_CLOEXEC : 0);
    }
    case abi::kF_SETFD:
      return fds.set_close_on_exec(c.i32(0), (c.arg(2) & abi::kFD_CLOEXEC) != 0);
    case abi::kF_GETFL:
      // Linux forgets the flags that mattered only while it opened.
      return SyscallOutcome::Return(file->flags() &
                                    ~(abi::kO_CREAT | abi::kO_EXCL | abi::kO_NOCTTY | abi::kO_TRUNC | abi::kO_CLOEXEC));
    default:
      break;
  }
  if (path_only) return Errno(EBADF);
  switch (command) {
    case abi::kF_SETFL:
      file->SetStatusFlags(c.u32(2));
      return SyscallOutcome::Return(0);
    case abi::kF_GETLK:
    case abi::kF_SETLK:
    case abi::kF_SETLKW:
    case abi::kF_OFD_GETLK:
    case abi::kF_OFD_SETLK:
    case abi::kF_OFD_SETLKW:
      return RecordLock(c, file, command);
    case abi::kF_GET_SEALS:
      return file->Seals();
    case abi::kF_ADD_SEALS:
      return AddSeals(c, *file, c.u32(2));
    case abi::kF_GETPIPE_SZ:
      return file->PipeCapacity();
    case abi::kF_SETPIPE_SZ:
      return file->SetPipeCapacity(c.u32(2));
    case abi::kF_GETOWN:
    case abi::kF_GETSIG:
      return SyscallOutcome::Return(0);
    case abi::kF_GETLEASE:
      return SyscallOutcome::Return(abi::kF_UNLCK);
    default:
      return Errno(EINVAL);
  }
}

SyscallOutcome SysClose(SyscallContext& c) { return c.task().fds()->Close(c.i32(0)); }

SyscallOutcome SysCloseRange(SyscallContext& c) {
  const uint32_t first = c.u32(0), last = c.u32(1), flags = c.u32(2);
  if ((flags & ~(abi::kCLOSE_RANGE_CLOEXEC | abi::kCLOSE_RANGE_UNSHARE)) != 0 || first > last) return Errno(EINVAL);
  if ((flags & abi::kCLOSE_RANGE_UNSHARE) != 0) c.task().ReplaceFds(c.task().fds()->Clone());
  return c.task().fds()->CloseRange(first, last, (flags & abi::kCLOSE_RANGE_CLOEXEC) != 0);
}

SyscallOutcome SysPipe(SyscallContext& c) { return MakePipe(c, 0); }
SyscallOutcome SysPipe2(SyscallContext& c) { return MakePipe(c, c.u32(1)); }
SyscallOutcome SysEventfd(SyscallContext& c) { return MakeEventFd(c, 0); }
SyscallOutcome SysMemfdCreate(SyscallContext& c) {
  constexpr uint64_t kMaxNameBytes = 249;
  constexpr uint32_t kKnown = abi::kMFD_CLOEXEC | abi::kMFD_ALLOW_SEALING | abi::kMFD_NOEXEC_SEAL | abi::kMFD_EXEC;
  const uint32_t flags = c.u32(1);
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);  // MFD_HUGETLB too: there are no huge pages
  if ((flags & abi::kMFD_NOEXEC_SEAL) != 0 && (flags & abi::kMFD_EXEC) != 0) return Errno(EINVAL);
  auto name = c.memory().ReadString(c.addr(0), kMaxNameBytes + 1);
  if (!name.ok()) return Errno(name.error_number() == ENAMETOOLONG ? EINVAL : name.error_number());
  const auto credentials = c.task().credentials();
  return c.AddFd(fs::MakeMemfd(c.vfs().anonymous_files(), &c.kernel().memory(), *name, flags, credentials->fsuid,
                               credentials->fsgid),
                 (flags & abi::kMFD_CLOEXEC) != 0);
}

SyscallOutcome SysEventfd2(SyscallContext& c) { return MakeEventFd(c, c.u32(1)); }

SyscallOutcome SysIoctl(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  const uint32_t request = c.u32(1);
  switch (request) {
    case abi::kFIOCLEX:
    case abi::kFIONCLEX:
      return c.task().fds()->set_close_on_exec(c.i32(0), request == abi::kFIOCLEX);
    case abi::kFIONBIO:
      return SetFlagFromInt(c, *file, abi::kO_NONBLOCK);
    case abi::kFIONREAD:
      if (file->inode()->type() == abi::kS_IFREG) {
        REMORA_ASSIGN_OR_RETURN(const uint64_t size, file->SizeForSeek());
        uint64_t position = 0;
        {
          MutexLock lock(&file->position_mutex());
          position = file->position();
        }
        const auto left = static_cast<int32_t>(static_cast<int64_t>(size) - static_cast<int64_t>(position));
        return c.memory().Write(c.addr(2), left);
      }
      break;
    case abi::kTIOCGPTPEER: {
      const auto flags = static_cast<uint32_t>(c.arg(2));
      REMORA_ASSIGN_OR_RETURN(Ref<fs::File> peer, file->OpenPeer(flags));
      return c.AddFd(std::move(peer), (flags & abi::kO_CLOEXEC) != 0);
    }
    default:
      break;
  }
  proc::TaskTerminalCaller caller(c.task());
  const fs::IoctlContext context{c.memory(), &caller};
  return RunOnFile(c, file, [&] { return file->Ioctl(context, request, c.arg(2)); });
}

SyscallOutcome SysLseek(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  const int32_t whence = c.i32(2);
  if (whence < abi::kSEEK_SET || whence > abi::kSEEK_HOLE) return Errno(EINVAL);
  const bool directory = file->inode()->type() == abi::kS_IFDIR;
  if (!file->seekable() && !directory) return Errno(ESPIPE);
  MutexLock lock(&file->position_mutex());
  REMORA_ASSIGN_OR_RETURN(const uint64_t position, NewPosition(*file, file->position(), c.i64(1), whence));
  file->set_position(position);
  return SyscallOutcome::Return(static_cast<int64_t>(position));
}

SyscallOutcome SysFsync(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  return RunOnFile(c, file, [&] { return file->Sync(); });
}
SyscallOutcome SysFdatasync(SyscallContext& c) { return SysFsync(c); }
SyscallOutcome SysSyncFileRange(SyscallContext& c) {
  if (c.i64(1) < 0 || c.i64(2) < 0 || (c.u32(3) & ~7u) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  const uint32_t type = file->inode()->type();
  if (type != abi::kS_IFREG && type != abi::kS_IFDIR && type != abi::kS_IFBLK) return Errno(ESPIPE);
  return RunOnFile(c, file, [&] { return file->Sync(); });
}
SyscallOutcome SysSyncfs(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  const auto synced = file->Sync();
  // What has nothing to write back (a pipe) is no error here.
  return synced.ok() || synced.error_number() == EINVAL ? SyscallOutcome::Return(0) : SyscallOutcome(synced);
}

// Writes back what this process has open: a file that nobody has open was written back by its last close.
SyscallOutcome SysSync(SyscallContext& c) {
  c.task().fds()->ForEach(0, [](int32_t, const Ref<fs::File>& file, bool) {
    if (file->inode()->type() == abi::kS_IFREG && file->writable()) (void)file->Sync();
    return true;
  });
  return SyscallOutcome::Return(0);
}

SyscallOutcome SysFadvise64(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  if (file->inode()->type() == abi::kS_IFIFO) return Errno(ESPIPE);
  if (c.i64(2) < 0 || c.i32(3) < abi::kPOSIX_FADV_NORMAL || c.i32(3) > abi::kPOSIX_FADV_NOREUSE) return Errno(EINVAL);
  return SyscallOutcome::Return(0);
}
SyscallOutcome SysReadahead(SyscallContext& c) {
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> file, c.FileArg(0));
  if (!file->readable()) return Errno(EBADF);
  const uint32_t type = file->inode()->type();
  if (type != abi::kS_IFREG && type != abi::kS_IFBLK) return Errno(EINVAL);
  return SyscallOutcome::Return(0);
}

}  // namespace remora::syscalls
