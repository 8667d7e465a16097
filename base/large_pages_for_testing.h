#ifndef REMORA_BASE_LARGE_PAGES_FOR_TESTING_H_
#define REMORA_BASE_LARGE_PAGES_FOR_TESTING_H_

#include <cstdint>

namespace remora {

// Whether this host gives large pages to who asks, tried with memory of its own. It may give some unasked, too.
bool HostGivesLargePages();

// Bytes of the mapping around `memory` that are in large pages. Source: proc_pid_smaps(5).
uint64_t BytesInLargePages(const void* memory);

}  // namespace remora

#endif  // REMORA_BASE_LARGE_PAGES_FOR_TESTING_H_
