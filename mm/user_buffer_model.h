#ifndef REMORA_MM_USER_BUFFER_MODEL_H_
#define REMORA_MM_USER_BUFFER_MODEL_H_

#include <errno.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/guest_addr.h"
#include "mm/address_space.h"
#include "mm/io_buffer.h"
#include "mm/memory_for_testing.h"
#include "mm/tlb.h"
#include "mm/types.h"
#include "mm/user_buffer.h"
#include "mm/user_memory.h"

namespace remora::mm {

// Guest memory of a few pages, and what should be in it: pages 0-3 and 6 may be written, 4 is a hole, 5 is read-only.
class ModelMemory {
 public:
  static constexpr uint64_t kPages = 7;
  static constexpr GuestAddr kBase = GuestAddr(0x10000000);

  ModelMemory() : bytes(kPages * kPageSize) {
    CHECK(space_->Map(FixedRequest(kBase, 4)).ok());
    CHECK(space_->Map(FixedRequest(kBase + 5 * kPageSize, 1, Protection(Protection::kRead))).ok());
    CHECK(space_->Map(FixedRequest(kBase + 6 * kPageSize, 1)).ok());
    tlb_->Bind(space_.get(), space_->id());
  }
  UserMemory user() const { return UserMemory(tlb_.get()); }
  AddressSpace& space() { return *space_; }

  static bool Allows(GuestAddr at, Access access) {
    const uint64_t page = (at - kBase) >> kPageShift;  // below kBase: wraps
    return page < kPages && page != 4 && (page != 5 || access == Access::kRead);
  }
  std::byte& At(GuestAddr at) { return bytes[at - kBase]; }
  // Whether the guest's memory is what it should be.
  void Check() {
    for (uint64_t page = 0; page < kPages; ++page) {
      if (page == 4) continue;
      std::array<std::byte, kPageSize> now;
      CHECK(user().CopyIn(now, kBase + page * kPageSize).ok());
      CHECK(std::equal(now.begin(), now.end(), bytes.begin() + static_cast<int64_t>(page * kPageSize)));
    }
  }

  std::vector<std::byte> bytes;

 private:
  MemoryForTesting memory_{uint64_t{1} << 20};
  Ref<AddressSpace> space_ = AddressSpace::Create(&memory_.context, memory_.layout);
  std::unique_ptr<Tlb> tlb_ = std::make_unique<Tlb>();
};

// UserBuffer, byte by byte: where byte n of the transfer lies is found by counting from the first range.
class UserBufferModel {
 public:
  UserBufferModel(IoBuffer::Direction direction, std::vector<UserRange> ranges)
      : access_(direction == IoBuffer::Direction::kFill ? Access::kWrite : Access::kRead), ranges_(std::move(ranges)) {
    for (const UserRange& range : ranges_) total_ += range.length_bytes;
  }

  // What Linux makes of an iovec array, one element after the other. -errno, or 0 and `ranges`.
  static int ReadIovecs(const std::function<bool(uint64_t, UserRange*)>& read, uint64_t count,
                        std::vector<UserRange>* ranges) {
    if (count > 1024) return -EINVAL;
    for (uint64_t i = 0; i < count; ++i) {
      UserRange range;
      if (!read(i, &range)) return -EFAULT;
      if (range.length_bytes >> 63 != 0) return -EINVAL;
      ranges->push_back(range);
    }
    uint64_t total = 0;
    for (UserRange& range : *ranges) {
      const auto end = range.start.CheckedAdd(range.length_bytes);
      if (!end || end->value() > kUserAddressEnd) return -EFAULT;
      if (range.length_bytes > 0x7ffff000 - total) range.length_bytes = 0x7ffff000 - total;
      total += range.length_bytes;
    }
    return 0;
  }

  uint64_t remaining() const { return total_ - done_; }
  uint64_t done() const { return done_; }
  void Advance(uint64_t n) { done_ += n; }
  GuestAddr AddressOf(uint64_t n) const { return ranges_[RangeOf(n)].start + (n - range_start_); }
  // Bytes from the cursor on that may be accessed without a break, at most max_bytes.
  uint64_t Accessible(uint64_t max_bytes) const {
    uint64_t n = 0;
    while (n < max_bytes && n < remaining() && ModelMemory::Allows(AddressOf(done_ + n), access_)) ++n;
    return n;
  }
  // Those of them that lie in the range and the page of the first.
  uint64_t InOnePiece(uint64_t max_bytes) const {
    const uint64_t n = std::min(max_bytes, kPageSize);
    uint64_t piece = 1;
    while (piece < n && piece < remaining() && AddressOf(done_ + piece) == AddressOf(done_) + piece &&
           AddressOf(done_ + piece).page() == AddressOf(done_).page() && SameRange(done_, done_ + piece))
      ++piece;
    return piece;
  }

