#include "fs/special/eventfd.h"

#include <errno.h>
#include <fcntl.h>

#include <atomic>
#include <cstddef>
#include <span>

#include "base/mutex.h"
#include "fs/special/anonymous_file.h"

namespace remora::fs {
namespace {

constexpr uint32_t kSemaphore = 1;  // EFD_SEMAPHORE
constexpr uint64_t kMax = ~uint64_t{0};

// A counter that read takes and write adds to.
// Thread safety: all methods from any thread.
class EventFd final : public AnonymousFile {
 public:
  EventFd(Ref<AnonymousInode> inode, uint64_t initial, uint32_t flags)
      : AnonymousFile(std::move(inode), O_RDWR | (flags & O_NONBLOCK)),
        semaphore_((flags & kSemaphore) != 0),
        count_(initial) {}

  ErrnoOr<uint64_t> Read(mm::IoBuffer& to, uint64_t) override {
    if (to.remaining() < sizeof(uint64_t)) return Errno(EINVAL);
    uint64_t taken;
    {
      MutexLock lock(&mu_);
      const uint64_t count = count_.load(std::memory_order_relaxed);
      if (count == 0) return Errno(EAGAIN);
      taken = semaphore_ ? 1 : count;
      count_.store(count - taken, std::memory_order_relaxed);
    }
    queue_.NotifyOne(sync::kWritable);
    // As in Linux the count is gone when this faults.
    const auto copied = to.Write(std::as_bytes(std::span(&taken, 1)));
    if (!copied.ok()) return copied.error();
    if (*copied < sizeof(taken)) return Errno(EFAULT);
    return sizeof(taken);
  }

  ErrnoOr<uint64_t> Write(mm::IoBuffer& from, uint64_t) override {
    if (from.remaining() != sizeof(uint64_t)) return Errno(EINVAL);
    // Peeked, so that a write that has to wait finds its eight bytes again.
    uint64_t added = 0;
    iovec pieces[8];
    const auto num_pieces = from.Gather(pieces, sizeof(added));
    if (!num_pieces.ok()) return num_pieces.error();
    uint64_t got = 0;
    for (uint32_t i = 0; i < *num_pieces; ++i) {
      std::memcpy(reinterpret_cast<std::byte*>(&added) + got, pieces[i].iov_base, pieces[i].iov_len);
      got += pieces[i].iov_len;
    }
    if (got != sizeof(added)) return Errno(EFAULT);
    if (added == kMax) return Errno(EINVAL);
    {
      MutexLock lock(&mu_);
      const uint64_t count = count_.load(std::memory_order_relaxed);
      if (kMax - count <= added) return Errno(EAGAIN);
      count_.store(count + added, std::memory_order_relaxed);
    }
    from.Advance(sizeof(added));
    queue_.NotifyOne(sync::kReadable);
    return sizeof(added);
  }

  sync::Events Readiness(sync::Events interest) override {
    // Without the lock: who waits has armed before this test, and a change is notified after it was stored.
    const uint64_t count = count_.load(std::memory_order_relaxed);
    sync::Events events = 0;
    if (count > 0) events |= sync::kReadable;
    if (count < kMax - 1) events |= sync::kWritable;
    return events & (interest | sync::kError | sync::kHangup);
  }
  sync::WaitQueue* wait_queue() override { return &queue_; }

 private:
  const bool semaphore_;
  sync::WaitQueue queue_;
  Mutex mu_{LockRank::kPipe};
  std::atomic<uint64_t> count_;  // written under mu_
};

}  // namespace

Ref<File> MakeEventFd(AnonymousFiles& files, uint64_t initial, uint32_t flags) {
  return MakeRef<EventFd>(files.MakeInode("anon_inode:[eventfd]", 0600), initial, flags);
}

}  // namespace remora::fs
