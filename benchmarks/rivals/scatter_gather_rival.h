#ifndef REMORA_BENCHMARKS_RIVALS_SCATTER_GATHER_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_SCATTER_GATHER_RIVAL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/errno_or.h"
#include "benchmarks/rivals/stream_read_write_rival.h"
#include "fs/file.h"
#include "mm/io_buffer.h"
#include "mm/user_buffer.h"
#include "mm/user_memory.h"

namespace remora {

// The plain way of usermode kernels: the pieces' sum is allocated, read or written at once, and copied a second time,
// piece by piece and page by page.
class ScatterGatherRival {
 public:
  // preadv(2) and pwritev(2) with the array already copied in.
  static ErrnoOr<uint64_t> ReadAt(fs::File& file, mm::UserMemory memory, std::span<const mm::UserRange> ranges,
                                  uint64_t offset) {
    const uint64_t total = Total(ranges);
    const auto bytes = std::make_unique_for_overwrite<std::byte[]>(total);
    mm::KernelBuffer buffer(mm::IoBuffer::Direction::kFill, {bytes.get(), total});
    REMORA_ASSIGN_OR_RETURN(const uint64_t n, file.Read(buffer, offset));
    uint64_t done = 0;
    for (const mm::UserRange& range : ranges) {
      const uint64_t wanted = std::min(range.length_bytes, n - done);
      const uint64_t copied = StreamReadWriteRival::CopyOut(memory, range.start, {bytes.get() + done, wanted});
      done += copied;
      if (copied < wanted) break;
    }
    if (done == 0 && n != 0) return Errno(EFAULT);
    return done;
  }
  static ErrnoOr<uint64_t> WriteAt(fs::File& file, mm::UserMemory memory, std::span<const mm::UserRange> ranges,
                                   uint64_t offset) {
    const uint64_t total = Total(ranges);
    const auto bytes = std::make_unique_for_overwrite<std::byte[]>(total);
    uint64_t gathered = 0;
    for (const mm::UserRange& range : ranges) {
      const uint64_t copied =
          StreamReadWriteRival::CopyIn(memory, {bytes.get() + gathered, range.length_bytes}, range.start);
      gathered += copied;
      if (copied < range.length_bytes) break;
    }
    if (gathered == 0 && total != 0) return Errno(EFAULT);
    mm::KernelBuffer buffer(mm::IoBuffer::Direction::kDrain, {bytes.get(), gathered});
    return file.Write(buffer, offset);
  }

 private:
  static uint64_t Total(std::span<const mm::UserRange> ranges) {
    uint64_t total = 0;
    for (const mm::UserRange& range : ranges) total += range.length_bytes;
    return total;
  }
};

}  // namespace remora

#endif  // REMORA_BENCHMARKS_RIVALS_SCATTER_GATHER_RIVAL_H_
