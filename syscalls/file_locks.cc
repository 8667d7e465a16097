// Advisory locks: fcntl's record locks and flock, in front of fs::FileLocks.

#include "syscalls/file_locks.h"

#include <optional>

#include "base/abi/fcntl.h"
#include "fs/file_locks.h"
#include "syscalls/handlers.h"

namespace remora::syscalls {
namespace {

// What a struct flock asks for, from where it says.
ErrnoOr<fs::FileLocks::Range> RangeOf(const Ref<fs::File>& file, const abi::Flock& flock) {
  int64_t start = 0;
  switch (flock.l_whence) {
    case abi::kSEEK_SET:
      break;
    case abi::kSEEK_CUR: {
      MutexLock lock(&file->position_mutex());
      start = static_cast<int64_t>(file->position());
      break;
    }
    case abi::kSEEK_END: {
      REMORA_ASSIGN_OR_RETURN(const uint64_t size, file->SizeForSeek());
      start = static_cast<int64_t>(size);
      break;
    }
    default:
      return Errno(EINVAL);
  }
  if (__builtin_add_overflow(start, flock.l_start, &start)) return Errno(EOVERFLOW);
  if (start < 0) return Errno(EINVAL);
  if (flock.l_len == 0) return fs::FileLocks::Range{static_cast<uint64_t>(start), fs::FileLocks::kToEnd};
  int64_t end = 0;
  if (__builtin_add_overflow(start, flock.l_len, &end)) return Errno(EOVERFLOW);
  // A negative length reaches backwards.
  if (flock.l_len < 0) std::swap(start, end);
  if (start < 0) return Errno(EINVAL);
  return fs::FileLocks::Range{static_cast<uint64_t>(start), static_cast<uint64_t>(end)};
}

SyscallOutcome Tell(SyscallContext& c, abi::Flock flock, const std::optional<fs::FileLocks::Record>& conflict) {
  if (!conflict) {
    flock.l_type = abi::kF_UNLCK;
  } else {
    flock.l_type = conflict->exclusive ? abi::kF_WRLCK : abi::kF_RDLCK;
    flock.l_whence = abi::kSEEK_SET;
    flock.l_start = static_cast<int64_t>(conflict->range.start);
    flock.l_len = conflict->range.end == fs::FileLocks::kToEnd
                      ? 0
                      : static_cast<int64_t>(conflict->range.end - conflict->range.start);
    flock.l_pid = conflict->pid;
  }
  return c.memory().Write(c.addr(2), flock);
}

// A lock that is waited for. The guest's struct flock is read once only.
struct LockWait : FileWait {
  LockWait(proc::Task* task, Ref<fs::File> locked_file, const fs::FileLocks::Record& wanted)
      : FileWait(task, std::move(locked_file)), record(wanted) {}
  const fs::FileLocks::Record record;  // fcntl's
};

// Tries; where another's lock stands in the way and the call may wait, waits for any lock of the file to go.
template <typename F>
SyscallOutcome TryOrWait(SyscallContext& c, const Ref<fs::File>& file, bool may_wait,
                         const fs::FileLocks::Record& record, F attempt) {
  auto result = attempt();
  if (result.error_number() != EAGAIN || !may_wait) return result;
  auto* wait = c.state<LockWait>();
  if (wait == nullptr) wait = &c.MakeState<LockWait>(&c.task(), file, record);
  if (SyscallContext::Arm(wait->waiter, file->inode()->file_locks.Get().wait_queue(), sync::kAllEvents)) {
    result = attempt();
    if (result.error_number() != EAGAIN) return result;
  }
  return c.Park();
}

}  // namespace

SyscallOutcome RecordLock(SyscallContext& c, const Ref<fs::File>& file, int32_t command) {
  fs::FileLocks& locks = file->inode()->file_locks.Get();
  if (const auto* waiting = c.state<LockWait>()) {
    const fs::FileLocks::Record record = waiting->record;
    return TryOrWait(c, file, /*may_wait=*/true, record, [&] { return locks.SetRecord(record); });
  }
  REMORA_ASSIGN_OR_RETURN(const auto flock, c.memory().Read<abi::Flock>(c.addr(2)));
  const bool open_file = command == abi::kF_OFD_GETLK || command == abi::kF_OFD_SETLK || command == abi::kF_OFD_SETLKW;
  if (open_file && flock.l_pid != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const fs::FileLocks::Range range, RangeOf(file, flock));
  fs::FileLocks::Record record;
  record.owner = open_file ? static_cast<const void*>(file.get()) : c.task().fds().get();
  record.pid = open_file ? -1 : c.group().pid();
  record.range = range;
  record.exclusive = flock.l_type == abi::kF_WRLCK;
  if (command == abi::kF_GETLK || command == abi::kF_OFD_GETLK) {
    if (flock.l_type != abi::kF_RDLCK && flock.l_type != abi::kF_WRLCK) return Errno(EINVAL);
    return Tell(c, flock, locks.FindConflict(record));
  }
  switch (flock.l_type) {
    case abi::kF_UNLCK:
      locks.ClearRecord(record.owner, range);
      return SyscallOutcome::Return(0);
    case abi::kF_RDLCK:
      if (!file->readable()) return Errno(EBADF);
      break;
    case abi::kF_WRLCK:
      if (!file->writable()) return Errno(EBADF);
      break;
    default:
      return Errno(EINVAL);
  }
  const bool may_wait = command == abi::kF_SETLKW || command == abi::kF_OFD_SETLKW;
  return TryOrWait(c, file, may_wait, record, [&] { return locks.SetRecord(record); });
}

SyscallOutcome SysFlock(SyscallContext& c) {
  // A wait goes on with the file it began with, whatever the descriptor means by now.
  auto* waiting = c.state<FileWait>();
  Ref<fs::File> file;
  if (waiting != nullptr) {
    file = waiting->file;
  } else {
    REMORA_ASSIGN_OR_RETURN(file, c.FileArg(0));
  }
  fs::FileLocks& locks = file->inode()->file_locks.Get();
  const int32_t operation = c.i32(1);
  switch (operation & ~abi::kLOCK_NB) {
    case abi::kLOCK_UN:
      locks.ClearFlock(file.get());
      return SyscallOutcome::Return(0);
    case abi::kLOCK_SH:
    case abi::kLOCK_EX:
      return TryOrWait(c, file, (operation & abi::kLOCK_NB) == 0, {},
                       [&] { return locks.SetFlock(file.get(), (operation & abi::kLOCK_EX) != 0); });
    default:
      return Errno(EINVAL);
  }
}

}  // namespace remora::syscalls
