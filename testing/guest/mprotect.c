// Rights change page by page, in the middle of mappings, and errors change what precedes the hole.
#include "check.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static sigjmp_buf back;
static void Handler(int signal) { (void)signal, siglongjmp(back, 1); }

static int Writable(char* p) {
  if (sigsetjmp(back, 1)) return 0;
  *(volatile char*)p = *(volatile char*)p;
  return 1;
}
static int Readable(char* p) {
  if (sigsetjmp(back, 1)) return 0;
  (void)*(volatile char*)p;
  return 1;
}

int main(void) {
  signal(SIGSEGV, Handler);
  char* p = mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(p, 1, 5 * 4096);
  CHECK_EQ(mprotect(p + 4096, 4096, PROT_READ), 0);
  CHECK_EQ(mprotect(p + 2 * 4096, 4096, PROT_NONE), 0);
  const int writable[] = {1, 0, 0, 1, 1}, readable[] = {1, 1, 0, 1, 1};
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < 5; ++i) {
      CHECK_EQ(Writable(p + i * 4096), writable[i]);
      CHECK_EQ(Readable(p + i * 4096), readable[i]);
    }
  CHECK_EQ(mprotect(p, 5 * 4096, PROT_READ | PROT_WRITE), 0);
  for (int i = 0; i < 5; ++i) CHECK(Writable(p + i * 4096) && p[i * 4096] == 1);
  CHECK_EQ(munmap(p + 3 * 4096, 4096), 0);
  CHECK_FAILS(mprotect(p + 2 * 4096, 3 * 4096, PROT_READ), ENOMEM);
  CHECK_EQ(Writable(p + 2 * 4096), 0);
  CHECK_EQ(Writable(p + 4 * 4096), 1);
  CHECK_FAILS(mprotect(p + 1, 4096, PROT_READ), EINVAL);
  CHECK_EQ(mprotect(p, 0, PROT_READ), 0);
  return Finish();
}
