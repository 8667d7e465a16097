// alarm and setitimer: SIGALRM comes, repeats, is cancelled, tells the time left, and does not pass to a fork.
#include "check.h"
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

static volatile int calls;
static void Handler(int signal) { (void)signal, calls++; }

int main(void) {
  struct sigaction action = {0};
  action.sa_handler = Handler;
  sigaction(SIGALRM, &action, NULL);
  CHECK_EQ(alarm(100), 0);
  CHECK_EQ(alarm(0), 100);
  struct itimerval timer = {{0, 5000}, {0, 10000}}, old;
  CHECK_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
  while (calls < 3) pause();
  CHECK_EQ(getitimer(ITIMER_REAL, &old), 0);
  CHECK_EQ(old.it_interval.tv_usec, 5000);
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQ(getitimer(ITIMER_REAL, &old), 0);
    CHECK_EQ(old.it_value.tv_sec + old.it_value.tv_usec, 0);
    _exit(0);
  }
  int status;
  while (waitpid(child, &status, 0) != child) CHECK_EQ(errno, EINTR);
  CHECK_EQ(status, 0);
  timer = (struct itimerval){{0, 0}, {0, 0}};
  CHECK_EQ(setitimer(ITIMER_REAL, &timer, &old), 0);
  int before = calls;
  usleep(20000);
  CHECK_EQ(calls, before);
  // An alarm interrupts a loop that makes no call.
  calls = 0;
  timer.it_value.tv_usec = 10000;
  setitimer(ITIMER_REAL, &timer, NULL);
  while (!calls) {
  }
  return Finish();
}
