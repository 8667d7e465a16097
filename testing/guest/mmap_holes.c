// A hint over an existing mapping does not destroy it; a free hint is taken; holes are reused; many mappings work.
#include "check.h"
#include <sys/mman.h>

static char* Map(void* hint, size_t pages) {
  char* p = mmap(hint, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED);
  return p;
}

int main(void) {
  char* first = Map(NULL, 4);
  memset(first, 5, 4 * 4096);
  char* second = Map(first + 4096, 2);
  CHECK(second + 2 * 4096 <= first || second >= first + 4 * 4096);
  for (int i = 0; i < 4 * 4096; ++i) CHECK_EQ(first[i], 5);
  CHECK_EQ(munmap(first, 4 * 4096), 0);
  CHECK(Map(first + 4096, 2) == first + 4096);
  // 2,000 mappings that cannot merge, every other one removed, then refilled.
  enum { kCount = 2000 };
  static char* maps[kCount];
  for (int i = 0; i < kCount; ++i) {
    maps[i] = mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(maps[i] != MAP_FAILED);
    if (i % 2 == 0) maps[i][0] = (char)i;
  }
  for (int i = 1; i < kCount; i += 2) CHECK_EQ(munmap(maps[i], 4096), 0);
  for (int i = 1; i < kCount; i += 2) {
    maps[i] = Map(NULL, 1);
    CHECK_EQ(maps[i][0], 0);
    maps[i][0] = (char)i;
  }
  for (int i = 0; i < kCount; ++i) CHECK_EQ(maps[i][0], (char)i);
  for (int i = 0; i < kCount; ++i) CHECK_EQ(munmap(maps[i], 4096), 0);
  return Finish();
}
