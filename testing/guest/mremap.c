// Growing in place, moving, shrinking, MREMAP_FIXED; contents travel along.
#include "check.h"
#include <sys/mman.h>

int main(void) {
  char* p = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 8; ++i) p[i * 4096] = (char)(i + 1);
  CHECK(mremap(p, 8 * 4096, 3 * 4096, 0) == p);
  CHECK_EQ(p[2 * 4096], 3);
  CHECK(mremap(p, 3 * 4096, 5 * 4096, 0) == p);  // the room it just left is free
  CHECK_EQ(p[2 * 4096], 3);
  CHECK_EQ(p[3 * 4096], 0);
  char* wall = mmap(p + 5 * 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(wall == p + 5 * 4096);
  CHECK(mremap(p, 5 * 4096, 6 * 4096, 0) == MAP_FAILED);
  CHECK_EQ(errno, ENOMEM);
  char* moved = mremap(p, 5 * 4096, 100 * 4096, MREMAP_MAYMOVE);
  CHECK(moved != MAP_FAILED && moved != p);
  for (int i = 0; i < 3; ++i) CHECK_EQ(moved[i * 4096], i + 1);
  CHECK_EQ(moved[99 * 4096], 0);
  char* target = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mremap(moved, 2 * 4096, 3 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
  CHECK(target[0] == 1 && target[4096] == 2 && target[2 * 4096] == 0);
  CHECK_EQ(moved[2 * 4096], 3);
  CHECK(mremap(p, 4096, 4096, MREMAP_MAYMOVE) == MAP_FAILED);
  CHECK_EQ(errno, EFAULT);
  CHECK(mremap(target, 4096, 0, MREMAP_MAYMOVE) == MAP_FAILED);
  CHECK_EQ(errno, EINVAL);
  return Finish();
}
