#ifndef REMORA_FS_SPECIAL_FAULTING_BUFFER_FOR_TESTING_H_
#define REMORA_FS_SPECIAL_FAULTING_BUFFER_FOR_TESTING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/errno_or.h"
#include "mm/io_buffer.h"

namespace remora::fs {

// A buffer of `length_bytes` of which only the bytes of `memory` are accessible: the rest faults, like guest memory
// that ends at an unmapped page. Hands memory out in pieces of `piece_bytes`.
class FaultingBuffer final : public mm::IoBuffer {
 public:
  FaultingBuffer(Direction direction, std::span<std::byte> memory, uint64_t length_bytes, uint64_t piece_bytes = 4096)
      : IoBuffer(direction, length_bytes), memory_(memory), piece_bytes_(piece_bytes) {}

  ErrnoOr<std::span<std::byte>> Peek(uint64_t max_bytes) override {
    if (memory_.empty()) return Errno(EFAULT);
    return memory_.first(std::min({max_bytes, piece_bytes_, remaining(), uint64_t{memory_.size()}}));
  }
  ErrnoOr<uint32_t> Gather(std::span<iovec> out, uint64_t max_bytes) override {
    if (max_bytes == 0 || remaining() == 0) return 0u;
    if (memory_.empty()) return Errno(EFAULT);
    uint32_t count = 0;
    uint64_t at = 0;
    const uint64_t end = std::min({max_bytes, remaining(), uint64_t{memory_.size()}});
    while (at < end && count < out.size()) {
      const uint64_t n = std::min(piece_bytes_, end - at);
      out[count++] = {memory_.data() + at, n};
      at += n;
    }
    return count;
  }
  void Advance(uint64_t n) override {
    memory_ = memory_.subspan(n);
    NoteAdvanced(n);
  }

 private:
  std::span<std::byte> memory_;
  const uint64_t piece_bytes_;
};

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_FAULTING_BUFFER_FOR_TESTING_H_
