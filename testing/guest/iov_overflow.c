// Iovec arrays that are refused: too many, lengths that overflow, an array that cannot be read.
#include "check.h"
#include <fcntl.h>
#include <sys/uio.h>

int main(void) {
  int zero = open("/dev/zero", O_RDWR);
  char byte;
  static struct iovec many[1025];
  for (int i = 0; i < 1025; ++i) many[i] = (struct iovec){&byte, 1};
  CHECK_EQ(readv(zero, many, 1024), 1024);
  CHECK_FAILS(readv(zero, many, 1025), EINVAL);
  CHECK_FAILS(readv(zero, many, -1), EINVAL);
  struct iovec negative[2] = {{&byte, 1}, {&byte, (size_t)-1}};
  CHECK_FAILS(readv(zero, negative, 2), EINVAL);
  CHECK_FAILS(writev(zero, negative, 2), EINVAL);
  CHECK_FAILS(readv(zero, (struct iovec*)8, 1), EFAULT);
  CHECK_FAILS(readv(-1, many, 1), EBADF);
  return Finish();
}
