// sendfile and copy_file_range: from file to file inside the kernel, through the worker's scratch buffer. Each step is
// one of the streaming core's (syscalls/transfer.h).

#include <algorithm>
#include <span>

#include "base/abi/fcntl.h"
#include "base/abi/stat.h"
#include "base/abi/uio.h"
#include "mm/io_buffer.h"
#include "mm/scratch_buffer.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/transfer.h"

namespace remora::syscalls {
namespace {

using Direction = mm::IoBuffer::Direction;

struct CopyState : proc::SyscallState {
  explicit CopyState(proc::Task* task) : waiter(task) {}
  Ref<fs::File> in, out;
  uint64_t in_offset = 0;
  fs::TransferPosition out_where;  // without an offset: the file's own position
  uint64_t remaining = 0, done = 0;
  GuestAddr in_offset_at, out_offset_at;  // null: the position of the file is moved instead
  proc::TaskWaiter waiter;
};

uint64_t PositionOf(fs::File& file) {
  MutexLock lock(&file.position_mutex());
  return file.position();
}

void MovePosition(fs::File& file, uint64_t position) {
  MutexLock lock(&file.position_mutex());
  file.set_position(position);
}

SyscallOutcome Finish(SyscallContext& c, CopyState& state, int error) {
  if (state.done == 0 && error != 0) return Errno(error);
  if (state.in_offset_at.is_null())
    MovePosition(*state.in, state.in_offset);
  else
    REMORA_RETURN_IF_ERROR(c.memory().Write(state.in_offset_at, state.in_offset));
  if (!state.out_offset_at.is_null())
    REMORA_RETURN_IF_ERROR(c.memory().Write(state.out_offset_at, *state.out_where.offset));
  else if (state.out_where.offset)
    MovePosition(*state.out, *state.out_where.offset);
  return SyscallOutcome::Return(static_cast<int64_t>(state.done));
}

// One step between `file` and `buffer`. Bytes that a slow file gave or took before its EAGAIN count like others.
ErrnoOr<uint64_t> Step(SyscallContext& c, fs::File& file, mm::KernelBuffer& buffer, const fs::TransferPosition& where) {
  auto moved = MoveOnce(c, file, buffer, where);
  if (moved.error_number() == EAGAIN && buffer.transferred() != 0) return buffer.transferred();
  return moved;
}

// What has been read but not taken is simply read again: `in` is seekable.
SyscallOutcome RunCopy(SyscallContext& c, CopyState& state) {
  mm::ScratchBuffer::Lease lease(&c.memory().scratch());
  while (state.remaining != 0) {
    const std::span<std::byte> scratch = lease.First(state.remaining);
    mm::KernelBuffer fill(Direction::kFill, scratch);
    fs::File* waited = state.in.get();
    auto moved = Step(c, *state.in, fill, {.offset = state.in_offset, .append = false});
    if (moved.ok() && *moved == 0) break;
    if (moved.ok()) {
      mm::KernelBuffer drain(Direction::kDrain, scratch.first(*moved));
      waited = state.out.get();
      moved = Step(c, *state.out, drain, state.out_where);
    }
    if (moved.ok()) {
      if (*moved == 0) break;
      state.in_offset += *moved;
      if (state.out_where.offset) *state.out_where.offset += *moved;
      state.done += *moved;
      state.remaining -= *moved;
      state.waiter.Disarm();
      if (c.task().signal_pending()) break;
      continue;
    }
    if (moved.error_number() != EAGAIN) return Finish(c, state, moved.error_number());
    if (waited->nonblocking() && !IgnoresNonblocking(*waited)) return Finish(c, state, EAGAIN);
    if (SyscallContext::Arm(state.waiter, *waited, waited == state.in.get() ? sync::kReadable : sync::kWritable))
      continue;
    if (!state.waiter.armed()) return Finish(c, state, EAGAIN);
    if (c.task().signal_pending()) return Finish(c, state, proc::kRestartSys);
    return c.Park();
  }
  return Finish(c, state, 0);
}

ErrnoOr<uint64_t> OffsetArg(SyscallContext& c, GuestAddr at, fs::File& file) {
  if (at.is_null()) return PositionOf(file);
  REMORA_ASSIGN_OR_RETURN(const int64_t offset, c.memory().Read<int64_t>(at));
  if (offset < 0) return Errno(EINVAL);
  return static_cast<uint64_t>(offset);
}

}  // namespace

SyscallOutcome SysSendfile(SyscallContext& c) {
  if (auto* state = c.state<CopyState>()) return RunCopy(c, *state);
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> in, c.FileArg(1));
  if (!in->readable()) return Errno(EBADF);
  if (!in->seekable()) return Errno(c.addr(2).is_null() ? EINVAL : ESPIPE);
  if (in->inode()->type() != abi::kS_IFREG && in->inode()->type() != abi::kS_IFBLK) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> out, c.FileArg(0));
  if (!out->writable()) return Errno(EBADF);
  if (out->append()) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const uint64_t offset, OffsetArg(c, c.addr(2), *in));
  auto& state = c.MakeState<CopyState>(&c.task());
  state.in = in;
  state.out = out;
  state.in_offset = offset;
  state.in_offset_at = c.addr(2);
  state.remaining = std::min<uint64_t>(c.arg(3), abi::kMAX_RW_COUNT);
  return RunCopy(c, state);
}

SyscallOutcome SysCopyFileRange(SyscallContext& c) {
  if (auto* state = c.state<CopyState>()) return RunCopy(c, *state);
  if (c.u32(5) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> in, c.FileArg(0));
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> out, c.FileArg(2));
  const uint32_t in_type = in->inode()->type(), out_type = out->inode()->type();
  if (in_type == abi::kS_IFDIR || out_type == abi::kS_IFDIR) return Errno(EISDIR);
  if (in_type != abi::kS_IFREG || out_type != abi::kS_IFREG) return Errno(EINVAL);
  if (!in->readable() || !out->writable() || out->append()) return Errno(EBADF);
  REMORA_ASSIGN_OR_RETURN(const uint64_t in_offset, OffsetArg(c, c.addr(1), *in));
  REMORA_ASSIGN_OR_RETURN(const uint64_t out_offset, OffsetArg(c, c.addr(3), *out));
  const uint64_t length = std::min<uint64_t>(c.arg(4), abi::kMAX_RW_COUNT);
  if (in->inode() == out->inode() && in_offset < out_offset + length && out_offset < in_offset + length)
    return Errno(EINVAL);
  auto& state = c.MakeState<CopyState>(&c.task());
  state.in = in;
  state.out = out;
  state.in_offset = in_offset;
  state.out_where.offset = out_offset;
  state.in_offset_at = c.addr(1);
  state.out_offset_at = c.addr(3);
  state.remaining = length;
  return RunCopy(c, state);
}

}  // namespace remora::syscalls
