// Seeking over holes, behind the end, at the limits of an offset; SEEK_DATA and SEEK_HOLE agree with the content.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void) {
  EnterScratchFolder();
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  off_t far = (off_t)1 << 36;
  CHECK_EQ(lseek(fd, far, SEEK_SET), far);
  CHECK_EQ(write(fd, "end", 3), 3);
  struct stat st;
  CHECK_EQ(fstat(fd, &st), 0);
  CHECK_EQ(st.st_size, far + 3);
  CHECK(st.st_blocks < 10000);
  CHECK_EQ(lseek(fd, 0, SEEK_END), far + 3);
  CHECK_FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
  char buffer[4] = "abc";
  CHECK_EQ(pread(fd, buffer, 3, far / 2), 3);
  CHECK(buffer[0] == 0 && buffer[2] == 0);
  CHECK_FAILS(lseek(fd, far + 3, SEEK_DATA), ENXIO);
  CHECK(lseek(fd, far, SEEK_DATA) == far);
  CHECK(lseek(fd, far, SEEK_HOLE) == far + 3);
  CHECK_EQ(ftruncate(fd, 0), 0);
  CHECK_EQ(pread(fd, buffer, 3, far), 0);
  CHECK_FAILS(ftruncate(fd, -1), EINVAL);
  return Finish();
}
