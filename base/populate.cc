#include "base/populate.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>

namespace remora {

void Populate(void* memory, size_t bytes) {
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, which the C library's headers may lack
  constexpr uintptr_t kHostPageMask = 4095;
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = begin & ~kHostPageMask;
  const uintptr_t end = (begin + bytes + kHostPageMask) & ~kHostPageMask;
  if (bytes != 0) (void)madvise(reinterpret_cast<void*>(first), end - first, kPopulateWrite);
}

void PopulatedAhead::Step(void* memory, size_t end, size_t bytes) {
  // Up to a multiple of the step in the host's addresses: it maps the same pages elsewhere by such pieces.
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t up_to = (begin + end + kStepBytes - 1) & ~uintptr_t{kStepBytes - 1};
  const size_t next = std::min<size_t>(up_to - begin, bytes);
  if (next <= populated_) return;
  Populate(static_cast<std::byte*>(memory) + populated_, next - populated_);
  populated_ = next;
}

}  // namespace remora
