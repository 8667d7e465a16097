// Lengths far beyond the memory behind them: what fits is transferred, nothing is allocated for the rest. The process's
// own limit on memory holds for what the kernel would need, natively and under Remora.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>

int main(void) {
  int zero = open("/dev/zero", O_RDONLY);
  size_t size = 1 << 20;
  char* memory = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(munmap(memory + size, 4096), 0);
  memset(memory, 1, size);
  CHECK_EQ(read(zero, memory, (size_t)1 << 30), size);
  CHECK_EQ(memory[0], 0);
  CHECK_EQ(memory[size - 1], 0);
  int null = open("/dev/null", O_WRONLY);
  CHECK_EQ(write(null, memory, 0x7fffffff), 0x7ffff000);
  CHECK_FAILS(read(zero, memory, (size_t)-1), EFAULT);
  // A file of 1 GiB without a byte in it, read and written with lengths of as much.
  EnterScratchFolder();
  int fd = open("sparse", O_RDWR | O_CREAT, 0600);
  CHECK_EQ(ftruncate(fd, (off_t)1 << 30), 0);
  memset(memory, 1, size);
  CHECK_EQ(read(fd, memory, (size_t)1 << 30), size);
  CHECK_EQ(memory[size - 1], 0);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), size);
  CHECK_EQ(pread(fd, memory, (size_t)1 << 30, ((off_t)1 << 30) - 5), 5);
  memset(memory, 2, size);
  CHECK_EQ(pwrite(fd, memory, (size_t)1 << 31, 4096), size);
  CHECK_EQ(pread(fd, memory, 1, 4095 + (off_t)size), 1);
  CHECK_EQ(memory[0], 2);
  CHECK_EQ(pread(fd, memory, 1, 4096 + (off_t)size), 1);
  CHECK_EQ(memory[0], 0);
  // A pipe that holds ten bytes gives ten, and does not wait for the rest of what was asked.
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(write(ends[1], "0123456789", 10), 10);
  CHECK_EQ(read(ends[0], memory, (size_t)1 << 30), 10);
  int urandom = open("/dev/urandom", O_RDONLY);
  CHECK_EQ(read(urandom, memory, (size_t)1 << 30), size);
  CHECK_FAILS(write(ends[1], memory, (size_t)-1), EFAULT);
  return Finish();
}
