// A handler that computes with all of the FPU leaves the interrupted computation alone.
#include "check.h"

#include <math.h>
#include <signal.h>
#include <sys/time.h>

static volatile int num_handled;
static volatile double sink;

static void Handle(int signal) {
  (void)signal;
  long double x = 0;
  for (int i = 1; i < 20; ++i) x += sinl((long double)i) / i;
  sink = (double)x * sqrt((double)num_handled);
  __asm__ volatile(
      "pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm7, %%xmm7; pcmpeqd %%xmm15, %%xmm15; fninit; fldpi; fldpi; fldpi" ::
          : "xmm0", "xmm7", "xmm15");
  ++num_handled;
}

static double Compute(void) {
  double sum = 0;
  long double wide = 0;
  for (int i = 1; i <= 20000; ++i) {
    sum += 1.0 / i * (i % 3 == 0 ? -1 : 1);
    wide += logl((long double)i) / (i + 0.5L);
  }
  return sum + (double)wide;
}

int main(void) {
  const double expected = Compute();
  CHECK(signal(SIGALRM, Handle) != SIG_ERR);
  const struct itimerval often = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
  CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
  int same = 0, rounds = 0;
  while (num_handled < 20) {
    same += Compute() == expected;
    ++rounds;
  }
  CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
  CHECK_EQ(same, rounds);
  return Finish();
}
