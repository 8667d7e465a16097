#ifndef REMORA_BASE_ZEROED_H_
#define REMORA_BASE_ZEROED_H_

#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <type_traits>

#include "base/check.h"
#include "base/large_page.h"

namespace remora {

struct ZeroedDelete {
  size_t bytes = 0;
  void operator()(void* memory) const { munmap(memory, bytes); }
};
// The first of some objects.
template <typename T>
using Zeroed = std::unique_ptr<T, ZeroedDelete>;

// Whether zeroed bytes are such an object without anybody having made it, and the end of the memory its end.
template <typename T>
inline constexpr bool kMadeByZeros = std::is_trivially_copy_constructible_v<T> && std::is_trivially_destructible_v<T>;
template <typename T>
inline constexpr bool kMadeByZeros<std::atomic<T>> = std::atomic<T>::is_always_lock_free;

// `count` objects side by side, aligned to a page, all bytes of which are zero, whatever T's initializers say. Meant
// for large tables, of which only what is touched takes memory: the host gives zeroed pages one by one.
template <typename T>
Zeroed<T> MakeZeroed(size_t count = 1) {
  static_assert(kMadeByZeros<T>);
  const size_t bytes = count * sizeof(T);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_MSG(memory != MAP_FAILED, "the host gives no memory");
  return Zeroed<T>(static_cast<T*>(memory), ZeroedDelete{bytes});
}

// Likewise, in memory that `map` gives: MapForLargePages, for tables that are soon touched all over; MapAtLargePage,
// for what may be put into large pages later.
template <typename T>
Zeroed<T> MakeZeroedBy(void* (*map)(size_t bytes), size_t count = 1) {
  static_assert(kMadeByZeros<T>);
  const size_t bytes = (count * sizeof(T) + kLargePageBytes - 1) & ~(kLargePageBytes - 1);
  void* memory = map(bytes);
  CHECK_MSG(memory != nullptr, "the host gives no memory");
  return Zeroed<T>(static_cast<T*>(memory), ZeroedDelete{bytes});
}

}  // namespace remora

#endif  // REMORA_BASE_ZEROED_H_
