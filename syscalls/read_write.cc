// read, write and their vectored and positional kin: argument checks in front of the core in syscalls/transfer.h.

#include "base/abi/fcntl.h"
#include "syscalls/handlers.h"
#include "syscalls/transfer.h"

namespace remora::syscalls {
namespace {

using Direction = mm::IoBuffer::Direction;

SyscallOutcome Single(SyscallContext& c, Direction direction, bool positional) {
  if (c.task().syscall_state) return ResumeTransfer(c);
  Transfer t;
  REMORA_ASSIGN_OR_RETURN(t.file, c.FileArg(0));
  t.direction = direction;
  if (positional) {
    if (c.i64(3) < 0) return Errno(EINVAL);
    t.where.offset = c.arg(3);
  }
  t.ranges.push_back({c.addr(1), c.arg(2)});
  return RunTransfer(c, std::move(t));
}

SyscallOutcome Vectored(SyscallContext& c, Direction direction, bool positional, uint32_t flags) {
  if (c.task().syscall_state) return ResumeTransfer(c);
  Transfer t;
  REMORA_ASSIGN_OR_RETURN(t.file, c.FileArg(0));
  t.direction = direction;
  if (positional) {
    if (c.i64(3) < 0) return Errno(EINVAL);
    t.where.offset = c.arg(3);
  }
  // Linux looks at the access mode before it looks at the array.
  if (direction == Direction::kFill ? !t.file->readable() : !t.file->writable()) return Errno(EBADF);
  REMORA_ASSIGN_OR_RETURN(t.ranges, mm::UserBuffer::ReadIovecs(c.memory(), c.addr(1), c.arg(2)));
  constexpr uint32_t kKnown = abi::kRWF_HIPRI | abi::kRWF_DSYNC | abi::kRWF_SYNC | abi::kRWF_APPEND | abi::kRWF_NOWAIT;
  if ((flags & ~kKnown) != 0) return Errno(EOPNOTSUPP);
  if ((flags & abi::kRWF_APPEND) != 0 && direction == Direction::kFill) return Errno(EOPNOTSUPP);
  t.nowait = (flags & abi::kRWF_NOWAIT) != 0;
  t.where.append = (flags & abi::kRWF_APPEND) != 0;
  return RunTransfer(c, std::move(t));
}

}  // namespace

SyscallOutcome SysRead(SyscallContext& c) { return Single(c, Direction::kFill, false); }
SyscallOutcome SysWrite(SyscallContext& c) { return Single(c, Direction::kDrain, false); }
SyscallOutcome SysPread(SyscallContext& c) { return Single(c, Direction::kFill, true); }
SyscallOutcome SysPwrite(SyscallContext& c) { return Single(c, Direction::kDrain, true); }
SyscallOutcome SysReadv(SyscallContext& c) { return Vectored(c, Direction::kFill, false, 0); }
SyscallOutcome SysWritev(SyscallContext& c) { return Vectored(c, Direction::kDrain, false, 0); }
SyscallOutcome SysPreadv(SyscallContext& c) { return Vectored(c, Direction::kFill, true, 0); }
SyscallOutcome SysPwritev(SyscallContext& c) { return Vectored(c, Direction::kDrain, true, 0); }
// An offset of -1 means the file's position.
SyscallOutcome SysPreadv2(SyscallContext& c) { return Vectored(c, Direction::kFill, c.i64(3) != -1, c.u32(5)); }
SyscallOutcome SysPwritev2(SyscallContext& c) { return Vectored(c, Direction::kDrain, c.i64(3) != -1, c.u32(5)); }

}  // namespace remora::syscalls
