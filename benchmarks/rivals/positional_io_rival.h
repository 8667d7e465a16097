#ifndef REMORA_BENCHMARKS_RIVALS_POSITIONAL_IO_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_POSITIONAL_IO_RIVAL_H_

#include <cstdint>
#include <mutex>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "benchmarks/rivals/stream_read_write_rival.h"
#include "fs/file.h"
#include "mm/user_memory.h"

namespace remora {

// The plain way of usermode kernels: the open file's one lock is held throughout a transfer, positional or not, while a
// buffer of its length is allocated, filled and copied.
class PositionalIoRival {
 public:
  explicit PositionalIoRival(fs::File* file) : file_(*file) {}

  ErrnoOr<uint64_t> Pread(mm::UserMemory memory, GuestAddr to, uint64_t length_bytes, uint64_t offset) {
    const std::lock_guard<std::mutex> lock(mu_);
    return StreamReadWriteRival::ReadAt(file_, memory, to, length_bytes, offset);
  }
  ErrnoOr<uint64_t> Pwrite(mm::UserMemory memory, GuestAddr from, uint64_t length_bytes, uint64_t offset) {
    const std::lock_guard<std::mutex> lock(mu_);
    return StreamReadWriteRival::WriteAt(file_, memory, from, length_bytes, offset);
  }

 private:
  fs::File& file_;
  std::mutex mu_;
};

}  // namespace remora

#endif  // REMORA_BENCHMARKS_RIVALS_POSITIONAL_IO_RIVAL_H_
