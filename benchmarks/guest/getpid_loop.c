// The smallest syscall, over and over. The argument is the number of calls.
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char** argv) {
  const long calls = argc > 1 ? atol(argv[1]) : 100000;
  long sum = 0;
  for (long i = 0; i < calls; ++i) sum += syscall(SYS_getpid);
  printf("%d\n", sum == calls * getpid());
  return 0;
}
