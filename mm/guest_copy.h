#ifndef REMORA_MM_GUEST_COPY_H_
#define REMORA_MM_GUEST_COPY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace remora::mm {

// Copies where one side or both are guest memory, which guest threads may write at the same moment: a race that is the
// guest's business. Builds with ThreadSanitizer go byte by byte with relaxed atomics, so that it reports only races on
// Remora's own data. Overlap is allowed: a guest may read a file into a mapping of that file.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define REMORA_GUEST_COPY_ATOMIC 1
#endif
#endif

#ifdef REMORA_GUEST_COPY_ATOMIC

inline void CopyGuestMemory(std::byte* to, const std::byte* from, uint64_t n) {
  const bool backward = to > from && to < from + n;
  for (uint64_t i = 0; i < n; ++i) {
    const uint64_t at = backward ? n - 1 - i : i;
    __atomic_store_n(reinterpret_cast<unsigned char*>(to + at),
                     __atomic_load_n(reinterpret_cast<const unsigned char*>(from + at), __ATOMIC_RELAXED),
                     __ATOMIC_RELAXED);
  }
}
inline void ZeroGuestMemory(std::byte* to, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) __atomic_store_n(reinterpret_cast<unsigned char*>(to + i), 0, __ATOMIC_RELAXED);
}

#else

inline void CopyGuestMemory(std::byte* to, const std::byte* from, uint64_t n) { std::memmove(to, from, n); }
inline void ZeroGuestMemory(std::byte* to, uint64_t n) { std::memset(to, 0, n); }

#endif

}  // namespace remora::mm

#endif  // REMORA_MM_GUEST_COPY_H_
