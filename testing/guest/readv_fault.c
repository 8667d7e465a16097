// A fault half-way through a vectored transfer. What the host's kernel (6.18) answered, case by case:
//  - regular file: the bytes before the fault are returned, within a piece too, and the offset moves by as many; a
//    first byte that faults is EFAULT and moves nothing;
//  - pipe: a buffer whose copy faults is not taken at all. If it is the first, EFAULT, although pieces before the fault
//    have been written to; else the count of the buffers before it;
//  - the array itself may not be readable: EFAULT, and nothing moves.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

static char data[12000], good[8192], pipe_data[6000];
static char *bad, *half;  // no access; 4096 bytes and then a hole

static void RegularFile(void) {
  int fd = open("file", O_RDWR | O_CREAT, 0644);
  CHECK_EQ(write(fd, data, sizeof data), sizeof data);
  CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
  struct iovec pieces[3] = {{good, 5000}, {bad, 100}, {good, 100}};
  CHECK_EQ(readv(fd, pieces, 3), 5000);
  CHECK(memcmp(good, data, 5000) == 0);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5000);
  struct iovec reversed[2] = {{bad, 100}, {good, 100}};
  CHECK_FAILS(readv(fd, reversed, 2), EFAULT);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5000);
  CHECK_FAILS(readv(fd, (struct iovec*)bad, 2), EFAULT);
  // Within a piece, behind an empty one; what follows it is not touched.
  memset(good, 'G', sizeof good);
  struct iovec inside[4] = {{good, 10}, {bad, 0}, {half + 4000, 500}, {good + 100, 100}};
  CHECK_EQ(readv(fd, inside, 4), 106);
  CHECK(memcmp(good, data + 5000, 10) == 0);
  CHECK(memcmp(half + 4000, data + 5010, 96) == 0);
  for (int i = 100; i < 200; ++i) CHECK_EQ(good[i], 'G');
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5106);
  // preadv: the same count, the offset stays.
  CHECK_EQ(preadv(fd, pieces, 3, 100), 5000);
  CHECK(memcmp(good, data + 100, 5000) == 0);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5106);
  // writev: what was before the fault is in the file, and no more.
  int out = open("out", O_RDWR | O_CREAT, 0644);
  struct iovec drain[3] = {{data, 3000}, {half + 4090, 100}, {data, 100}};
  memset(half, 'H', 4096);
  CHECK_EQ(writev(out, drain, 3), 3006);
  CHECK_EQ(lseek(out, 0, SEEK_CUR), 3006);
  CHECK_EQ(lseek(out, 0, SEEK_END), 3006);
  CHECK_EQ(pread(out, good, 100, 2990), 16);
  CHECK(memcmp(good, data + 2990, 10) == 0 && memcmp(good + 10, "HHHHHH", 6) == 0);
  struct iovec drain_bad[2] = {{bad, 1}, {data, 1}};
  CHECK_FAILS(writev(out, drain_bad, 2), EFAULT);
  CHECK_EQ(lseek(out, 0, SEEK_END), 3006);
  CHECK_EQ(pwritev(out, drain, 3, 10000), 3006);
  CHECK_EQ(lseek(out, 0, SEEK_END), 13006);
}

static void Pipe(void) {
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(write(ends[1], "0123456789", 10), 10);
  memset(good, 'G', sizeof good);
  struct iovec pieces[2] = {{good, 4}, {bad, 6}};
  CHECK_FAILS(readv(ends[0], pieces, 2), EFAULT);
  CHECK(memcmp(good, "0123G", 5) == 0);  // written to, and yet the pipe keeps them
  CHECK_EQ(read(ends[0], good, 100), 10);
  CHECK(memcmp(good, "0123456789", 10) == 0);
  // Two buffers; the second one's copy faults.
  memcpy(pipe_data, data, sizeof pipe_data);
  CHECK_EQ(write(ends[1], pipe_data, 6000), 6000);
  struct iovec two[2] = {{good, 4196}, {bad, 1000}};
  CHECK_EQ(readv(ends[0], two, 2), 4096);
  CHECK(memcmp(good, pipe_data, 4196) == 0);
  CHECK_EQ(read(ends[0], good, 6000), 1904);
  CHECK(memcmp(good, pipe_data + 4096, 1904) == 0);
  // A write whose second piece faults: nothing of that page arrives.
  struct iovec drain[2] = {{data, 10}, {bad, 10}};
  CHECK_FAILS(writev(ends[1], drain, 2), EFAULT);
  CHECK_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
  CHECK_FAILS(read(ends[0], good, 10), EAGAIN);
}

int main(void) {
  EnterScratchFolder();
  for (size_t i = 0; i < sizeof data; ++i) data[i] = (char)(i * 7 + i / 256);
  bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  half = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(bad != MAP_FAILED && half != MAP_FAILED);
  CHECK_EQ(munmap(half + 4096, 4096), 0);
  RegularFile();
  Pipe();
  return Finish();
}
