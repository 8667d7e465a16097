#ifndef REMORA_CPU_GUEST_ACCESS_H_
#define REMORA_CPU_GUEST_ACCESS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

// How the engine touches a host page that holds guest memory. Other workers access the same bytes at the same time, as
// the guest's threads do, so an aligned access of up to 8 bytes is one access and the compiler neither repeats nor
// reorders it. On an x86 host that gives the guest x86's memory order. Under TSan all accesses are relaxed atomics.

namespace remora::cpu {

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define REMORA_GUEST_ACCESS_TSAN 1
#endif
#endif

template <typename T>
struct [[gnu::packed, gnu::may_alias]] UnalignedGuest {
  T value;
};

template <typename T>
[[gnu::always_inline]] inline T LoadGuest(const std::byte* host) {
#ifdef REMORA_GUEST_ACCESS_TSAN
  if (reinterpret_cast<uintptr_t>(host) % sizeof(T) == 0)
    return __atomic_load_n(reinterpret_cast<const T*>(host), __ATOMIC_RELAXED);
  T value;
  for (size_t i = 0; i < sizeof(T); ++i)
    reinterpret_cast<uint8_t*>(&value)[i] =
        __atomic_load_n(reinterpret_cast<const uint8_t*>(host) + i, __ATOMIC_RELAXED);
  return value;
#else
  return reinterpret_cast<const volatile UnalignedGuest<T>*>(host)->value;
#endif
}

template <typename T>
[[gnu::always_inline]] inline void StoreGuest(std::byte* host, T value) {
#ifdef REMORA_GUEST_ACCESS_TSAN
  if (reinterpret_cast<uintptr_t>(host) % sizeof(T) == 0) {
    __atomic_store_n(reinterpret_cast<T*>(host), value, __ATOMIC_RELAXED);
    return;
  }
  for (size_t i = 0; i < sizeof(T); ++i)
    __atomic_store_n(reinterpret_cast<uint8_t*>(host) + i, reinterpret_cast<const uint8_t*>(&value)[i],
                     __ATOMIC_RELAXED);
#else
  reinterpret_cast<volatile UnalignedGuest<T>*>(host)->value = value;
#endif
}

#ifndef REMORA_GUEST_ACCESS_TSAN
// Sixteen bytes, so that a vector register's content does not go through memory by halves.
using GuestVector = uint64_t __attribute__((vector_size(16)));
#endif

// Copies between the guest and the engine's own memory; 1, 2, 4 and 8 bytes as one access, longer ones by eights (or
// sixteens, where the host has vectors).
inline void CopyFromGuest(void* to, const std::byte* host, size_t length_bytes) {
  auto* out = static_cast<std::byte*>(to);
#ifndef REMORA_GUEST_ACCESS_TSAN
  while (length_bytes >= 16) {
    const auto value = LoadGuest<GuestVector>(host);
    std::memcpy(out, &value, 16);
    out += 16, host += 16, length_bytes -= 16;
  }
#endif
  while (length_bytes >= 8) {
    const uint64_t value = LoadGuest<uint64_t>(host);
    std::memcpy(out, &value, 8);
    out += 8, host += 8, length_bytes -= 8;
  }
  if (length_bytes & 4) {
    const uint32_t value = LoadGuest<uint32_t>(host);
    std::memcpy(out, &value, 4);
    out += 4, host += 4;
  }
  if (length_bytes & 2) {
    const uint16_t value = LoadGuest<uint16_t>(host);
    std::memcpy(out, &value, 2);
    out += 2, host += 2;
  }
  if (length_bytes & 1) *out = static_cast<std::byte>(LoadGuest<uint8_t>(host));
}
inline void CopyToGuest(std::byte* host, const void* from, size_t length_bytes) {
  const auto* in = static_cast<const std::byte*>(from);
#ifndef REMORA_GUEST_ACCESS_TSAN
  while (length_bytes >= 16) {
    GuestVector value;
    std::memcpy(&value, in, 16);
    StoreGuest<GuestVector>(host, value);
    in += 16, host += 16, length_bytes -= 16;
  }
#endif
  while (length_bytes >= 8) {
    uint64_t value;
    std::memcpy(&value, in, 8);
    StoreGuest<uint64_t>(host, value);
    in += 8, host += 8, length_bytes -= 8;
  }
  if (length_bytes & 4) {
    uint32_t value;
    std::memcpy(&value, in, 4);
    StoreGuest<uint32_t>(host, value);
    in += 4, host += 4;
  }
  if (length_bytes & 2) {
    uint16_t value;
    std::memcpy(&value, in, 2);
    StoreGuest<uint16_t>(host, value);
    in += 2, host += 2;
  }
  if (length_bytes & 1) StoreGuest<uint8_t>(host, static_cast<uint8_t>(*in));
}

}  // namespace remora::cpu

#endif  // REMORA_CPU_GUEST_ACCESS_H_
