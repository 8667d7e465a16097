// The break grows and shrinks; what comes back is zero; malloc of all sizes works on it.
#include "check.h"
#include <sys/syscall.h>

int main(void) {
  char* start = sbrk(0);
  CHECK(sbrk(100000) == start);
  memset(start, 9, 100000);
  CHECK(sbrk(-50000) == start + 100000);
  CHECK(sbrk(0) == start + 50000);
  CHECK(sbrk(50000) == start + 50000);
  CHECK_EQ(start[49999], 9);
  CHECK_EQ(start[60000], 0);
  CHECK_EQ(syscall(SYS_brk, 0), (long)(start + 100000));
  CHECK_EQ(syscall(SYS_brk, 1), (long)(start + 100000));  // refused: the old break is the answer
  void* blocks[200];
  for (int i = 0; i < 200; ++i) {
    blocks[i] = malloc((size_t)i * i * 10 + 1);
    CHECK(blocks[i] != NULL);
    memset(blocks[i], i, (size_t)i * i * 10 + 1);
  }
  for (int i = 0; i < 200; ++i) {
    CHECK_EQ(((unsigned char*)blocks[i])[i * i * 10], i);
    free(blocks[i]);
  }
  return Finish();
}
