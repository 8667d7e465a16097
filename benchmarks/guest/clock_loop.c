// What time is it, over and over. The argument is the number of calls.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char** argv) {
  const long calls = argc > 1 ? atol(argv[1]) : 100000;
  long backwards = 0;
  struct timespec last = {0, 0};
  for (long i = 0; i < calls; ++i) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec < last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec < last.tv_nsec)) ++backwards;
    last = now;
  }
  printf("%d\n", backwards == 0);
  return 0;
}
