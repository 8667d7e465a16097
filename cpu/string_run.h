#ifndef REMORA_CPU_STRING_RUN_H_
#define REMORA_CPU_STRING_RUN_H_

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/guest_addr.h"
#include "cpu/guest_access.h"
#include "mm/tlb.h"

// How far a string instruction can go at once, and how it compares. What both engines use: general registers only.

namespace remora::cpu {

// How many elements, at most `wanted`, beginning with the one at `address` and going up or down, lie in the run of
// pages around it, whose host address is `host`. The first element must lie within one page.
template <mm::Access kAccess>
uint64_t ElementsInRun(mm::Tlb* tlb, uint64_t address, const std::byte* host, uint64_t size, bool down,
                       uint64_t wanted) {
  const auto elements = [&](uint64_t first, uint64_t end) {
    return down ? (address - first) / size + 1 : (end - address) / size;
  };
  const uint64_t page = address & ~kPageMask;
  if (const uint64_t in_page = elements(page, page + kPageSize); wanted <= in_page) return wanted;
  const PageRange run = tlb->RunAround<kAccess>(GuestAddr(address).page(), reinterpret_cast<uint64_t>(host) - address);
  const uint64_t in_run = elements(run.start_addr().value(), run.end_addr().value());
  return wanted < in_run ? wanted : in_run;
}

// The same for an address register of 32 bits: before it wraps. 0 if the first element itself does.
inline uint64_t ElementsBeforeWrap(uint64_t offset, uint64_t size, bool down) {
  return down ? (offset + size > uint64_t{1} << 32 ? 0 : offset / size + 1) : ((uint64_t{1} << 32) - offset) / size;
}

// How far a comparison came: the elements compared, at least one, and the last two.
template <typename T>
struct Compared {
  uint64_t count = 0;
  T left{}, right{};
};

// Compares `count` (not 0) elements, as long as they are equal or, with kWhileEqual false, unequal; left(i) gives the
// 8 bytes from element i on, element(i) that element alone; likewise right.
template <typename T, bool kWhileEqual, typename Left, typename Right>
[[gnu::always_inline]] inline Compared<T> CompareWords(uint64_t count, bool down, Left left, Right right) {
  constexpr uint64_t kInWord = sizeof(uint64_t) / sizeof(T);
  constexpr uint64_t kOnes = ~uint64_t{0} / static_cast<T>(~T{0});
  constexpr uint64_t kTops = kOnes << (8 * sizeof(T) - 1);
  uint64_t i = 0;
  if (!down) {
    for (; count - i >= kInWord; i += kInWord) {
      const auto a = left.template At<uint64_t>(i), b = right.template At<uint64_t>(i);
      const uint64_t difference = a ^ b;
      // The lowest bit set is of the first element that differs, or is equal.
      const uint64_t stops = kWhileEqual ? difference : (difference - kOnes) & ~difference & kTops;
      if (stops == 0) continue;
      const auto in_word = static_cast<unsigned>(std::countr_zero(stops)) / (8 * sizeof(T));
      return {i + in_word + 1, static_cast<T>(a >> 8 * sizeof(T) * in_word),
              static_cast<T>(b >> 8 * sizeof(T) * in_word)};
    }
    if (i == count) return {count, left.template At<T>(count - 1), right.template At<T>(count - 1)};
  }
  T a{}, b{};
  do {
    a = left.template At<T>(i);
    b = right.template At<T>(i);
    ++i;
  } while (i < count && (a == b) == kWhileEqual);
  return {i, a, b};
}

// Elements in memory, upwards or downwards from `host`.
template <typename T>
struct ElementsAt {
  const std::byte* host;
  bool down;

  template <typename U>
  [[gnu::always_inline]] U At(uint64_t i) const {
    return LoadGuest<U>(down ? host - i * sizeof(T) : host + i * sizeof(T));
  }
};

// One value again and again.
template <typename T>
struct SameElement {
  T value;

  template <typename U>
  [[gnu::always_inline]] U At(uint64_t) const {
    return static_cast<U>(value * (static_cast<U>(~U{0}) / static_cast<T>(~T{0})));
  }
};

template <typename T, typename Left, typename Right>
Compared<T> CompareRun(uint64_t count, bool while_equal, bool down, Left left, Right right) {
  return while_equal ? CompareWords<T, true>(count, down, left, right)
                     : CompareWords<T, false>(count, down, left, right);
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_STRING_RUN_H_
