// getrandom: any length, short counts at a fault, EFAULT, flags; two reads differ. What the host's kernel (6.18)
// answered: bytes before a fault are returned, be they few; a range that reaches beyond user space (after the length is
// cut to 0x7ffff000) is EFAULT at once, even if it is empty; flags come first; a pending signal shortens nothing below
// a page.
#include "check.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/time.h>

static void Nothing(int signal) { (void)signal; }

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
  CHECK_EQ(getrandom(pages + 4090, 10, 0), 6);
  CHECK_EQ(getrandom(pages + 4000, 256, 0), 96);
  CHECK_EQ(getrandom(pages, SIZE_MAX, 0), 4096);
  CHECK_EQ(getrandom(NULL, 0, 0), 0);
  CHECK_FAILS(getrandom(NULL, 1, 0), EFAULT);
  CHECK_FAILS(getrandom((void*)-1, 10, 0), EFAULT);
  CHECK_FAILS(getrandom((void*)-1, 0, 0), EFAULT);
  CHECK_FAILS(getrandom((void*)0x7fffffffe000, (size_t)1 << 31, 0), EFAULT);
  CHECK_FAILS(getrandom((void*)-1, 10, 0x100), EINVAL);
  CHECK_FAILS(getrandom(a, 10, GRND_RANDOM | 4 /* GRND_INSECURE */), EINVAL);
  CHECK_EQ(getrandom(a, 10, 4), 10);
  // Bytes beyond the length stay.
  memset(a, 7, sizeof a);
  CHECK_EQ(getrandom(a, 10, 0), 10);
  for (int i = 10; i < 64; ++i) CHECK_EQ(a[i], 7);
  // Alarms all the time: 256 bytes come whole.
  CHECK(signal(SIGALRM, Nothing) != SIG_ERR);
  struct itimerval often = {{0, 100}, {0, 100}};
  CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
  for (int i = 0; i < 2000; ++i) CHECK_EQ(getrandom(pages + 4096 - 256 - i % 100, 256, 0), 256);
  struct itimerval never = {{0, 0}, {0, 0}};
  CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
  CHECK_FAILS(getrandom(a, 10, 0x100), EINVAL);
  size_t large = 16 << 20;
  char* memory = mmap(NULL, large, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(getrandom(memory, large, 0), large);
  int zeros = 0;
  for (size_t i = 0; i < large; i += 4096) zeros += memory[i] == 0;
  CHECK(zeros < 200);
  return Finish();
}
