#ifndef REMORA_MM_USER_BUFFER_H_
#define REMORA_MM_USER_BUFFER_H_

#include <array>
#include <cstddef>
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
// A file copies straight into and out of the guest's pages; nothing is allocated, whatever the length.
//
// Invariants:
//  1. transferred() bytes lie behind the cursor, remaining() before it; together they are the ranges' length.
//  2. A page is made present for the byte at the cursor (Peek) or for bytes that the caller asked for (Gather): a short
//     read leaves memory beyond its count untouched, contents and residence both for Peek.
//  3. The ranges were copied in and checked once (ReadIovecs): a guest that changes its array meanwhile changes
//  nothing.
//  4. Host pointers handed out are of the generation at the last Peek or Gather. Advance compares it for what was
//     written: had a page been copied meanwhile, or code been decoded from it, the copy gets the bytes and the code
//     goes.
// Linux twin: iov_iter over user memory. Differences: a fault is met by looking (Peek), before a file has given its
// bytes away; nothing is pinned, since a frame is not reused before the worker's next quiescent point.
// Cost: Peek is one probe of the TLB, Advance one fence, Gather one probe for each page. Pages that lie side by side in
// the host come out of Gather as one piece.
// Thread safety: none; used by the TLB's worker within one slice.
class UserBuffer final : public IoBuffer {
 public:
  using Ranges = absl::InlinedVector<UserRange, 8>;

  // What to do about a page that is still on its way from a slow file: wait for it here, which holds up the worker, or
  // stop before it as before a fault. Then must_wait_for_page() tells, and the transfer goes on when the page has come.
  enum class SlowPages : uint8_t { kWait, kStop };

  UserBuffer(UserMemory memory, Direction direction, UserRange range);
  // `ranges` outlive the buffer.
  UserBuffer(UserMemory memory, Direction direction, std::span<const UserRange> ranges,
             SlowPages slow_pages = SlowPages::kWait);
  UserBuffer(const UserBuffer&) = delete;
  UserBuffer& operator=(const UserBuffer&) = delete;

  // Copies in an iovec array and checks it as Linux does: EINVAL for more than 1024, for a negative length; the sum is
  // truncated at 0x7ffff000 bytes. EFAULT where the array cannot be read, or a piece is not below the user's end.
  // What is wrong first, in the order of the array, decides; but lengths come before addresses.
  static ErrnoOr<Ranges> ReadIovecs(UserMemory memory, GuestAddr iovecs, uint64_t count);

  ErrnoOr<std::span<std::byte>> Peek(uint64_t max_bytes) override;
  ErrnoOr<uint32_t> Gather(std::span<iovec> out, uint64_t max_bytes) override;
  void Advance(uint64_t n) override;
  void CheckInvariants() const;

  // The last Peek or Gather stopped before a page that is not ready. False again once one passed it.
  bool must_wait_for_page() const { return must_wait_for_page_; }

 private:
  Access access() const { return direction() == Direction::kFill ? Access::kWrite : Access::kRead; }
  std::byte* Resolve(GuestAddr at);
  // Something has changed since `n` bytes at `at` were written through the spans.
  void FollowWrites(GuestAddr at, uint64_t n);
  void NoteHandedOut(std::span<const iovec> spans);
  ErrnoOr<uint32_t> GatherPieces(std::span<iovec> out, uint64_t max_bytes);
  // Steps over pieces that are done or empty.
  void SkipFinished();

  UserMemory memory_;
  const UserRange single_;
  const std::span<const UserRange> ranges_;
  SlowPages slow_pages_ = SlowPages::kWait;
  bool must_wait_for_page_ = false;
  uint32_t current_ = 0;     // piece under the cursor
  uint64_t consumed_ = 0;    // bytes of it already passed
  uint64_t generation_ = 0;  // the TLB's when spans were last handed out
  // The spans that were handed out last, of a buffer that is filled, and how many of their bytes Advance has passed. In
  // place and not cleared: most transfers have one span.
  static constexpr size_t kMostHandedOut = 64;
  std::array<iovec, kMostHandedOut> handed_out_;
  uint32_t num_handed_out_ = 0;
  uint64_t handed_back_ = 0;
};

}  // namespace remora::mm

#endif  // REMORA_MM_USER_BUFFER_H_
