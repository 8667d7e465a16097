// Floating point: results, rounding modes, x87 and SSE state kept across signals, threads and fork.
#include "check.h"
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

static void Disturb(int signal) {
  (void)signal;
  volatile double x = 1;
  volatile long double y = 1;
  for (int i = 1; i < 50; ++i) x = x / 3 + i, y = y / 7 + i;
  fesetround(FE_UPWARD);
}

static void* Work(void* argument) {
  double base = (double)(intptr_t)argument, sum = 0;
  for (int i = 1; i <= 20000; ++i) {
    sum += base / i;
    if (i % 1000 == 0) sched_yield();
  }
  double again = 0;
  for (int i = 1; i <= 20000; ++i) again += base / i;
  CHECK(sum == again);
  return NULL;
}

int main(void) {
  volatile double third = 1.0 / 3, zero = 0;
  CHECK(third * 3 == 1.0 && sqrt(2.0) * sqrt(2.0) != 2.0 && isnan(zero / zero) && isinf(1 / zero));
  volatile long double extended = 1.0L / 3;
  CHECK((double)extended == third && extended != (long double)third);
  CHECK(fabs(sin(1.0) - 0.8414709848078965) < 1e-15 && fabs(exp(1.0) - 2.718281828459045) < 1e-15);
  CHECK((int)2.9 == 2 && (int)-2.9 == -2 && lrint(2.5) == 2 && lrint(3.5) == 4);
  CHECK_EQ(fesetround(FE_UPWARD), 0);
  volatile double up = 1.0 / third;
  CHECK(up > 3.0 && lrint(2.1) == 3);
  CHECK_EQ(fesetround(FE_TONEAREST), 0);
  char text[64];
  snprintf(text, sizeof text, "%.17g %Lg %a", 0.1, 1e4000L, 1.5);
  CHECK(strcmp(text, "0.10000000000000001 1e+4000 0x1.8p+0") == 0);
  CHECK(strtod("1.7976931348623157e308", NULL) == 1.7976931348623157e308);
  signal(SIGUSR1, Disturb);
  double x = 2;
  long double y = 3;
  for (int i = 0; i < 100; ++i) {
    raise(SIGUSR1);
    x = x * 1.5 - 1, y = y * 1.5L - 1.5L;
  }
  CHECK(x == 2 && y == 3);
  CHECK_EQ(fegetround(), FE_TONEAREST);
  feclearexcept(FE_ALL_EXCEPT);
  volatile double one = 1, inexact = one / 3;
  (void)inexact;
  CHECK(fetestexcept(FE_INEXACT) && !fetestexcept(FE_DIVBYZERO));
  pthread_t threads[4];
  for (intptr_t i = 0; i < 4; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Work, (void*)(i + 1)), 0);
  for (int i = 0; i < 4; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  fesetround(FE_DOWNWARD);
  pid_t child = fork();
  if (child == 0) _exit(fegetround() == FE_DOWNWARD ? 0 : 1);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  return Finish();
}
