#ifndef REMORA_MM_IO_BUFFER_H_
#define REMORA_MM_IO_BUFFER_H_

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/errno_or.h"
#include "mm/guest_copy.h"

namespace remora::mm {

// A cursor over the memory that a read fills or a write drains. Files see this and never a guest address, so one Read
// serves read(2), readv(2), sendfile(2), exec and the page cache. Nothing is allocated in proportion to its length.
//
// Implementations: UserBuffer (guest memory through a TLB, mm/user_buffer.h), KernelBuffer (host memory, below).
// Thread safety: none; used by one worker within one slice. Spans stay valid until the worker's next quiescent point.
class IoBuffer {
 public:
  enum class Direction : uint8_t { kFill, kDrain };

  virtual ~IoBuffer() = default;
  Direction direction() const { return direction_; }
  // Bytes still to go, over all pieces.
  uint64_t remaining() const { return remaining_; }
  uint64_t transferred() const { return transferred_; }

  // The host memory at the cursor, at most max_bytes, at least one byte if remaining() and max_bytes are not 0: one
  // contiguous piece. EFAULT if the guest may not access it (the cursor stays). Does not advance. For kDrain the caller
  // only reads.
  virtual ErrnoOr<std::span<std::byte>> Peek(uint64_t max_bytes) = 0;
  // Host pieces from the cursor on as iovecs, up to out.size() of them and max_bytes in all; ends early at a fault.
  // EFAULT if even the first byte faults. Does not advance.
  virtual ErrnoOr<uint32_t> Gather(std::span<iovec> out, uint64_t max_bytes) = 0;
  // Moves the cursor; n <= remaining().
  virtual void Advance(uint64_t n) = 0;

  // kFill: copies `bytes` in. The number copied: less than asked at the end of the buffer, or where a fault stops it
  // after the first byte. EFAULT if the first byte faults.
  ErrnoOr<uint64_t> Write(std::span<const std::byte> bytes) {
    return Transfer(bytes.size(), [&](std::span<std::byte> piece, uint64_t done) {
      CopyGuestMemory(piece.data(), bytes.data() + done, piece.size());
    });
  }
  // kDrain: copies out of the buffer into `bytes`; as Write.
  ErrnoOr<uint64_t> Read(std::span<std::byte> bytes) {
    return Transfer(bytes.size(), [&](std::span<std::byte> piece, uint64_t done) {
      CopyGuestMemory(bytes.data() + done, piece.data(), piece.size());
    });
  }
  // kFill: has `produce(std::span<std::byte>)` make the next bytes where they shall lie, in as few pieces as the host's
  // memory allows; as Write. For bytes that take long to make: stops, but not below a page of them, when interrupted().
  template <typename F>
  ErrnoOr<uint64_t> Produce(uint64_t length_bytes, F produce) {
    // As short as most calls are, nothing interrupts it: piece by piece, without gathering.
    if (length_bytes <= kGuaranteedBytes)
      return Transfer(length_bytes, [&](std::span<std::byte> piece, uint64_t) { produce(piece); });
    constexpr uint64_t kBetweenLooks = 64 << 10;
    iovec pieces[16];
    uint64_t done = 0;
    while (done < length_bytes && remaining_ != 0) {
      const auto count = Gather(pieces, std::min(length_bytes - done, kBetweenLooks));
      if (!count.ok()) {
        if (done == 0) return count.error();
        break;
      }
      uint64_t made = 0;
      for (uint32_t i = 0; i < *count; ++i) {
        produce(std::span(static_cast<std::byte*>(pieces[i].iov_base), pieces[i].iov_len));
        made += pieces[i].iov_len;
      }
      Advance(made);
      done += made;
      if (done >= kGuaranteedBytes && interrupted()) break;
    }
    return done;
  }
  ErrnoOr<uint64_t> WriteZeros(uint64_t length_bytes) {
    return Transfer(length_bytes,
                    [](std::span<std::byte> piece, uint64_t) { ZeroGuestMemory(piece.data(), piece.size()); });
  }

  // Tells whether the caller has a signal to take: pending(context). For who waits on Produce.
  void set_interrupt(bool (*pending)(const void*), const void* context) {
    interrupt_pending_ = pending;
    interrupt_context_ = context;
  }
  bool interrupted() const { return interrupt_pending_ != nullptr && interrupt_pending_(interrupt_context_); }

 protected:
  IoBuffer(Direction direction, uint64_t length_bytes) : direction_(direction), remaining_(length_bytes) {}
  void NoteAdvanced(uint64_t n) {
    remaining_ -= n;
    transferred_ += n;
  }

 private:
  static constexpr uint64_t kGuaranteedBytes = 4096;  // of Produce, whatever signal waits

  template <typename F>
  ErrnoOr<uint64_t> Transfer(uint64_t length_bytes, F copy) {
    uint64_t done = 0;
    while (done < length_bytes && remaining_ != 0) {
      auto piece = Peek(length_bytes - done);
      if (!piece.ok()) {
        if (done == 0) return piece.error();
        break;
      }
      copy(*piece, done);
      const uint64_t n = piece->size();
      Advance(n);
      done += n;
    }
    return done;
  }

  const Direction direction_;
  uint64_t remaining_;
  uint64_t transferred_ = 0;
  bool (*interrupt_pending_)(const void*) = nullptr;
  const void* interrupt_context_ = nullptr;
};

// Host memory as an IoBuffer, for reads that the kernel itself does.
class KernelBuffer final : public IoBuffer {
 public:
  KernelBuffer(Direction direction, std::span<std::byte> memory)
      : IoBuffer(direction, memory.size()), memory_(memory) {}

  ErrnoOr<std::span<std::byte>> Peek(uint64_t max_bytes) override {
    return memory_.first(std::min<uint64_t>(max_bytes, memory_.size()));
  }
  ErrnoOr<uint32_t> Gather(std::span<iovec> out, uint64_t max_bytes) override {
    if (out.empty() || memory_.empty() || max_bytes == 0) return 0u;
    out[0] = {memory_.data(), std::min<uint64_t>(max_bytes, memory_.size())};
    return 1u;
  }
  void Advance(uint64_t n) override {
    memory_ = memory_.subspan(n);
    NoteAdvanced(n);
  }

 private:
  std::span<std::byte> memory_;
};

}  // namespace remora::mm

#endif  // REMORA_MM_IO_BUFFER_H_
