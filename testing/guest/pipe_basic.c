// Pipes: order, end of file, capacity, EAGAIN, fstat, flags of pipe2.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void) {
  int ends[2];
  char buffer[100];
  CHECK_EQ(pipe(ends), 0);
  struct stat st;
  CHECK_EQ(fstat(ends[0], &st), 0);
  CHECK(S_ISFIFO(st.st_mode));
  CHECK_EQ(write(ends[1], "one", 3), 3);
  CHECK_EQ(write(ends[1], "two", 3), 3);
  CHECK_EQ(read(ends[0], buffer, 4), 4);
  CHECK(memcmp(buffer, "onet", 4) == 0);
  CHECK_EQ(read(ends[0], buffer, 100), 2);
  CHECK_FAILS(read(ends[1], buffer, 1), EBADF);
  CHECK_FAILS(write(ends[0], buffer, 1), EBADF);
  CHECK_EQ(close(ends[1]), 0);
  CHECK_EQ(read(ends[0], buffer, 100), 0);
  CHECK_EQ(close(ends[0]), 0);

  CHECK_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
  CHECK_EQ(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
  CHECK(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
  CHECK_FAILS(read(ends[0], buffer, 1), EAGAIN);
  static char block[4096];
  long total = 0, n;
  while ((n = write(ends[1], block, sizeof block)) > 0) total += n;
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(total, 65536);
  CHECK_EQ(fcntl(ends[1], F_GETPIPE_SZ), 65536);
  CHECK_FAILS(pipe2(ends, 0x1), EINVAL);
  CHECK_FAILS(pipe((int*)8), EFAULT);
  return Finish();
}
