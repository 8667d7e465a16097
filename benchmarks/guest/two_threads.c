// How much two busy threads get done beside what one does: sieves in memory of their own, so that nothing but the CPU is
// shared. Prints the ratio of the rates, 2 where both run undisturbed. The argument is how often each thread sieves.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kNumbers = 1 << 18 };
static int rounds = 100;

static void* Sieve(void* argument) {
  unsigned char* composite = malloc(kNumbers);
  long primes = 0;
  for (int round = 0; round < rounds; ++round) {
    memset(composite, 0, kNumbers);
    for (int i = 2; i < kNumbers; ++i) {
      if (composite[i]) continue;
      ++primes;
      for (long j = (long)i * i; j < kNumbers; j += i) composite[j] = 1;
    }
  }
  free(composite);
  *(long*)argument = primes;
  return NULL;
}

// Seconds that `num_threads` take together.
static double Run(int num_threads) {
  pthread_t threads[2];
  long primes[2];
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (int i = 0; i < num_threads; ++i)
    if (pthread_create(&threads[i], NULL, Sieve, &primes[i]) != 0) abort();
  for (int i = 0; i < num_threads; ++i) pthread_join(threads[i], NULL);
  clock_gettime(CLOCK_MONOTONIC, &end);
  for (int i = 0; i < num_threads; ++i)
    if (primes[i] != 23000L * rounds) abort();  // below 2^18
  return (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
}

int main(int argc, char** argv) {
  if (argc > 1) rounds = atoi(argv[1]);
  double best = 0;
  for (int i = 0; i < 3; ++i) {
    const double one = Run(1), two = Run(2), rate = 2 * one / two;
    if (rate > best) best = rate;
  }
  printf("%.2f\n", best);
  return 0;
}
