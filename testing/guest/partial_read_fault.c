// read(2) and write(2) with memory whose second page is missing. What the host's kernel (6.18) answered:
//  - regular file, /dev/zero, /dev/urandom: what fits is transferred, and the offset moves by as many;
//  - pipe: a buffer whose copy faults stays in the pipe whole, and the call fails; buffers before it are returned. A
//    write that faults within a page puts nothing of that page in; pages before it are in, and count;
//  - a first byte that faults: EFAULT, nothing moves.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>

static char large[10000], back[10000];

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
  // The file ends before the fault is reached: no fault.
  CHECK_EQ(lseek(fd, 9990, SEEK_SET), 9990);
  CHECK_EQ(read(fd, pages + 4080, 5000), 10);
  CHECK_EQ(read(fd, pages + 4096, 5000), 0);
  int zero = open("/dev/zero", O_RDONLY), urandom = open("/dev/urandom", O_RDONLY);
  CHECK_EQ(read(zero, pages + 4000, 500), 96);
  CHECK_EQ(read(urandom, pages + 4000, 500), 96);
  CHECK_FAILS(read(urandom, pages + 4096, 1), EFAULT);
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
  // Two pages in the pipe, the fault in the second one's copy: the first is returned, the second stays.
  for (size_t i = 0; i < sizeof large; ++i) large[i] = (char)(i * 3 + i / 251);
  char* three = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(munmap(three + 2 * 4096, 4096), 0);
  CHECK_EQ(write(ends[1], large, 8000), 8000);
  CHECK_EQ(read(ends[0], three + 2000, 8000), 4096);
  CHECK(memcmp(three + 2000, large, 4096) == 0);
  CHECK_EQ(read(ends[0], back, sizeof back), 3904);
  CHECK(memcmp(back, large + 4096, 3904) == 0);
  // A write whose second page of pipe cannot be filled: the first one arrives.
  memcpy(three, large, 2 * 4096);
  CHECK_EQ(write(ends[1], three + 2000, 8000), 4096);
  CHECK_EQ(read(ends[0], back, sizeof back), 4096);
  CHECK(memcmp(back, large + 2000, 4096) == 0);
  return Finish();
}
