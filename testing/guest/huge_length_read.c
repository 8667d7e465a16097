// Lengths far beyond the memory behind them: what fits is transferred, nothing is allocated for the rest.
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
  return Finish();
}
