// Iovec arrays that are refused: too many, lengths that overflow, an array that cannot be read, pieces beyond user
// space. What the host's kernel (6.18) answered where two things are wrong: the access mode is looked at first, then
// the count, then the array element by element (a negative length before the place that cannot be read is EINVAL,
// behind it EFAULT), then addresses; a sum beyond 0x7ffff000 is cut, not refused.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
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
  CHECK_FAILS(preadv(zero, negative, 2, 0), EINVAL);
  CHECK_FAILS(pwritev(zero, negative, 2, 0), EINVAL);
  CHECK_EQ(readv(zero, NULL, 0), 0);
  CHECK_EQ(readv(zero, (struct iovec*)8, 0), 0);
  // The array runs into a hole.
  char* page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(munmap(page + 4096, 4096), 0);
  struct iovec* last = (struct iovec*)(page + 4096) - 1;
  *last = (struct iovec){page, 1};
  CHECK_EQ(readv(zero, last, 1), 1);
  CHECK_FAILS(readv(zero, last, 2), EFAULT);
  CHECK_FAILS(writev(zero, last, 2), EFAULT);
  last->iov_len = (size_t)-1;
  CHECK_FAILS(readv(zero, last, 2), EINVAL);
  // Beyond user space: refused before anything is moved, however long the pieces before it, and even if it is empty.
  char* kernel = (char*)0xffff800000000000;
  struct iovec beyond[2] = {{page, 10}, {kernel, 10}};
  page[0] = 'x';
  CHECK_FAILS(readv(zero, beyond, 2), EFAULT);
  CHECK_EQ(page[0], 'x');
  beyond[1].iov_len = 0;
  CHECK_FAILS(readv(zero, beyond, 2), EFAULT);
  beyond[0].iov_len = 0x7ffff000, beyond[1].iov_len = 1;
  CHECK_FAILS(readv(zero, beyond, 2), EFAULT);
  beyond[0] = (struct iovec){kernel, 10}, beyond[1] = (struct iovec){page, (size_t)-1};
  CHECK_FAILS(readv(zero, beyond, 2), EINVAL);
  // Sums that would overflow are cut; what then faults half-way is short.
  struct iovec sum[2] = {{page, 4096}, {page, (size_t)1 << 32}};
  CHECK_EQ(readv(zero, sum, 2), 8192);
  sum[0].iov_len = sum[1].iov_len = SIZE_MAX / 2;
  CHECK_FAILS(readv(zero, sum, 2), EFAULT);
  int null = open("/dev/null", O_WRONLY);
  struct iovec cut[3] = {{page, 0x7fffffff}, {page, 0x7fffffff}, {page, 1}};
  CHECK_EQ(writev(null, cut, 3), 0x7ffff000);
  // The access mode comes before the array.
  CHECK_FAILS(readv(null, (struct iovec*)8, 1), EBADF);
  CHECK_FAILS(readv(null, negative, 2), EBADF);
  return Finish();
}
