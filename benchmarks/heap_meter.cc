#include "benchmarks/heap_meter.h"

#include <errno.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define REMORA_HEAP_METER_OFF 1
#endif
#endif

namespace remora {
namespace {

// Global, because malloc is.
std::atomic<bool> g_metering{false};
std::atomic<int64_t> g_bytes{0};
std::atomic<int64_t> g_peak_bytes{0};
std::atomic<uint64_t> g_allocations{0};

}  // namespace

#ifndef REMORA_HEAP_METER_OFF

namespace {

void* NoteAllocated(void* memory) {
  if (memory == nullptr || !g_metering.load(std::memory_order_relaxed)) return memory;
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  const auto n = static_cast<int64_t>(malloc_usable_size(memory));
  const int64_t now = g_bytes.fetch_add(n, std::memory_order_relaxed) + n;
  int64_t peak = g_peak_bytes.load(std::memory_order_relaxed);
  while (now > peak && !g_peak_bytes.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
  return memory;
}

void NoteFreed(void* memory) {
  if (memory == nullptr || !g_metering.load(std::memory_order_relaxed)) return;
  const auto n = static_cast<int64_t>(malloc_usable_size(memory));
  // What is older than the meter must not make room for what is not.
  if (g_bytes.fetch_sub(n, std::memory_order_relaxed) < n) g_bytes.fetch_add(n, std::memory_order_relaxed);
}

}  // namespace

// glibc's own, under the names that it keeps for those who put something in front of malloc.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t n) { return NoteAllocated(__libc_malloc(n)); }
void* calloc(size_t count, size_t n) { return NoteAllocated(__libc_calloc(count, n)); }
void* realloc(void* memory, size_t n) {
  NoteFreed(memory);
  return NoteAllocated(__libc_realloc(memory, n));
}
void free(void* memory) {
  NoteFreed(memory);
  __libc_free(memory);
}
void* memalign(size_t alignment, size_t n) { return NoteAllocated(__libc_memalign(alignment, n)); }
void* aligned_alloc(size_t alignment, size_t n) { return NoteAllocated(__libc_memalign(alignment, n)); }
int posix_memalign(void** out, size_t alignment, size_t n) {
  void* memory = NoteAllocated(__libc_memalign(alignment, n));
  if (memory == nullptr) return ENOMEM;
  *out = memory;
  return 0;
}
}  // extern "C"

bool HeapMeter::Works() { return true; }

#else

bool HeapMeter::Works() { return false; }

#endif

HeapMeter::HeapMeter() {
  g_bytes.store(0);
  g_peak_bytes.store(0);
  g_allocations.store(0);
  g_metering.store(true);
}
HeapMeter::~HeapMeter() { g_metering.store(false); }

uint64_t HeapMeter::peak_bytes() const { return static_cast<uint64_t>(std::max<int64_t>(g_peak_bytes.load(), 0)); }
uint64_t HeapMeter::num_allocations() const { return g_allocations.load(); }

}  // namespace remora
