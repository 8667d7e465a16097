#ifndef REMORA_BASE_GUEST_ADDR_H_
#define REMORA_BASE_GUEST_ADDR_H_

#include <compare>
#include <cstdint>
#include <optional>

namespace remora {

inline constexpr uint64_t kPageShift = 12;
inline constexpr uint64_t kPageSize = uint64_t{1} << kPageShift;
inline constexpr uint64_t kPageMask = kPageSize - 1;
// One past the highest user address: Linux's TASK_SIZE_MAX with four page-table levels (the last page is never mapped).
inline constexpr uint64_t kUserAddressEnd = 0x7ffffffff000;

constexpr uint64_t PageRoundDown(uint64_t bytes) { return bytes & ~kPageMask; }
// Rounding up may wrap to 0 for the last page of the 64-bit space; callers check lengths first.
constexpr uint64_t PageRoundUp(uint64_t bytes) { return (bytes + kPageMask) & ~kPageMask; }

// A page's number: address / 4096. 0..2^52-1.
class PageNumber {
 public:
  constexpr PageNumber() = default;
  constexpr explicit PageNumber(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }
  friend constexpr auto operator<=>(PageNumber, PageNumber) = default;
  friend constexpr PageNumber operator+(PageNumber p, uint64_t n) { return PageNumber(p.value_ + n); }
  friend constexpr PageNumber operator-(PageNumber p, uint64_t n) { return PageNumber(p.value_ - n); }
  friend constexpr uint64_t operator-(PageNumber a, PageNumber b) { return a.value_ - b.value_; }
  constexpr PageNumber& operator++() {
    ++value_;
    return *this;
  }

 private:
  uint64_t value_ = 0;
};

// An address in the guest's space. Never a host pointer: memory is reached through mm::Tlb or mm::UserMemory only.
// Arithmetic wraps as the CPU's does; where a wrap would be an error, use CheckedAdd.
class GuestAddr {
 public:
  constexpr GuestAddr() = default;
  constexpr explicit GuestAddr(uint64_t value) : value_(value) {}
  constexpr explicit GuestAddr(PageNumber page) : value_(page.value() << kPageShift) {}
  constexpr uint64_t value() const { return value_; }
  constexpr PageNumber page() const { return PageNumber(value_ >> kPageShift); }
  constexpr uint64_t page_offset() const { return value_ & kPageMask; }
  constexpr bool page_aligned() const { return page_offset() == 0; }
  constexpr bool is_null() const { return value_ == 0; }
  constexpr std::optional<GuestAddr> CheckedAdd(uint64_t bytes) const {
    if (value_ + bytes < value_) return std::nullopt;
    return GuestAddr(value_ + bytes);
  }
  friend constexpr auto operator<=>(GuestAddr, GuestAddr) = default;
  friend constexpr GuestAddr operator+(GuestAddr a, uint64_t bytes) { return GuestAddr(a.value_ + bytes); }
  friend constexpr GuestAddr operator-(GuestAddr a, uint64_t bytes) { return GuestAddr(a.value_ - bytes); }
  friend constexpr uint64_t operator-(GuestAddr a, GuestAddr b) { return a.value_ - b.value_; }

 private:
  uint64_t value_ = 0;
};

// Whole pages [first, end). Empty when first == end; never inverted.
struct PageRange {
  PageNumber first;
  PageNumber end;

  constexpr uint64_t num_pages() const { return end - first; }
  constexpr bool empty() const { return first == end; }
  constexpr uint64_t length_bytes() const { return num_pages() << kPageShift; }
  constexpr GuestAddr start_addr() const { return GuestAddr(first); }
  constexpr GuestAddr end_addr() const { return GuestAddr(end); }
  constexpr bool Contains(PageNumber p) const { return first <= p && p < end; }
  constexpr bool Contains(PageRange r) const { return first <= r.first && r.end <= end; }
  constexpr bool Overlaps(PageRange r) const { return first < r.end && r.first < end; }
  friend constexpr bool operator==(PageRange, PageRange) = default;

  // The pages of [start, start + length_bytes) rounded up to whole pages. nullopt if start is unaligned, or the range
  // wraps or ends beyond kUserAddressEnd. A length of 0 gives an empty range.
  static constexpr std::optional<PageRange> ForUser(GuestAddr start, uint64_t length_bytes) {
    if (!start.page_aligned() || length_bytes > kUserAddressEnd) return std::nullopt;
    const uint64_t rounded = PageRoundUp(length_bytes);
    if (start.value() > kUserAddressEnd || kUserAddressEnd - start.value() < rounded) return std::nullopt;
    return PageRange{start.page(), (start + rounded).page()};
  }
};

}  // namespace remora

#endif  // REMORA_BASE_GUEST_ADDR_H_
