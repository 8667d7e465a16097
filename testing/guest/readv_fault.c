// A fault half-way through a vectored read of a regular file: the bytes that fit are returned and the offset moves by as many.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

int main(void) {
  EnterScratchFolder();
  int fd = open("file", O_RDWR | O_CREAT, 0644);
  static char data[12000];
  for (size_t i = 0; i < sizeof data; ++i) data[i] = (char)(i * 7);
  CHECK_EQ(write(fd, data, sizeof data), sizeof data);
  lseek(fd, 0, SEEK_SET);
  char* bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char good[5000];
  struct iovec pieces[3] = {{good, 5000}, {bad, 100}, {good, 100}};
  CHECK_EQ(readv(fd, pieces, 3), 5000);
  CHECK(memcmp(good, data, 5000) == 0);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5000);
  // The first piece faults: nothing is read and the offset stays.
  struct iovec reversed[2] = {{bad, 100}, {good, 100}};
  CHECK_FAILS(readv(fd, reversed, 2), EFAULT);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5000);
  CHECK_FAILS(readv(fd, (struct iovec*)bad, 2), EFAULT);
  return Finish();
}