 private:
  bool SameRange(uint64_t a, uint64_t b) const { return RangeOf(a) == RangeOf(b); }
  // Which range byte n lies in; counts on from where the last answer was.
  size_t RangeOf(uint64_t n) const {
    if (n < range_start_) range_ = range_start_ = 0;
    while (n - range_start_ >= ranges_[range_].length_bytes) range_start_ += ranges_[range_++].length_bytes;
    return range_;
  }

  const Access access_;
  const std::vector<UserRange> ranges_;
  uint64_t total_ = 0;
  uint64_t done_ = 0;
  mutable size_t range_ = 0;          // the last answer of RangeOf
  mutable uint64_t range_start_ = 0;  // bytes before it
};

// Carries out one operation on both, chosen by `choice`, of about `length` bytes, and compares. False once the cursor
// stands at the end or at a fault.
inline bool StepBoth(ModelMemory& memory, UserBuffer& buffer, UserBufferModel& model, uint32_t choice,
                     uint64_t length) {
  const bool fills = buffer.direction() == IoBuffer::Direction::kFill;
  CHECK(buffer.remaining() == model.remaining() && buffer.transferred() == model.done());
  const uint64_t open = model.Accessible(std::min<uint64_t>(length, 3 * kPageSize));
  const bool faults = length != 0 && model.remaining() != 0 && open == 0;
  // A transfer of bytes: as many as are open, or EFAULT.
  const auto check_count = [&](const ErrnoOr<uint64_t>& n) {
    CHECK(n.ok() ? !faults && *n == open : faults && n.error_number() == EFAULT);
    model.Advance(open);
  };
  length = std::min<uint64_t>(length, 3 * kPageSize);
  switch (choice % 5) {
    case 0: {
      const auto piece = buffer.Peek(length);
      CHECK(piece.ok() ? !faults : faults && piece.error_number() == EFAULT);
      if (piece.ok() && !piece->empty()) {
        CHECK(piece->size() == model.InOnePiece(length));
        CHECK((*piece)[0] == memory.At(model.AddressOf(model.done())));
      } else {
        CHECK(faults || length == 0 || model.remaining() == 0);
      }
      break;
    }
    case 1: {
      std::array<iovec, 4> pieces;
      const auto count = buffer.Gather(std::span(pieces).first(1 + choice / 5 % 4), length);
      CHECK(count.ok() ? !faults : faults && count.error_number() == EFAULT);
      uint64_t gathered = 0;
      for (uint32_t i = 0; count.ok() && i < *count; ++i) {
        for (uint64_t b = 0; b < pieces[i].iov_len; b += 97)
          CHECK(static_cast<std::byte*>(pieces[i].iov_base)[b] ==
                memory.At(model.AddressOf(model.done() + gathered + b)));
        gathered += pieces[i].iov_len;
      }
      CHECK(gathered <= open && (gathered != 0 || open == 0));
      if (count.ok() && *count < 1 + choice / 5 % 4) CHECK(gathered == open);
      break;
    }
    case 2: {
      std::vector<std::byte> bytes(length);
      if (fills) {
        for (uint64_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(choice + i);
        for (uint64_t i = 0; i < open; ++i) memory.At(model.AddressOf(model.done() + i)) = bytes[i];
        check_count(buffer.Write(bytes));
      } else {
        const uint64_t at = model.done();
        check_count(buffer.Read(bytes));
        for (uint64_t i = 0; i < open; ++i) CHECK(bytes[i] == memory.At(model.AddressOf(at + i)));
      }
      break;
    }
    case 3: {
      if (!fills) break;
      for (uint64_t i = 0; i < open; ++i) memory.At(model.AddressOf(model.done() + i)) = std::byte{0};
      check_count(buffer.WriteZeros(length));
      break;
    }
    default: {
      // A file that skips what it was offered (/dev/null).
      buffer.Advance(open);
      model.Advance(open);
      break;
    }
  }
  buffer.CheckInvariants();
  return model.remaining() != 0 && !faults;
}

}  // namespace remora::mm

#endif  // REMORA_MM_USER_BUFFER_MODEL_H_
