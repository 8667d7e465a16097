#include "mm/user_buffer.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "base/check.h"

namespace remora::mm {
namespace {

constexpr uint64_t kMaxIovecs = 1024;               // UIO_MAXIOV
constexpr uint64_t kMaxTransferBytes = 0x7ffff000;  // MAX_RW_COUNT

// A UserRange is what struct iovec is, so an array of them is copied in as it stands.
static_assert(sizeof(UserRange) == 16 && offsetof(UserRange, start) == 0 && offsetof(UserRange, length_bytes) == 8);
static_assert(std::is_trivially_copyable_v<UserRange>);

bool IsNegative(uint64_t length_bytes) { return static_cast<int64_t>(length_bytes) < 0; }

uint64_t TotalBytes(std::span<const UserRange> ranges) {
  uint64_t total = 0;
  for (const UserRange& range : ranges) total += range.length_bytes;
  return total;
}

}  // namespace

UserBuffer::UserBuffer(UserMemory memory, Direction direction, UserRange range)
    : IoBuffer(direction, range.length_bytes), memory_(memory), single_(range), ranges_(&single_, 1) {}

UserBuffer::UserBuffer(UserMemory memory, Direction direction, std::span<const UserRange> ranges, SlowPages slow_pages)
    : IoBuffer(direction, TotalBytes(ranges)), memory_(memory), ranges_(ranges), slow_pages_(slow_pages) {}

std::byte* UserBuffer::Resolve(GuestAddr at) {
  if (slow_pages_ == SlowPages::kWait) return memory_.ResolveWaiting(at, access());
  std::byte* host = memory_.Resolve(at, access());
  must_wait_for_page_ = host == nullptr && memory_.tlb().last_fault().kind == FaultKind::kNotReady;
  return host;
}

ErrnoOr<UserBuffer::Ranges> UserBuffer::ReadIovecs(UserMemory memory, GuestAddr iovecs, uint64_t count) {
  if (count > kMaxIovecs) return Errno(EINVAL);
  Ranges ranges(count);
  if (!memory.CopyIn(std::as_writable_bytes(std::span(ranges)), iovecs).ok()) {
    // A negative length before the place that cannot be read is seen first.
    for (uint64_t i = 0; i < count; ++i) {
      REMORA_ASSIGN_OR_RETURN(const UserRange range, memory.Read<UserRange>(iovecs + i * sizeof(UserRange)));
      if (IsNegative(range.length_bytes)) return Errno(EINVAL);
    }
    return Errno(EFAULT);
  }
  for (const UserRange& range : ranges)
    if (IsNegative(range.length_bytes)) return Errno(EINVAL);
  uint64_t left = kMaxTransferBytes;
  for (UserRange& range : ranges) {
    if (range.start.value() > kUserAddressEnd || range.length_bytes > kUserAddressEnd - range.start.value())
      return Errno(EFAULT);
    range.length_bytes = std::min(range.length_bytes, left);
    left -= range.length_bytes;
  }
  return ranges;
}

void UserBuffer::SkipFinished() {
  while (current_ < ranges_.size() && consumed_ == ranges_[current_].length_bytes) {
    ++current_;
    consumed_ = 0;
  }
}

ErrnoOr<std::span<std::byte>> UserBuffer::Peek(uint64_t max_bytes) {
  SkipFinished();
  if (max_bytes == 0 || remaining() == 0) return std::span<std::byte>();
  memory_.tlb().Synchronize();
  generation_ = memory_.tlb().seen_generation();
  const UserRange& range = ranges_[current_];
  const GuestAddr at = range.start + consumed_;
  // Not beyond the page: what is not used must not be made present.
  const uint64_t n = std::min({max_bytes, range.length_bytes - consumed_, kPageSize - at.page_offset()});
  std::byte* host = Resolve(at);
  if (host == nullptr) return Errno(EFAULT);
  const iovec span{host, n};
  NoteHandedOut({&span, 1});
  return std::span<std::byte>(host, n);
}

ErrnoOr<uint32_t> UserBuffer::Gather(std::span<iovec> out, uint64_t max_bytes) {
  if (direction() == Direction::kFill) out = out.first(std::min(out.size(), kMostHandedOut));
  const ErrnoOr<uint32_t> count = GatherPieces(out, max_bytes);
  if (count.ok()) NoteHandedOut(out.first(*count));
  return count;
}

ErrnoOr<uint32_t> UserBuffer::GatherPieces(std::span<iovec> out, uint64_t max_bytes) {
  SkipFinished();
  memory_.tlb().Synchronize();
  generation_ = memory_.tlb().seen_generation();
  uint32_t count = 0;
  uint64_t consumed = consumed_;
  for (uint32_t piece = current_; piece < ranges_.size() && max_bytes != 0; ++piece, consumed = 0) {
    const UserRange& range = ranges_[piece];
    while (consumed < range.length_bytes && max_bytes != 0) {
      const GuestAddr at = range.start + consumed;
      const uint64_t n = std::min({max_bytes, range.length_bytes - consumed, kPageSize - at.page_offset()});
      std::byte* host = Resolve(at);
      if (host == nullptr) {
        if (count == 0) return Errno(EFAULT);
        return count;
      }
      if (count != 0 && static_cast<std::byte*>(out[count - 1].iov_base) + out[count - 1].iov_len == host) {
        out[count - 1].iov_len += n;
      } else {
        if (count == out.size()) return count;
        out[count++] = {host, n};
      }
      consumed += n;
      max_bytes -= n;
    }
  }
  return count;
}

void UserBuffer::Advance(uint64_t n) {
  NoteAdvanced(n);
  const bool changed = direction() == Direction::kFill && !memory_.IsUnchangedBehindWrites(generation_);
  while (n != 0) {
    SkipFinished();
    const UserRange& range = ranges_[current_];
    const uint64_t step = std::min(n, range.length_bytes - consumed_);
    if (changed) [[unlikely]]
      FollowWrites(range.start + consumed_, step);
    handed_back_ += step;
    consumed_ += step;
    n -= step;
  }
}

void UserBuffer::NoteHandedOut(std::span<const iovec> spans) {
  if (direction() != Direction::kFill) return;
  std::ranges::copy(spans, handed_out_.begin());
  num_handed_out_ = static_cast<uint32_t>(spans.size());
  handed_back_ = 0;
}

void UserBuffer::FollowWrites(GuestAddr at, uint64_t n) {
  uint64_t skip = handed_back_;
  for (const iovec& piece : std::span(handed_out_).first(num_handed_out_)) {
    uint64_t offset = std::min<uint64_t>(skip, piece.iov_len);
    skip -= offset;
    while (n != 0 && offset < piece.iov_len) {
      const uint64_t step = std::min({n, piece.iov_len - offset, kPageSize - at.page_offset()});
      memory_.FollowWrite(at, static_cast<const std::byte*>(piece.iov_base) + offset, step);
      at = at + step;
      offset += step;
      n -= step;
    }
  }
}

void UserBuffer::CheckInvariants() const {
  uint64_t behind = consumed_, total = 0;
  for (uint32_t i = 0; i < ranges_.size(); ++i) {
    if (i < current_) behind += ranges_[i].length_bytes;
    total += ranges_[i].length_bytes;
  }
  CHECK(current_ <= ranges_.size() && (current_ < ranges_.size() || consumed_ == 0));
  CHECK(current_ == ranges_.size() || consumed_ <= ranges_[current_].length_bytes);
  CHECK(behind == transferred() && total - behind == remaining());  // 1
}

}  // namespace remora::mm
