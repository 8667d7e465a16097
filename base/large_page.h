#ifndef REMORA_BASE_LARGE_PAGE_H_
#define REMORA_BASE_LARGE_PAGE_H_

#include <cstddef>
#include <cstdint>

namespace remora {

inline constexpr uint64_t kLargePageBytes = uint64_t{2} << 20;

// Asks the host to put what lies there into large pages, now, by copying it: fewer misses of the host CPU's TLB. Whole
// large pages, mapped and touched. False, and all is left as it is: the host cannot (Linux before 6.1, no memory in one
// piece). Thread safety: any; other threads may use the memory meanwhile. Source: madvise(2), MADV_COLLAPSE.
bool AskForLargePage(void* memory, size_t bytes);

// Address space for `bytes`, at a multiple of kLargePageBytes, without rights and memory; null: the host has none.
// munmap(2) gives it back.
void* ReserveForLargePages(size_t bytes);

// Zeroed memory, a multiple of kLargePageBytes and at one, in small pages, which AskForLargePage makes large ones of.
// Null: the host has none. munmap(2) gives it back.
void* MapAtLargePage(size_t bytes);

// Likewise, for what will soon be touched all over: the host may give a large page at the first touch, in place of 512
// faults. Source: madvise(2), MADV_HUGEPAGE.
void* MapForLargePages(size_t bytes);

}  // namespace remora

#endif  // REMORA_BASE_LARGE_PAGE_H_
