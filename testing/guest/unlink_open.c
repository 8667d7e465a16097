// An unlinked file lives while it is open or mapped.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

int main(void) {
  EnterScratchFolder();
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  CHECK_EQ(write(fd, "alive", 5), 5);
  char* map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK_EQ(unlink("file"), 0);
  CHECK_FAILS(unlink("file"), ENOENT);
  CHECK_FAILS(open("file", O_RDONLY), ENOENT);
  struct stat st;
  CHECK_EQ(fstat(fd, &st), 0);
  CHECK_EQ(st.st_nlink, 0);
  char buffer[8];
  CHECK_EQ(pread(fd, buffer, 8, 0), 5);
  CHECK(memcmp(buffer, "alive", 5) == 0);
  CHECK_EQ(close(fd), 0);
  CHECK(memcmp(map, "alive", 5) == 0);
  map[0] = 'A';
  CHECK_EQ(munmap(map, 4096), 0);
  int again = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
  CHECK(again >= 0);
  CHECK_EQ(fstat(again, &st), 0);
  CHECK_EQ(st.st_size, 0);
  CHECK_FAILS(unlink("missing"), ENOENT);
  CHECK_FAILS(unlink(""), ENOENT);
  return Finish();
}
