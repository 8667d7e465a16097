// MADV_DONTNEED drops private pages, rereads file pages; hints are accepted; bad ranges and advice are refused.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>

int main(void) {
  EnterScratchFolder();
  char* p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(p, 3, 3 * 4096);
  CHECK_EQ(madvise(p + 4096, 4096, MADV_DONTNEED), 0);
  CHECK(p[4095] == 3 && p[4096] == 0 && p[8191] == 0 && p[8192] == 3);
  p[4096] = 9;
  CHECK_EQ(p[4096], 9);
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  CHECK_EQ(write(fd, "content", 7), 7);
  char* file = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  file[0] = 'X';
  CHECK_EQ(madvise(file, 4096, MADV_DONTNEED), 0);
  CHECK_EQ(file[0], 'c');
  CHECK_EQ(madvise(p, 4096, MADV_WILLNEED), 0);
  CHECK_EQ(madvise(p, 4096, MADV_NORMAL), 0);
  CHECK_FAILS(madvise(p + 1, 4096, MADV_DONTNEED), EINVAL);
  CHECK_FAILS(madvise(p, 4096, 12345), EINVAL);
  CHECK_EQ(munmap(p + 4096, 4096), 0);
  CHECK_FAILS(madvise(p, 3 * 4096, MADV_DONTNEED), ENOMEM);
  return Finish();
}
