#include "base/large_pages_for_testing.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "base/large_page.h"

namespace remora {

bool HostGivesLargePages() {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE
  void* memory = ReserveForLargePages(kLargePageBytes);
  if (memory == nullptr) return false;
  bool gives = mprotect(memory, kLargePageBytes, PROT_READ | PROT_WRITE) == 0;
  if (gives) {
    std::memset(memory, 1, kLargePageBytes);
    gives = madvise(memory, kLargePageBytes, kCollapse) == 0;
  }
  munmap(memory, kLargePageBytes);
  return gives;
}

uint64_t BytesInLargePages(const void* memory) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  uint64_t kib = 0;
  bool here = false;
  while (std::getline(smaps, line)) {
    unsigned long first = 0, end = 0, value = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &end) == 2)
      here = first <= address && address < end;
    else if (here && (std::sscanf(line.c_str(), "AnonHugePages: %lu", &value) == 1 ||
                      std::sscanf(line.c_str(), "ShmemPmdMapped: %lu", &value) == 1))
      kib += value;
  }
  return kib << 10;
}

}  // namespace remora
