#ifndef REMORA_SYSCALLS_TRANSFER_H_
#define REMORA_SYSCALLS_TRANSFER_H_

#include <cstdint>

#include "fs/positional_io.h"
#include "mm/io_buffer.h"
#include "mm/user_buffer.h"
#include "syscalls/context.h"

namespace remora::syscalls {

// One read or write of any shape: what read(2), preadv2(2) and all between have in common once their arguments are
// checked.
struct Transfer {
  Ref<fs::File> file;
  mm::IoBuffer::Direction direction = mm::IoBuffer::Direction::kFill;
  mm::UserBuffer::Ranges ranges;
  fs::TransferPosition where;
  bool nowait = false;  // RWF_NOWAIT, SPLICE_F_NONBLOCK: EAGAIN rather than to wait, also for a slow disk
};

// The streaming core. Bytes move between the file and guest pages directly; nothing is allocated in proportion to the
// length. A read answers with what one look at the file gave and never waits once it has a byte. A write to a stream
// (pipe, terminal, socket) goes on until all is written, a signal comes or O_NONBLOCK is set. SIGPIPE follows EPIPE.
SyscallOutcome RunTransfer(SyscallContext& c, Transfer transfer);
// The rest of one that was blocked: c.state<>() is its own.
SyscallOutcome ResumeTransfer(SyscallContext& c);

// One step of the core, for calls whose other side is no guest memory (sendfile, copy_file_range): moves bytes between
// `buffer` and `file` once. A terminal's job control comes before, SIGPIPE after. EAGAIN where the file would block.
ErrnoOr<uint64_t> MoveOnce(SyscallContext& c, fs::File& file, mm::IoBuffer& buffer, const fs::TransferPosition& where);

// Random bytes into guest memory, as getrandom(2): as many as fit, and as come before a signal.
SyscallOutcome RunGetrandom(SyscallContext& c, GuestAddr to, uint64_t length_bytes);

// access_ok(): what lies beyond user space is refused before anything is moved, however little would be.
bool InUserSpace(GuestAddr start, uint64_t length_bytes);

// True for the kinds whose transfers are not subject to O_NONBLOCK: regular files, directories, block devices.
bool IgnoresNonblocking(const fs::File& file);
// send_sig(SIGPIPE, current).
void RaiseSigpipe(proc::Task& task);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_TRANSFER_H_
