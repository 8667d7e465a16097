#ifndef REMORA_SYSCALLS_TRANSFER_H_
#define REMORA_SYSCALLS_TRANSFER_H_

#include <cstdint>
#include <optional>

#include "mm/user_buffer.h"
#include "syscalls/context.h"

namespace remora::syscalls {

// One read or write of any shape: what read(2), preadv2(2) and all between have in common once their arguments are
// checked.
struct Transfer {
  Ref<fs::File> file;
  mm::IoBuffer::Direction direction = mm::IoBuffer::Direction::kFill;
  mm::UserBuffer::Ranges ranges;
  std::optional<uint64_t> offset;  // p*: leaves the file's position alone
  bool append = false;             // RWF_APPEND
};

// The streaming core. Bytes move between the file and guest pages directly; nothing is allocated in proportion to the
// length. A read answers with what one look at the file gave and never waits once it has a byte. A write to a stream
// (pipe, terminal, socket) goes on until all is written, a signal comes or O_NONBLOCK is set. SIGPIPE follows EPIPE.
SyscallOutcome RunTransfer(SyscallContext& c, Transfer transfer);
// The rest of one that was blocked: c.state<>() is its own.
SyscallOutcome ResumeTransfer(SyscallContext& c);

// True for the kinds whose transfers are not subject to O_NONBLOCK: regular files, directories, block devices.
bool IgnoresNonblocking(const fs::File& file);
// send_sig(SIGPIPE, current).
void RaiseSigpipe(proc::Task& task);

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_TRANSFER_H_
