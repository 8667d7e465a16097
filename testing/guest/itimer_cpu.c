// setitimer's timers of CPU time, RLIMIT_CPU, and clocks of CPU time that do not go back.
#include "check.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

static volatile int calls;
static void Handler(int signal) { (void)signal, calls++; }

int main(void) {
  const int timers[] = {ITIMER_VIRTUAL, ITIMER_PROF};
  const int signals[] = {SIGVTALRM, SIGPROF};
  struct itimerval timer, old;
  for (int i = 0; i < 2; ++i) {
    signal(signals[i], Handler);
    calls = 0;
    timer = (struct itimerval){{0, 10000}, {0, 10000}};
    CHECK_EQ(setitimer(timers[i], &timer, &old), 0);
    CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
    while (calls < 3) {
    }
    CHECK_EQ(getitimer(timers[i], &old), 0);
    CHECK_EQ(old.it_interval.tv_usec, 10000);
    timer = (struct itimerval){{0, 0}, {0, 0}};
    CHECK_EQ(setitimer(timers[i], &timer, &old), 0);
    CHECK_EQ(old.it_interval.tv_usec, 10000);
    // A sleeping process uses none.
    calls = 0;
    timer.it_value.tv_sec = 100;
    CHECK_EQ(setitimer(timers[i], &timer, NULL), 0);
    CHECK_EQ(getitimer(timers[i], &old), 0);
    CHECK(old.it_value.tv_sec >= 98 && old.it_value.tv_sec <= 100);
    CHECK_EQ(calls, 0);
  }
  CHECK_FAILS(getitimer(3, &old), EINVAL);
  CHECK_FAILS(setitimer(-1, &timer, NULL), EINVAL);
  timer.it_value.tv_usec = 1000000;
  CHECK_FAILS(setitimer(ITIMER_PROF, &timer, NULL), EINVAL);

  // fork does not inherit them.
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQ(getitimer(ITIMER_PROF, &old), 0);
    _exit(old.it_value.tv_sec != 0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);

  struct timespec before = {0, 0}, after;
  for (int i = 0; i < 1000; ++i) {
    CHECK_EQ(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after), 0);
    CHECK(after.tv_sec > before.tv_sec || (after.tv_sec == before.tv_sec && after.tv_nsec >= before.tv_nsec));
    before = after;
  }

  // SIGXCPU at the soft limit, SIGKILL at the hard one.
  child = fork();
  if (child == 0) {
    signal(SIGXCPU, Handler);
    calls = 0;
    struct rlimit limit = {1, 2};
    CHECK_EQ(setrlimit(RLIMIT_CPU, &limit), 0);
    for (;;) {
    }
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  child = fork();
  if (child == 0) {
    struct rlimit limit = {1, RLIM_INFINITY};
    CHECK_EQ(setrlimit(RLIMIT_CPU, &limit), 0);
    for (;;) {
    }
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
  return Finish();
}
