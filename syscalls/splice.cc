// splice, tee and vmsplice: through one fixed buffer, so that no lock is held over another file's transfer.

#include <algorithm>
#include <memory>
#include <optional>

#include "base/abi/fcntl.h"
#include "base/abi/stat.h"
#include "base/abi/uio.h"
#include "fs/special/pipe_file.h"
#include "mm/io_buffer.h"
#include "mm/user_buffer.h"
#include "syscalls/context.h"
#include "syscalls/handlers.h"
#include "syscalls/transfer.h"

namespace remora::syscalls {
namespace {

using Direction = mm::IoBuffer::Direction;

constexpr uint64_t kScratchBytes = 64 << 10;
constexpr uint32_t kFlags = abi::kSPLICE_F_MOVE | abi::kSPLICE_F_NONBLOCK | abi::kSPLICE_F_MORE | abi::kSPLICE_F_GIFT;

// Invariant: bytes that were taken from a source that cannot give them again are in `scratch` from pending_begin to
// pending_end, or back in the pipe, before the task parks.
struct SpliceState : proc::SyscallState {
  explicit SpliceState(proc::Task* task) : waiter(task) {}
  Ref<fs::File> in, out;
  std::optional<uint64_t> in_offset, out_offset;  // absent: a stream
  GuestAddr in_offset_at, out_offset_at;          // null: the file's position is moved instead
  uint64_t remaining = 0, done = 0;
  uint64_t pending_begin = 0, pending_end = 0;
  bool only_copies = false;  // tee
  bool nonblocking = false;
  std::unique_ptr<std::byte[]> scratch = std::make_unique<std::byte[]>(kScratchBytes);
  proc::TaskWaiter waiter;
  fs::File* waited = nullptr;
};

uint64_t PositionOf(fs::File& file) {
  MutexLock lock(&file.position_mutex());
  return file.position();
}

SyscallOutcome Finish(SyscallContext& c, SpliceState& state, int error) {
  if (state.done == 0 && error != 0) return Errno(error);
  const auto settle = [&](fs::File& file, const std::optional<uint64_t>& offset, GuestAddr at) -> ErrnoOr<void> {
    if (!offset) return Ok();
    if (!at.is_null()) return c.memory().Write(at, *offset);
    MutexLock lock(&file.position_mutex());
    file.set_position(*offset);
    return Ok();
  };
  REMORA_RETURN_IF_ERROR(settle(*state.in, state.in_offset, state.in_offset_at));
  REMORA_RETURN_IF_ERROR(settle(*state.out, state.out_offset, state.out_offset_at));
  return SyscallOutcome::Return(static_cast<int64_t>(state.done));
}

// What was read and not taken goes back where it came from, if it can.
void GiveBack(SpliceState& state) {
  const std::span<const std::byte> rest(state.scratch.get() + state.pending_begin,
                                        state.pending_end - state.pending_begin);
  if (state.only_copies || state.in_offset) {
    state.pending_begin = state.pending_end = 0;
  } else if (fs::PipeFile* pipe = fs::PipeFile::From(*state.in)) {
    if (!rest.empty()) pipe->pipe().PutBack(rest);
    state.pending_begin = state.pending_end = 0;
  }
}

// Fills the scratch buffer; 0 at the end.
ErrnoOr<uint64_t> ReadSome(SpliceState& state) {
  uint64_t wanted = std::min(kScratchBytes, state.remaining);
  fs::PipeFile* const from = fs::PipeFile::From(*state.in);
  if (from == nullptr && !state.in_offset) {
    // A stream that is no pipe gives its bytes once: no more than the pipe behind it surely takes.
    const uint64_t room = fs::PipeFile::From(*state.out)->pipe().bytes_free();
    if (room == 0) return Errno(EAGAIN);
    wanted = std::min(wanted, room);
  }
  mm::KernelBuffer buffer(Direction::kFill, std::span(state.scratch.get(), wanted));
  if (state.only_copies) return from->pipe().Peek(buffer);
  return state.in->Read(buffer, state.in_offset.value_or(0));
}

ErrnoOr<uint64_t> WriteSome(SpliceState& state) {
  mm::KernelBuffer buffer(
      Direction::kDrain, std::span(state.scratch.get() + state.pending_begin, state.pending_end - state.pending_begin));
  return state.out->Write(buffer, state.out_offset.value_or(0));
}

// Waits for `file`, unless something was moved or nobody wants to wait.
std::optional<SyscallOutcome> Wait(SyscallContext& c, SpliceState& state, fs::File& file, sync::Events events) {
  GiveBack(state);
  const bool must_go_on = state.pending_end != state.pending_begin;
  if (!must_go_on && state.done != 0) return Finish(c, state, 0);
  if (!must_go_on && state.nonblocking) return Errno(EAGAIN);
  if (state.waited != &file) state.waiter.Disarm();
  state.waited = &file;
  if (SyscallContext::Arm(state.waiter, file, events)) return std::nullopt;  // armed now: once more
  if (!state.waiter.armed()) return Errno(EAGAIN);
  if (must_go_on) return c.Park(Interrupted::kRestartAlways);
  return c.Park();
}

SyscallOutcome RunSplice(SyscallContext& c, SpliceState& state) {
  while (state.remaining != 0) {
    if (state.pending_begin == state.pending_end) {
      const auto got = ReadSome(state);
      if (!got.ok()) {
        if (got.error_number() != EAGAIN) return Finish(c, state, got.error_number());
        const bool full = !state.in_offset && fs::PipeFile::From(*state.in) == nullptr &&
                          fs::PipeFile::From(*state.out)->pipe().bytes_free() == 0;
        if (auto outcome =
                full ? Wait(c, state, *state.out, sync::kWritable) : Wait(c, state, *state.in, sync::kReadable))
          return *std::move(outcome);
        continue;
      }
      if (*got == 0) break;
      state.pending_begin = 0;
      state.pending_end = *got;
    }
    const auto put = WriteSome(state);
    if (!put.ok()) {
      if (put.error_number() == EAGAIN) {
        if (auto outcome = Wait(c, state, *state.out, sync::kWritable)) return *std::move(outcome);
        continue;
      }
      GiveBack(state);
      if (put.error_number() == EPIPE) RaiseSigpipe(c.task());
      return Finish(c, state, put.error_number());
    }
    state.pending_begin += *put;
    state.done += *put;
    state.remaining -= *put;
    if (state.in_offset) *state.in_offset += *put;
    if (state.out_offset) *state.out_offset += *put;
    if (*put == 0) break;
    GiveBack(state);
    state.waiter.Disarm();
    if (state.only_copies) break;  // the same bytes would come again
    if (c.task().signal_pending()) break;
  }
  GiveBack(state);
  return Finish(c, state, 0);
}

// One side: its offset, if it is no pipe. ESPIPE for an offset where there can be none.
ErrnoOr<std::optional<uint64_t>> OffsetArg(SyscallContext& c, GuestAddr at, fs::File& file, bool is_pipe) {
  if (is_pipe || !file.seekable()) {
    if (!at.is_null()) return Errno(ESPIPE);
    return std::optional<uint64_t>();
  }
  if (at.is_null()) return std::optional<uint64_t>(PositionOf(file));
  REMORA_ASSIGN_OR_RETURN(const int64_t offset, c.memory().Read<int64_t>(at));
  if (offset < 0) return Errno(EINVAL);
  return std::optional<uint64_t>(static_cast<uint64_t>(offset));
}

}  // namespace

SyscallOutcome SysSplice(SyscallContext& c) {
  if (auto* state = c.state<SpliceState>()) return RunSplice(c, *state);
  const uint32_t flags = c.u32(5);
  if (c.arg(4) == 0) return SyscallOutcome::Return(0);
  if ((flags & ~kFlags) != 0) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> in, c.FileArg(0));
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> out, c.FileArg(2));
  if (!in->readable() || !out->writable()) return Errno(EBADF);
  const fs::PipeFile *from = fs::PipeFile::From(*in), *to = fs::PipeFile::From(*out);
  if (from == nullptr && to == nullptr) return Errno(EINVAL);
  if (from != nullptr && to != nullptr && &from->pipe() == &to->pipe()) return Errno(EINVAL);
  REMORA_ASSIGN_OR_RETURN(const auto in_offset, OffsetArg(c, c.addr(1), *in, from != nullptr));
  REMORA_ASSIGN_OR_RETURN(const auto out_offset, OffsetArg(c, c.addr(3), *out, to != nullptr));
  if (out->append()) return Errno(EINVAL);
  if (in->inode()->type() == abi::kS_IFDIR || out->inode()->type() == abi::kS_IFDIR) return Errno(EINVAL);
  auto& state = c.MakeState<SpliceState>(&c.task());
  state.in = in;
  state.out = out;
  state.in_offset = in_offset;
  state.out_offset = out_offset;
  state.in_offset_at = c.addr(1);
  state.out_offset_at = c.addr(3);
  state.remaining = std::min<uint64_t>(c.arg(4), abi::kMAX_RW_COUNT);
  state.nonblocking = (flags & abi::kSPLICE_F_NONBLOCK) != 0 ||
                      (from != nullptr && to != nullptr && (in->nonblocking() || out->nonblocking()));
  return RunSplice(c, state);
}

