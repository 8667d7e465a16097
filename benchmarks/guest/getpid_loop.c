// The smallest system call, over and over, without libc around it. The argument is the number of calls.
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline long trap(void) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_getpid) : "rcx", "r11", "memory");
  return result;
}

int main(int argc, char** argv) {
  const long calls = argc > 1 ? atol(argv[1]) : 100000;
  long sum = 0;
  for (long i = 0; i < calls; ++i) sum += trap();
  printf("%d\n", sum == calls * getpid());
  return 0;
}
