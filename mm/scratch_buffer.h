#ifndef REMORA_MM_SCRATCH_BUFFER_H_
#define REMORA_MM_SCRATCH_BUFFER_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/check.h"

namespace remora::mm {

// A worker's one bounce buffer: what a transfer goes through when it cannot move straight between a file and guest
// pages, because neither side is guest memory (sendfile, copy_file_range). Its size is fixed, so no length that a guest
// chose is ever allocated.
//
// Invariants:
//  1. At most one Lease is out. It ends within the slice that took it: what a call wants to keep across Blocked, it
//     reads again.
//  2. The memory comes with the first lease and stays: later ones allocate nothing.
// Linux twin: the pipe that splice_direct_to_actor keeps for each task. Difference: bytes, not pages, and per worker.
// Thread safety: used by its worker; peak_bytes() from any thread.
class ScratchBuffer {
 public:
  static constexpr uint64_t kBytes = 64 << 10;

  ScratchBuffer() = default;
  ScratchBuffer(const ScratchBuffer&) = delete;
  ScratchBuffer& operator=(const ScratchBuffer&) = delete;

  // The buffer for the length of a scope.
  class Lease {
   public:
    explicit Lease(ScratchBuffer* buffer) : buffer_(*buffer) {
      CHECK_MSG(!buffer_.leased_, "a worker has one scratch buffer");
      buffer_.leased_ = true;
      if (buffer_.bytes_ == nullptr) buffer_.bytes_ = std::make_unique_for_overwrite<std::byte[]>(kBytes);
    }
    ~Lease() { buffer_.leased_ = false; }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    // The first min(length_bytes, kBytes) bytes, of any content.
    std::span<std::byte> First(uint64_t length_bytes) {
      const uint64_t n = std::min(length_bytes, kBytes);
      if (n > buffer_.peak_bytes()) buffer_.peak_bytes_.store(n, std::memory_order_relaxed);
      return {buffer_.bytes_.get(), n};
    }

   private:
    ScratchBuffer& buffer_;
  };

  // The most bytes of it that were ever in use; at most kBytes.
  uint64_t peak_bytes() const { return peak_bytes_.load(std::memory_order_relaxed); }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  bool leased_ = false;
  std::atomic<uint64_t> peak_bytes_{0};
};

}  // namespace remora::mm

#endif  // REMORA_MM_SCRATCH_BUFFER_H_
