// sendfile between files and into a pipe, with and without an offset.
#include "check.h"
#include <fcntl.h>
#include <sys/sendfile.h>

int main(void) {
  EnterScratchFolder();
  static char data[100000], back[100000];
  for (size_t i = 0; i < sizeof data; ++i) data[i] = (char)(i * 13);
  int in = open("in", O_RDWR | O_CREAT, 0600), out = open("out", O_RDWR | O_CREAT, 0600);
  CHECK_EQ(write(in, data, sizeof data), sizeof data);
  off_t offset = 10;
  CHECK_EQ(sendfile(out, in, &offset, 200000), 99990);
  CHECK_EQ(offset, 100000);
  CHECK_EQ(pread(out, back, 99990, 0), 99990);
  CHECK(memcmp(back, data + 10, 99990) == 0);
  CHECK_EQ(lseek(in, 99000, SEEK_SET), 99000);
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(sendfile(ends[1], in, NULL, 5000), 1000);
  CHECK_EQ(lseek(in, 0, SEEK_CUR), 100000);
  CHECK_EQ(read(ends[0], back, 5000), 1000);
  CHECK(memcmp(back, data + 99000, 1000) == 0);
  CHECK_FAILS(sendfile(out, ends[0], NULL, 10), EINVAL);
  CHECK_FAILS(sendfile(99, in, NULL, 10), EBADF);
  return Finish();
}
