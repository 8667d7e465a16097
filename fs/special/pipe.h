#ifndef REMORA_FS_SPECIAL_PIPE_H_
#define REMORA_FS_SPECIAL_PIPE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/errno_or.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "fs/credentials.h"
#include "fs/file.h"
#include "fs/special/anonymous_files.h"
#include "mm/io_buffer.h"
#include "sync/wait_queue.h"

namespace remora::fs {

// The bytes between the two ends of a pipe: a ring of slots of one page each, whose pages are allocated when written.
//
// Slots, not bytes, are counted, as Linux does, because a guest can tell: a full pipe becomes writable when a whole
// slot is free; a small write joins the last slot if it fits as a whole; a page whose user copy faults is dropped as a
// whole. So writes of up to PIPE_BUF (one page) are atomic without further care. Linux twin: struct pipe_inode_info.
//
// Invariants:
//  1. used_ <= slots_.size(), a power of two; slot i of the queue is slots_[(first_ + i) & (size - 1)].
//  2. A slot in use has a page, 0 < length, offset + length <= 4096.
//  3. With neither readers nor writers it holds no data and its capacity is the default (a FIFO is empty when
//  reopened).
// Thread safety: all methods from any thread. The lock is held while user memory is copied, as Linux does.
class Pipe final : public RefCounted {
 public:
  static constexpr uint32_t kSlotBytes = 4096;
  static constexpr uint32_t kDefaultSlots = 16;
  static constexpr uint32_t kMaxSlots = 256;  // 1 MiB: /proc/sys/fs/pipe-max-size

  Pipe();

  // Bytes read; 0 at the end (no data and no writer) or for an empty buffer; EAGAIN; EFAULT.
  ErrnoOr<uint64_t> Read(mm::IoBuffer& to);
  // Bytes written, as many as fit; EPIPE without a reader; EAGAIN if nothing fits; EFAULT. With `packets` (O_DIRECT)
  // each page is a packet that one read takes.
  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, bool packets);

  // As Read, but what it copies stays: tee(2).
  ErrnoOr<uint64_t> Peek(mm::IoBuffer& to) const;
  // Bytes that a Read took and nobody wanted stand at the front again. Should others have filled the pipe meanwhile, it
  // grows: nothing is lost.
  void PutBack(std::span<const std::byte> bytes);
  uint64_t bytes_free() const;  // in whole slots: what a Write surely takes

  uint64_t bytes_available() const;  // FIONREAD
  uint64_t capacity_bytes() const;
  // Rounds up to a power of two of pages. EINVAL (above 2 GiB), EPERM (above 1 MiB), EBUSY (more is in it).
  ErrnoOr<uint64_t> SetCapacity(uint64_t size_bytes);

  // An end as one open file sees it. What open(2) of a FIFO has to wait for, and whether a missing writer is a hangup
  // yet (not for one that was opened O_NONBLOCK before the first writer came).
  struct End {
    bool reads = false, writes = false;
    bool waits_for_writer = false, waits_for_reader = false;
    uint64_t writers_before = 0;  // writer openings when this end was opened
    uint64_t readers_before = 0;
    bool hangup_needs_new_writer = false;
  };
  // `is_fifo`: partners are waited for (unless nonblocking). ENXIO: a nonblocking writer without a reader.
  ErrnoOr<End> Open(bool reads, bool writes, bool is_fifo, bool nonblocking);
  void Close(const End& end);
  bool OpenPending(const End& end) const;
  sync::Events Readiness(const End& end) const;

  sync::WaitQueue* wait_queue() { return &queue_; }
  void CheckInvariants() const;

 private:
  struct Slot {
    std::unique_ptr<std::byte[]> page;
    uint16_t offset = 0;
    uint16_t length = 0;
    bool packet = false;
  };
  ~Pipe() override = default;

  bool full() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return used_ == slots_.size(); }
  Slot& SlotAt(uint32_t i) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return slots_[(first_ + i) & (slots_.size() - 1)]; }
  void PopFrontLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ErrnoOr<uint64_t> ReadLocked(mm::IoBuffer& to, bool* slot_freed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ErrnoOr<uint64_t> WriteLocked(mm::IoBuffer& from, bool packets) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_{LockRank::kPipe};
  std::vector<Slot> slots_ ABSL_GUARDED_BY(mu_);
  uint32_t first_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t used_ ABSL_GUARDED_BY(mu_) = 0;
  std::unique_ptr<std::byte[]> spare_page_ ABSL_GUARDED_BY(mu_);  // saves malloc where reader and writer alternate
  uint32_t num_readers_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t num_writers_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t reader_openings_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t writer_openings_ ABSL_GUARDED_BY(mu_) = 0;
  sync::WaitQueue queue_;
};

// The two ends of a new pipe.
struct PipeEnds {
  Ref<File> reader, writer;
};
// flags: O_NONBLOCK and O_DIRECT as pipe2(2)'s (O_CLOEXEC is the descriptor's).
PipeEnds MakePipe(AnonymousFiles& files, const Credentials& credentials, uint32_t flags);

}  // namespace remora::fs

#endif  // REMORA_FS_SPECIAL_PIPE_H_
