#ifndef REMORA_MM_USER_BUFFER_H_
#define REMORA_MM_USER_BUFFER_H_

#include <cstdint>
#include <span>

#include "absl/container/inlined_vector.h"
#include "mm/io_buffer.h"
#include "mm/user_memory.h"

namespace remora::mm {

// One piece of guest memory, as in struct iovec.
struct UserRange {
  GuestAddr start;
  uint64_t length_bytes = 0;
};

// What read, readv, write, writev and their kin hand to a file: guest memory, piece by piece, through the worker's TLB.
// The iovec array has been copied in and checked once by the caller (ReadIovecs), so a guest that changes it meanwhile
// changes nothing.
class UserBuffer final : public IoBuffer {
 public:
  using Ranges = absl::InlinedVector<UserRange, 8>;

  // What to do about a page that is still on its way from a slow file: wait for it here, which holds up the worker, or
  // stop before it as before a fault. Then must_wait_for_page() tells, and the transfer goes on when the page has come.
  enum class SlowPages : uint8_t { kWait, kStop };

  UserBuffer(UserMemory memory, Direction direction, UserRange range);
  UserBuffer(UserMemory memory, Direction direction, Ranges ranges, SlowPages slow_pages = SlowPages::kWait);

  // Copies in an iovec array and checks it as Linux does: EINVAL for more than 1024, for a negative length; the sum is
  // truncated at 0x7ffff000 bytes. EFAULT where the array cannot be read.
  static ErrnoOr<Ranges> ReadIovecs(UserMemory memory, GuestAddr iovecs, uint64_t count);

  ErrnoOr<std::span<std::byte>> Peek(uint64_t max_bytes) override;
  ErrnoOr<uint32_t> Gather(std::span<iovec> out, uint64_t max_bytes) override;
  void Advance(uint64_t n) override;

  // The last Peek or Gather stopped before a page that is not ready. False again once one passed it.
  bool must_wait_for_page() const { return must_wait_for_page_; }

 private:
  Access access() const { return direction() == Direction::kFill ? Access::kWrite : Access::kRead; }
  std::byte* Resolve(GuestAddr at);
  // Steps over pieces that are done or empty.
  void SkipFinished();

  UserMemory memory_;
  Ranges ranges_;
  SlowPages slow_pages_ = SlowPages::kWait;
  bool must_wait_for_page_ = false;
  uint32_t current_ = 0;     // piece under the cursor
  uint64_t consumed_ = 0;    // bytes of it already passed
  uint64_t generation_ = 0;  // the TLB's when spans were last handed out
};

}  // namespace remora::mm

#endif  // REMORA_MM_USER_BUFFER_H_
