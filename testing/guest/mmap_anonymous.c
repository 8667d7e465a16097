// Anonymous memory: zeros, splitting unmaps, MAP_FIXED replaces, errors, MADV_DONTNEED, mincore-free large reservations.
#include "check.h"
#include <sys/mman.h>

int main(void) {
  char* p = mmap(NULL, 10 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED && ((uintptr_t)p & 4095) == 0);
  for (int i = 0; i < 10 * 4096; ++i) CHECK_EQ(p[i], 0);
  memset(p, 7, 10 * 4096);
  CHECK_EQ(munmap(p + 4096 * 3, 4096), 0);
  CHECK_EQ(p[4096 * 3 - 1], 7);
  CHECK_EQ(p[4096 * 4], 7);
  CHECK_EQ(munmap(p + 4096 * 3, 4096), 0);  // nothing there: still fine
  char* again = mmap(p + 4096 * 3, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(again == p + 4096 * 3);
  CHECK_EQ(again[0], 0);
  CHECK(mmap(p, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
  CHECK_EQ(p[0], 0);
  CHECK(mmap(p, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
  CHECK_EQ(errno, EEXIST);
  CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
  CHECK_EQ(errno, EINVAL);
  CHECK(mmap(p + 1, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);
  CHECK_EQ(errno, EINVAL);
  CHECK(mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
  CHECK_EQ(errno, EINVAL);
  CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED);
  CHECK_EQ(errno, EBADF);
  CHECK_FAILS(munmap(p + 1, 4096), EINVAL);
  CHECK_EQ(madvise(p + 4096 * 5, 4096, MADV_DONTNEED), 0);
  CHECK_EQ(p[4096 * 5], 0);
  CHECK_EQ(p[4096 * 6], 7);
  // A reservation far beyond memory costs nothing until it is touched.
  size_t huge = (size_t)1 << 38;
  char* reserved = mmap(NULL, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(reserved != MAP_FAILED);
  reserved[0] = 1, reserved[huge / 2] = 2, reserved[huge - 1] = 3;
  CHECK(reserved[0] == 1 && reserved[huge / 2] == 2 && reserved[huge - 1] == 3);
  CHECK_EQ(munmap(reserved, huge), 0);
  CHECK_EQ(((uintptr_t)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0)) >> 31, 0);
  return Finish();
}
