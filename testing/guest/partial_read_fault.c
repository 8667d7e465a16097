// read(2) and write(2) into memory whose second page is missing. Regular file: what fits is transferred. A pipe: what Linux answers was learned
// by running this natively.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>

int main(void) {
  EnterScratchFolder();
  char* pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED);
  CHECK_EQ(munmap(pages + 4096, 4096), 0);
  int fd = open("file", O_RDWR | O_CREAT, 0644);
  CHECK_EQ(ftruncate(fd, 10000), 0);
  CHECK_EQ(pwrite(fd, "start", 5, 0), 5);
  CHECK_EQ(read(fd, pages + 4000, 500), 96);
  CHECK(memcmp(pages + 4000, "start", 5) == 0);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 96);
  CHECK_FAILS(read(fd, pages + 4096, 10), EFAULT);
  memset(pages, 'w', 4096);
  CHECK_EQ(pwrite(fd, pages + 4090, 100, 0), 6);
  CHECK_FAILS(pwrite(fd, pages + 4096, 100, 0), EFAULT);
  CHECK_FAILS(read(fd, NULL, 10), EFAULT);
  CHECK_EQ(read(fd, NULL, 0), 0);
  // A pipe whose reader's memory faults at once keeps its bytes.
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(write(ends[1], "pipe data", 9), 9);
  CHECK_FAILS(read(ends[0], pages + 4096, 9), EFAULT);
  char buffer[16];
  CHECK_EQ(read(ends[0], buffer, 16), 9);
  CHECK(memcmp(buffer, "pipe data", 9) == 0);
  CHECK_FAILS(write(ends[1], pages + 4096, 9), EFAULT);
  CHECK_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
  CHECK_FAILS(read(ends[0], buffer, 16), EAGAIN);
  // A page copy that faults in its middle: the pipe keeps the whole of it and the call fails.
  CHECK_EQ(write(ends[1], "0123456789", 10), 10);
  CHECK_FAILS(read(ends[0], pages + 4092, 10), EFAULT);
  CHECK_EQ(read(ends[0], buffer, 16), 10);
  CHECK(memcmp(buffer, "0123456789", 10) == 0);
  return Finish();
}
