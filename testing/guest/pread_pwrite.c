// Positional transfers leave the offset alone and refuse pipes and negative offsets.
#include "check.h"
#include <fcntl.h>

int main(void) {
  EnterScratchFolder();
  char buffer[16];
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  CHECK_EQ(pwrite(fd, "abcdef", 6, 10), 6);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
  CHECK_EQ(pread(fd, buffer, 16, 8), 8);
  CHECK(memcmp(buffer, "\0\0abcdef", 8) == 0);
  CHECK_EQ(pread(fd, buffer, 16, 16), 0);
  CHECK_EQ(pread(fd, buffer, 16, 1000), 0);
  CHECK_FAILS(pread(fd, buffer, 16, -1), EINVAL);
  CHECK_FAILS(pwrite(fd, buffer, 16, -1), EINVAL);
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  CHECK_FAILS(pread(ends[0], buffer, 1, 0), ESPIPE);
  CHECK_FAILS(pwrite(ends[1], buffer, 1, 0), ESPIPE);
  CHECK_FAILS(lseek(ends[0], 0, SEEK_CUR), ESPIPE);
  // Two descriptors of one description share the offset, two opens do not.
  int dup_fd = dup(fd), other = open("file", O_RDONLY);
  CHECK_EQ(lseek(fd, 5, SEEK_SET), 5);
  CHECK_EQ(lseek(dup_fd, 0, SEEK_CUR), 5);
  CHECK_EQ(lseek(other, 0, SEEK_CUR), 0);
  return Finish();
}
