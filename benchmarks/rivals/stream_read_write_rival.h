#ifndef REMORA_BENCHMARKS_RIVALS_STREAM_READ_WRITE_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_STREAM_READ_WRITE_RIVAL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/errno_or.h"
#include "base/guest_addr.h"
#include "base/mutex.h"
#include "fs/file.h"
#include "mm/guest_copy.h"
#include "mm/io_buffer.h"
#include "mm/types.h"
#include "mm/user_memory.h"

namespace remora {

// The plain way of usermode kernels: a host buffer of the request's length, one call of the file for all of it, then a
// copy page by page to or from where the guest wants it.
class StreamReadWriteRival {
 public:
  using Bytes = std::unique_ptr<std::byte[]>;

  // read(2) and write(2) at the file's own position.
  static ErrnoOr<uint64_t> Read(fs::File& file, mm::UserMemory memory, GuestAddr to, uint64_t length_bytes) {
    MutexLock lock(&file.position_mutex());
    const auto n = ReadAt(file, memory, to, length_bytes, file.position());
    if (n.ok()) file.set_position(file.position() + *n);
    return n;
  }
  static ErrnoOr<uint64_t> Write(fs::File& file, mm::UserMemory memory, GuestAddr from, uint64_t length_bytes) {
    MutexLock lock(&file.position_mutex());
    const auto n = WriteAt(file, memory, from, length_bytes, file.position());
    if (n.ok()) file.set_position(file.position() + *n);
    return n;
  }

  static ErrnoOr<uint64_t> ReadAt(fs::File& file, mm::UserMemory memory, GuestAddr to, uint64_t length_bytes,
                                  uint64_t offset) {
    const Bytes bytes = std::make_unique_for_overwrite<std::byte[]>(length_bytes);
    mm::KernelBuffer buffer(mm::IoBuffer::Direction::kFill, {bytes.get(), length_bytes});
    REMORA_ASSIGN_OR_RETURN(const uint64_t n, file.Read(buffer, offset));
    const uint64_t copied = CopyOut(memory, to, {bytes.get(), n});
    if (copied == 0 && n != 0) return Errno(EFAULT);
    return copied;
  }
  static ErrnoOr<uint64_t> WriteAt(fs::File& file, mm::UserMemory memory, GuestAddr from, uint64_t length_bytes,
                                   uint64_t offset) {
    const Bytes bytes = std::make_unique_for_overwrite<std::byte[]>(length_bytes);
    const uint64_t copied = CopyIn(memory, {bytes.get(), length_bytes}, from);
    if (copied == 0 && length_bytes != 0) return Errno(EFAULT);
    mm::KernelBuffer buffer(mm::IoBuffer::Direction::kDrain, {bytes.get(), copied});
    return file.Write(buffer, offset);
  }

  // Page by page, up to the first that may not be accessed; the bytes copied.
  static uint64_t CopyOut(mm::UserMemory memory, GuestAddr to, std::span<const std::byte> bytes) {
    memory.tlb().Synchronize();
    const uint64_t generation = memory.tlb().seen_generation();
    uint64_t done = 0;
    while (done < bytes.size()) {
      const GuestAddr at = to + done;
      const uint64_t n = std::min<uint64_t>(bytes.size() - done, kPageSize - at.page_offset());
      std::byte* host = memory.Resolve(at, mm::Access::kWrite);
      if (host == nullptr) break;
      mm::CopyGuestMemory(host, bytes.data() + done, n);
      memory.FinishWrite(at, host, n, generation);
      done += n;
    }
    return done;
  }
  static uint64_t CopyIn(mm::UserMemory memory, std::span<std::byte> bytes, GuestAddr from) {
    memory.tlb().Synchronize();
    uint64_t done = 0;
    while (done < bytes.size()) {
      const GuestAddr at = from + done;
      const uint64_t n = std::min<uint64_t>(bytes.size() - done, kPageSize - at.page_offset());
      const std::byte* host = memory.Resolve(at, mm::Access::kRead);
      if (host == nullptr) break;
      mm::CopyGuestMemory(bytes.data() + done, host, n);
      done += n;
    }
    return done;
  }
};

}  // namespace remora

#endif  // REMORA_BENCHMARKS_RIVALS_STREAM_READ_WRITE_RIVAL_H_