SyscallOutcome SysTee(SyscallContext& c) {
  if (auto* state = c.state<SpliceState>()) return RunSplice(c, *state);
  const uint32_t flags = c.u32(3);
  if ((flags & ~kFlags) != 0) return Errno(EINVAL);
  if (c.arg(2) == 0) return SyscallOutcome::Return(0);
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> in, c.FileArg(0));
  REMORA_ASSIGN_OR_RETURN(const Ref<fs::File> out, c.FileArg(1));
  if (!in->readable() || !out->writable()) return Errno(EBADF);
  const fs::PipeFile *from = fs::PipeFile::From(*in), *to = fs::PipeFile::From(*out);
  if (from == nullptr || to == nullptr || &from->pipe() == &to->pipe()) return Errno(EINVAL);
  auto& state = c.MakeState<SpliceState>(&c.task());
  state.in = in;
  state.out = out;
  state.remaining = std::min<uint64_t>(c.arg(2), abi::kMAX_RW_COUNT);
  state.only_copies = true;
  state.nonblocking = (flags & abi::kSPLICE_F_NONBLOCK) != 0 || in->nonblocking() || out->nonblocking();
  return RunSplice(c, state);
}

SyscallOutcome SysVmsplice(SyscallContext& c) {
  if (c.task().syscall_state) return ResumeTransfer(c);
  const uint32_t flags = c.u32(3);
  if ((flags & ~kFlags) != 0) return Errno(EINVAL);
  Transfer t;
  REMORA_ASSIGN_OR_RETURN(t.file, c.FileArg(0));
  if (fs::PipeFile::From(*t.file) == nullptr) return Errno(EBADF);
  t.direction = t.file->writable() ? Direction::kDrain : Direction::kFill;
  t.nowait = (flags & abi::kSPLICE_F_NONBLOCK) != 0;
  REMORA_ASSIGN_OR_RETURN(t.ranges, mm::UserBuffer::ReadIovecs(c.memory(), c.addr(1), c.arg(2)));
  return RunTransfer(c, std::move(t));
}

}  // namespace remora::syscalls
