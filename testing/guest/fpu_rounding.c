// Rounding modes of both units, extended precision, and that threads and fork inherit them.
#include "check.h"

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <sys/wait.h>

static volatile double one = 1, three = 3, half = 2.5;
static volatile long double wide_one = 1, wide_three = 3;

static void* ModeHere(void* unused) {
  (void)unused;
  return (void*)(intptr_t)fegetround();
}

int main(void) {
  const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
  const double rounded[] = {2, 2, 3, 2}, negative[] = {-2, -3, -2, -2};
  const uint64_t thirds[] = {0x3fd5555555555555, 0x3fd5555555555555, 0x3fd5555555555556, 0x3fd5555555555555};
  const uint64_t wide[] = {0xaaaaaaaaaaaaaaab, 0xaaaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaab, 0xaaaaaaaaaaaaaaaa};
  for (int i = 0; i < 4; ++i) {
    CHECK_EQ(fesetround(modes[i]), 0);
    CHECK_EQ(fegetround(), modes[i]);
    volatile double d = half;
    long long got;
    __asm__("cvtsd2si %1, %0" : "=r"(got) : "m"(d));
    CHECK_EQ(got, (long long)rounded[i]);
    d = -half;
    __asm__("fldl %1; fistpll %0" : "=m"(got) : "m"(d));
    CHECK_EQ(got, (long long)negative[i]);
    d = one / three;
    uint64_t bits;
    memcpy(&bits, (const void*)&d, 8);
    CHECK_EQ(bits, thirds[i]);
    volatile long double w = wide_one / wide_three;
    memcpy(&bits, (const void*)&w, 8);
    CHECK_EQ(bits, wide[i]);
    pthread_t t;
    void* mode;
    CHECK_EQ(pthread_create(&t, NULL, ModeHere, NULL), 0);
    CHECK_EQ(pthread_join(t, &mode), 0);
    CHECK_EQ((intptr_t)mode, modes[i]);
    const pid_t child = fork();
    if (child == 0) _exit(fegetround() == modes[i] ? 0 : 1);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
  }
  // Single precision of the x87 unit: its control word, not the type, decides.
  CHECK_EQ(fesetround(FE_TONEAREST), 0);
  unsigned short control = 0x007f, old;
  __asm__ volatile("fnstcw %0" : "=m"(old));
  __asm__ volatile("fldcw %0" ::"m"(control));
  volatile long double w = wide_one / wide_three;
  __asm__ volatile("fldcw %0" ::"m"(old));
  uint64_t bits;
  memcpy(&bits, (const void*)&w, 8);
  CHECK_EQ(bits, 0xaaaaab0000000000);
  return Finish();
}
