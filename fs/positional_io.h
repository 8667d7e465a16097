#ifndef REMORA_FS_POSITIONAL_IO_H_
#define REMORA_FS_POSITIONAL_IO_H_

#include <cstdint>
#include <optional>

#include "base/errno_or.h"
#include "fs/file.h"
#include "mm/io_buffer.h"

namespace remora::fs {

// Where in a file a transfer happens.
struct TransferPosition {
  std::optional<uint64_t> offset;  // pread, pwrite: the file's own position is neither looked at nor moved
  bool append = false;             // RWF_APPEND; a file that was opened O_APPEND appends without it too
};

// One Read, Write or Append of `file`, as the buffer's direction says: the only place where a transfer meets the file's
// position. read, write, their vectored and positional kin, sendfile and copy_file_range all come here.
//
// - A file that is not seekable has no position and no lock.
// - With an offset nothing of the open file is locked or written: threads that pread one file run side by side, down to
//   the page cache, which is read without a lock too (mm/frame_map.h).
// - Without one, the position is read, the bytes move and the position is set, all under File::position_mutex(): two
//   reads of one descriptor never get the same byte, two writes never lose one. A file whose position lies elsewhere
//   and can only be sought (a host file that other host processes share, fs/hostfs/host_stream.h) gives it by
//   position() and set_position() under that same lock, while its offset transfers go by the host's pread and pwrite.
// - An append moves the position to the end of what was written; with an offset it does not. As in Linux, O_APPEND
//   wins over pwrite's offset (pwrite(2), BUGS).
// - The position moves by what was transferred, also when a fault cut it short, or when a slow file answers EAGAIN
// behind
//   some bytes (the buffer tells how many); a failure leaves it.
//
// Linux twin: ksys_read / fdget_pos and vfs_read. Difference: f_pos_lock is taken even if the open file has one user.
// The buffer's bytes are its own business: nothing is allocated. Thread safety: from any thread.
ErrnoOr<uint64_t> TransferAt(File& file, mm::IoBuffer& buffer, const TransferPosition& where);

}  // namespace remora::fs

#endif  // REMORA_FS_POSITIONAL_IO_H_
