#include "base/large_page.h"

#include <sys/mman.h>

namespace remora {

bool AskForLargePage(void* memory, size_t bytes) {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, which the C library's headers may lack
  return madvise(memory, bytes, kCollapse) == 0;
}

void* ReserveForLargePages(size_t bytes) {
  void* memory = mmap(nullptr, bytes + kLargePageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  // What is before and behind goes back.
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t aligned = (begin + kLargePageBytes - 1) & ~(kLargePageBytes - 1);
  if (aligned != begin) munmap(memory, aligned - begin);
  const uintptr_t end = aligned + bytes;
  if (const uintptr_t rest = begin + bytes + kLargePageBytes - end; rest != 0)
    munmap(reinterpret_cast<void*>(end), rest);
  return reinterpret_cast<void*>(aligned);
}

void* MapAtLargePage(size_t bytes) {
  void* memory = ReserveForLargePages(bytes);
  if (memory == nullptr) return nullptr;
  if (mprotect(memory, bytes, PROT_READ | PROT_WRITE) != 0) {
    munmap(memory, bytes);
    return nullptr;
  }
  return memory;
}

void* MapForLargePages(size_t bytes) {
  void* memory = MapAtLargePage(bytes);
  if (memory != nullptr) (void)madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
}

}  // namespace remora
