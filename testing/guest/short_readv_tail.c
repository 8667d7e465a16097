// A short readv leaves the iovecs beyond its count untouched.
#include "check.h"
#include <sys/uio.h>

int main(void) {
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  char a[4], b[4], c[4];
  memset(a, 'A', 4), memset(b, 'B', 4), memset(c, 'C', 4);
  struct iovec pieces[3] = {{a, 4}, {b, 4}, {c, 4}};
  CHECK_EQ(write(ends[1], "12345", 5), 5);
  CHECK_EQ(readv(ends[0], pieces, 3), 5);
  CHECK(memcmp(a, "1234", 4) == 0);
  CHECK(memcmp(b, "5BBB", 4) == 0);
  CHECK(memcmp(c, "CCCC", 4) == 0);
  return Finish();
}
