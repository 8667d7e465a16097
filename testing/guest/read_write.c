// Regular files: open, creat, read, write, lseek, O_APPEND, O_TRUNC, O_EXCL, ftruncate.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void) {
  EnterScratchFolder();
  char buffer[64];
  int fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0644);
  CHECK(fd >= 0);
  CHECK_FAILS(open("file", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
  CHECK_EQ(write(fd, "hello, world", 12), 12);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 12);
  CHECK_EQ(lseek(fd, 7, SEEK_SET), 7);
  CHECK_EQ(read(fd, buffer, sizeof buffer), 5);
  CHECK(memcmp(buffer, "world", 5) == 0);
  CHECK_EQ(read(fd, buffer, sizeof buffer), 0);
  CHECK_EQ(lseek(fd, -2, SEEK_END), 10);
  CHECK_FAILS(lseek(fd, -100, SEEK_END), EINVAL);
  CHECK_FAILS(lseek(fd, 0, 99), EINVAL);
  // A hole reads as zeros.
  CHECK_EQ(lseek(fd, 10000, SEEK_SET), 10000);
  CHECK_EQ(write(fd, "x", 1), 1);
  CHECK_EQ(lseek(fd, 5000, SEEK_SET), 5000);
  CHECK_EQ(read(fd, buffer, 4), 4);
  CHECK(memcmp(buffer, "\0\0\0\0", 4) == 0);
  struct stat st;
  CHECK_EQ(fstat(fd, &st), 0);
  CHECK_EQ(st.st_size, 10001);
  // O_APPEND writes at the end whatever the position is.
  int append = open("file", O_WRONLY | O_APPEND);
  CHECK(append >= 0);
  CHECK_EQ(lseek(append, 0, SEEK_SET), 0);
  CHECK_EQ(write(append, "yz", 2), 2);
  CHECK_EQ(lseek(append, 0, SEEK_CUR), 10003);
  CHECK_FAILS(read(append, buffer, 1), EBADF);
  // Truncation cuts, extension fills with zeros.
  CHECK_EQ(ftruncate(fd, 3), 0);
  CHECK_EQ(ftruncate(fd, 6), 0);
  CHECK_EQ(pread(fd, buffer, 10, 0), 6);
  CHECK(memcmp(buffer, "hel\0\0\0", 6) == 0);
  int truncated = open("file", O_RDONLY | O_TRUNC);
  CHECK(truncated >= 0);
  CHECK_EQ(fstat(truncated, &st), 0);
  CHECK_EQ(st.st_size, 0);
  CHECK_FAILS(write(truncated, "a", 1), EBADF);
  CHECK_FAILS(read(-1, buffer, 1), EBADF);
  CHECK_FAILS(read(999, buffer, 1), EBADF);
  CHECK_FAILS(open("missing", O_RDONLY), ENOENT);
  CHECK_FAILS(open("file/below", O_RDONLY), ENOTDIR);
  CHECK_FAILS(open(".", O_WRONLY), EISDIR);
  int folder = open(".", O_RDONLY | O_DIRECTORY);
  CHECK(folder >= 0);
  CHECK_FAILS(read(folder, buffer, 1), EISDIR);
  CHECK_FAILS(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
  CHECK_EQ(close(fd), 0);
  CHECK_FAILS(close(fd), EBADF);
  return Finish();
}
