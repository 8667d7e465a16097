// Scatter and gather, with empty pieces and many pieces.
#include "check.h"
#include <fcntl.h>
#include <sys/uio.h>

int main(void) {
  EnterScratchFolder();
  int fd = open("file", O_RDWR | O_CREAT, 0644);
  struct iovec out[4] = {{"abc", 3}, {NULL, 0}, {"defg", 4}, {"h", 1}};
  CHECK_EQ(writev(fd, out, 4), 8);
  char a[2], b[5], c[10];
  struct iovec in[3] = {{a, 2}, {b, 5}, {c, 10}};
  lseek(fd, 0, SEEK_SET);
  CHECK_EQ(readv(fd, in, 3), 8);
  CHECK(memcmp(a, "ab", 2) == 0 && memcmp(b, "cdefg", 5) == 0 && c[0] == 'h');
  CHECK_EQ(preadv(fd, in, 1, 3), 2);
  CHECK(memcmp(a, "de", 2) == 0);
  CHECK_EQ(pwritev(fd, out, 1, 5), 3);
  CHECK_EQ(pread(fd, c, 10, 0), 8);
  CHECK(memcmp(c, "abcdeabc", 8) == 0);
  // 1,024 pieces of one byte each.
  static char bytes[1024];
  static struct iovec many[1024];
  for (int i = 0; i < 1024; ++i) {
    bytes[i] = (char)i;
    many[i] = (struct iovec){&bytes[i], 1};
  }
  lseek(fd, 0, SEEK_SET);
  CHECK_EQ(writev(fd, many, 1024), 1024);
  memset(bytes, 0, sizeof bytes);
  lseek(fd, 0, SEEK_SET);
  CHECK_EQ(readv(fd, many, 1024), 1024);
  for (int i = 0; i < 1024; ++i) CHECK_EQ(bytes[i], (char)i);
  CHECK_EQ(readv(fd, many, 0), 0);
  return Finish();
}
