#include "syscalls/transfer.h"

#include <algorithm>

#include "base/abi/inotify.h"
#include "base/abi/signal.h"
#include "base/abi/stat.h"
#include "base/abi/uio.h"
#include "fs/watch_events.h"
#include "net/socket.h"
#include "proc/signalfd.h"
#include "proc/signals.h"
#include "proc/terminal_caller.h"

namespace remora::syscalls {
namespace {

using Direction = mm::IoBuffer::Direction;

// How far a transfer came, and whether it stopped at a page of the guest's that a slow file has not given yet.
struct Progress {
  uint64_t done = 0;
  bool at_slow_page = false;
};

struct TransferState : proc::SyscallState {
  TransferState(proc::Task* task, Transfer t) : transfer(std::move(t)), waiter(task), page_waiter(task) {}
  Transfer transfer;  // holds the file: before the waiter
  Progress progress;
  proc::TaskWaiter waiter, page_waiter;
  // A terminal's VTIME.
  uint64_t patience_restarts = 0;
  int64_t patience_ends_nanos = proc::Task::kNoDeadline;
};

// Kinds where a short write means "the rest has to wait", not "the rest does not fit".
bool IsStream(const fs::File& file) {
  const uint32_t type = file.inode()->type();
  return type == abi::kS_IFIFO || type == abi::kS_IFCHR || type == abi::kS_IFSOCK;
}

// EPIPE comes with SIGPIPE but for sockets that keep boundaries.
bool BrokenPipeSignals(fs::File& file) {
  const net::Socket* socket = net::Socket::From(file);
  return socket == nullptr || socket->broken_pipe_signals();
}

void InterruptBySignals(mm::IoBuffer& buffer, const proc::Task& task) {
  buffer.set_interrupt([](const void* t) { return static_cast<const proc::Task*>(t)->signal_pending(); }, &task);
}

// A socket's message may be lost by a second look: it waits for its pages where it is.
mm::UserBuffer::SlowPages SlowPagesOf(const fs::File& file) {
  return file.inode()->type() == abi::kS_IFSOCK ? mm::UserBuffer::SlowPages::kWait : mm::UserBuffer::SlowPages::kStop;
}

// Moves until there is an answer, or the file has no more to give or take, or a page of the guest's is not there yet:
// nullopt then, and `progress` tells how far it came.
std::optional<SyscallOutcome> Advance(SyscallContext& c, const Transfer& t, Progress& progress) {
  uint64_t& done = progress.done;
  mm::UserBuffer buffer(c.memory(), t.direction, t.ranges, SlowPagesOf(*t.file));
  InterruptBySignals(buffer, c.task());
  if (done != 0) buffer.Advance(done);
  const bool writes_all = t.direction == Direction::kDrain && IsStream(*t.file);
  for (;;) {
    const uint64_t before = buffer.transferred();
    fs::TransferPosition where = t.where;
    if (where.offset) *where.offset += done;
    const auto moved = MoveOnce(c, *t.file, buffer, where);
    progress.at_slow_page = buffer.must_wait_for_page() && buffer.remaining() != 0;
    const bool partly = !moved.ok() && moved.error_number() == EAGAIN && IgnoresNonblocking(*t.file);
    if (partly) done += buffer.transferred() - before;
    if (progress.at_slow_page) {
      if (moved.ok()) done += *moved;
      // A read from a stream never waits once it has a byte.
      if (done != 0 && t.direction == Direction::kFill && IsStream(*t.file))
        return SyscallOutcome::Return(static_cast<int64_t>(done));
      return std::nullopt;
    }
    if (!moved.ok()) {
      if (moved.error_number() == EAGAIN) {
        if (t.nowait || (t.file->nonblocking() && !IgnoresNonblocking(*t.file))) {
          if (done == 0) return Errno(EAGAIN);
          return SyscallOutcome::Return(static_cast<int64_t>(done));
        }
        return std::nullopt;
      }
      if (done == 0) return moved.error();
      return SyscallOutcome::Return(static_cast<int64_t>(done));
    }
    done += *moved;
    if (!writes_all || *moved == 0 || buffer.remaining() == 0)
      return SyscallOutcome::Return(static_cast<int64_t>(done));
  }
}

// A read that waits is not always patient. True: it has waited long enough.
bool LosesPatience(SyscallContext& c, TransferState& state) {
  if (state.transfer.direction != Direction::kFill || state.transfer.file->inode()->type() != abi::kS_IFCHR)
    return false;
  const fs::File::Patience patience = state.transfer.file->ReadPatience();
  if (patience.nanos < 0) {
    state.patience_ends_nanos = proc::Task::kNoDeadline;
    return false;
  }
  if (state.patience_ends_nanos == proc::Task::kNoDeadline || state.patience_restarts != patience.restarts) {
    state.patience_ends_nanos = c.MonotonicNanos() + patience.nanos;
    state.patience_restarts = patience.restarts;
  }
  return c.Expired(state.patience_ends_nanos);
}

SyscallOutcome ReadImpatiently(SyscallContext& c, const Transfer& t) {
  mm::UserBuffer buffer(c.memory(), t.direction, t.ranges, mm::UserBuffer::SlowPages::kWait);
  InterruptBySignals(buffer, c.task());
  REMORA_ASSIGN_OR_RETURN(const uint64_t n, t.file->ReadImpatiently(buffer));
  return SyscallOutcome::Return(static_cast<int64_t>(n));
}

SyscallOutcome ParkTransfer(SyscallContext& c, TransferState& state) {
  if (state.progress.done != 0 && c.task().signal_pending())
    return SyscallOutcome::Return(static_cast<int64_t>(state.progress.done));
  return c.Park(IgnoresNonblocking(*state.transfer.file) ? Interrupted::kRestartAlways : Interrupted::kRestart,
                state.patience_ends_nanos);
}

}  // namespace

bool InUserSpace(GuestAddr start, uint64_t length_bytes) {
  const auto end = start.CheckedAdd(length_bytes);
  return end && end->value() <= kUserAddressEnd;
}

bool IgnoresNonblocking(const fs::File& file) {
  const uint32_t type = file.inode()->type();
  return type == abi::kS_IFREG || type == abi::kS_IFDIR || type == abi::kS_IFBLK;
}

void RaiseSigpipe(proc::Task& task) {
  proc::SignalInfo info;
  info.signal = abi::kSIGPIPE;  // as from kill(2): SI_USER
  info.pid = task.group().pid();
  info.uid = task.credentials()->uid;
  proc::SendToTask(task, info);
}

ErrnoOr<uint64_t> MoveOnce(SyscallContext& c, fs::File& file, mm::IoBuffer& buffer, const fs::TransferPosition& where) {
  if (buffer.direction() == Direction::kFill && file.inode()->type() == 0)
    if (auto* signals = dynamic_cast<proc::SignalFd*>(&file)) return signals->ReadAs(c.task(), buffer);
  if (file.inode()->type() == abi::kS_IFCHR) {
    proc::TaskTerminalCaller caller(c.task());
    REMORA_RETURN_IF_ERROR(buffer.direction() == Direction::kFill ? file.CheckTerminalRead(caller)
                                                                  : file.CheckTerminalWrite(caller));
  }
  auto moved = fs::TransferAt(file, buffer, where);
  if (moved.error_number() == EPIPE && BrokenPipeSignals(file)) RaiseSigpipe(c.task());
  if (const fs::Dentry* dentry = file.path().dentry.get(); dentry != nullptr && moved.ok() && *moved != 0)
    fs::Tell(*dentry, buffer.direction() == Direction::kFill ? abi::kIN_ACCESS : abi::kIN_MODIFY);
  return moved;
}

SyscallOutcome RunTransfer(SyscallContext& c, Transfer t) {
  fs::File& file = *t.file;
  if (t.direction == Direction::kFill ? !file.readable() : !file.writable()) return Errno(EBADF);
  for (const mm::UserRange& range : t.ranges)
    if (!InUserSpace(range.start, range.length_bytes)) return Errno(EFAULT);
  // One range is judged whole and then cut; several were cut when they were copied in.
  if (t.ranges.size() == 1) t.ranges[0].length_bytes = std::min<uint64_t>(t.ranges[0].length_bytes, abi::kMAX_RW_COUNT);
  if (file.inode()->type() == abi::kS_IFDIR) return Errno(EISDIR);
  if (t.where.offset) {
    if (static_cast<int64_t>(*t.where.offset) < 0) return Errno(EINVAL);
    if (!file.seekable()) return Errno(ESPIPE);
  }
  uint64_t length = 0;
  for (const mm::UserRange& range : t.ranges) length += range.length_bytes;
  // Nothing is nothing, but for a socket a datagram without a byte.
  if (length == 0 && !file.seekable() && IsStream(file) &&
      (t.direction == Direction::kFill || file.inode()->type() != abi::kS_IFSOCK))
    return SyscallOutcome::Return(0);

  Progress progress;
  if (auto outcome = Advance(c, t, progress)) return *outcome;
  auto& state = c.MakeState<TransferState>(&c.task(), std::move(t));
  state.progress = progress;
  SyscallContext::Arm(
      state.waiter, *state.transfer.file,
      state.transfer.direction == Direction::kFill ? sync::kReadable | sync::kReadHangup : sync::kWritable);
  return ResumeTransfer(c);
}

SyscallOutcome RunGetrandom(SyscallContext& c, GuestAddr to, uint64_t length_bytes) {
  mm::UserBuffer buffer(c.memory(), Direction::kFill, mm::UserRange{to, length_bytes});
  InterruptBySignals(buffer, c.task());
  Entropy& entropy = c.kernel().entropy();
  return buffer.Produce(length_bytes, [&](std::span<std::byte> piece) { entropy.Fill(piece); });
}

SyscallOutcome ResumeTransfer(SyscallContext& c) {
  auto& state = *c.state<TransferState>();
  if (state.progress.at_slow_page)
    SyscallContext::Arm(state.page_waiter, *c.kernel().memory().page_arrivals, sync::kAllEvents);
  if (auto outcome = Advance(c, state.transfer, state.progress)) return *outcome;
  // Armed for the one and stopped by the other: once more.
  if (state.progress.at_slow_page && !state.page_waiter.armed()) return ResumeTransfer(c);
  if (state.progress.at_slow_page) return ParkTransfer(c, state);
  if (LosesPatience(c, state)) return ReadImpatiently(c, state.transfer);
  // A file that has nothing to wait on would never wake us.
  if (!state.waiter.armed()) return Errno(EAGAIN);
  return ParkTransfer(c, state);
}

}  // namespace remora::syscalls
