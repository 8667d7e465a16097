// A hint over an existing mapping does not destroy it; a free hint is taken; holes are reused; many mappings work. What
// the host's kernel (6.18) answered: a hint that does not fit is as none, MAP_FIXED_NOREPLACE over a mapping is EEXIST
// and changes nothing, MAP_FIXED replaces, and a mapping without a hint takes the upper end of the highest hole that
// has room.
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
  // A hint that is not at a page's start is rounded; one that overlaps by one page only is no good either.
  char* area = Map(NULL, 16);
  CHECK_EQ(munmap(area, 16 * 4096), 0);
  char* fence = Map(area + 8 * 4096, 1);
  CHECK(fence == area + 8 * 4096);
  fence[0] = 'f';
  char* over = Map(area + 7 * 4096, 2);
  CHECK(over + 2 * 4096 <= fence || over >= fence + 4096);
  CHECK_EQ(fence[0], 'f');
  CHECK_EQ(munmap(over, 2 * 4096), 0);
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  CHECK_FAILS((intptr_t)mmap(area + 7 * 4096, 8192, PROT_READ, flags | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
  CHECK_EQ(fence[0], 'f');
  CHECK(mmap(fence, 4096, PROT_READ, flags | MAP_FIXED, -1, 0) == fence);
  CHECK_EQ(fence[0], 0);
  CHECK_FAILS((intptr_t)mmap(NULL, (size_t)1 << 47, PROT_READ, flags | MAP_NORESERVE, -1, 0), ENOMEM);
  CHECK_EQ(munmap(fence, 4096), 0);
  // The highest hole that has room, and its upper end.
  char* block = Map(NULL, 64);
  CHECK_EQ(munmap(block + 10 * 4096, 2 * 4096), 0);
  CHECK_EQ(munmap(block + 30 * 4096, 5 * 4096), 0);
  CHECK_EQ(munmap(block + 50 * 4096, 3 * 4096), 0);
  char* three = Map(NULL, 3);
  CHECK(three == block + 50 * 4096 || three < block || three > block + 63 * 4096);
  if (three == block + 50 * 4096) {
    CHECK(Map(NULL, 4) == block + 31 * 4096);
    CHECK(Map(NULL, 1) >= block + 30 * 4096);  // a single page may have room higher up
  }
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
