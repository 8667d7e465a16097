// getrandom: any length, short counts at a fault, EFAULT, flags; two reads differ.
#include "check.h"
#include <sys/mman.h>
#include <sys/random.h>

int main(void) {
  unsigned char a[64], b[64];
  CHECK_EQ(getrandom(a, 64, 0), 64);
  CHECK_EQ(getrandom(b, 64, GRND_NONBLOCK), 64);
  CHECK(memcmp(a, b, 64) != 0);
  CHECK_EQ(getrandom(a, 0, 0), 0);
  char* pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(munmap(pages + 4096, 4096), 0);
  CHECK_FAILS(getrandom(pages + 4096, 10, 0), EFAULT);
  CHECK_EQ(getrandom(pages, 10000, 0), 4096);
  CHECK_FAILS(getrandom(a, 10, 0x100), EINVAL);
  size_t large = 16 << 20;
  char* memory = mmap(NULL, large, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(getrandom(memory, large, 0), large);
  int zeros = 0;
  for (size_t i = 0; i < large; i += 4096) zeros += memory[i] == 0;
  CHECK(zeros < 200);
  return Finish();
}
