// nanosleep and clock_nanosleep: what is left after a signal, absolute deadlines, errors.
#include "check.h"

#include <signal.h>
#include <sys/time.h>
#include <time.h>

static void Handle(int signal) { (void)signal; }

static int64_t Nanos(struct timespec t) { return t.tv_sec * 1000000000LL + t.tv_nsec; }
static struct timespec Now(clockid_t clock) {
  struct timespec now;
  CHECK_EQ(clock_gettime(clock, &now), 0);
  return now;
}

int main(void) {
  struct sigaction action = {.sa_handler = Handle, .sa_flags = SA_RESTART};
  CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
  const struct itimerval soon = {{0, 0}, {0, 20000}};
  struct timespec left = {0, 0}, length = {100, 0};
  CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
  CHECK_FAILS(nanosleep(&length, &left), EINTR);
  CHECK(left.tv_sec == 99 && left.tv_nsec > 0);
  left.tv_sec = 0;
  CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &length, &left), EINTR);
  CHECK(left.tv_sec == 99);
  left.tv_sec = 55;
  struct timespec until = Now(CLOCK_MONOTONIC);
  until.tv_sec += 100;
  CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &left), EINTR);
  CHECK_EQ(left.tv_sec, 55);  // untouched: the deadline is known

  const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
  for (int i = 0; i < 3; ++i) {
    until = Now(clocks[i]);
    until.tv_nsec += 5000000;
    if (until.tv_nsec >= 1000000000) ++until.tv_sec, until.tv_nsec -= 1000000000;
    CHECK_EQ(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL), 0);
    CHECK(Nanos(Now(clocks[i])) >= Nanos(until));
    CHECK_EQ(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL), 0);  // over already
  }
  length = (struct timespec){0, 1000000000};
  CHECK_FAILS(nanosleep(&length, NULL), EINVAL);
  length = (struct timespec){-1, 0};
  CHECK_FAILS(nanosleep(&length, NULL), EINVAL);
  length = (struct timespec){0, 0};
  CHECK_EQ(nanosleep(&length, NULL), 0);
  CHECK_EQ(clock_nanosleep(77, 0, &length, NULL), EINVAL);
  CHECK_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &length, NULL), EINVAL);
  return Finish();
}
