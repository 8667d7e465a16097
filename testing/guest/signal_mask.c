// Blocked signals stay pending, standard ones once, real-time ones queue in order with their values.
#include "check.h"
#include <signal.h>

static volatile int count;
static volatile int values[8];

static void Handler(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  values[count++] = info->si_value.sival_int;
}

int main(void) {
  struct sigaction action = {0};
  action.sa_sigaction = Handler;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGRTMIN, &action, NULL);
  sigset_t set, old, pending;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGRTMIN);
  CHECK_EQ(sigprocmask(SIG_BLOCK, &set, &old), 0);
  for (int i = 1; i <= 3; ++i) raise(SIGUSR1);
  CHECK_EQ(count, 0);
  CHECK_EQ(sigpending(&pending), 0);
  CHECK(sigismember(&pending, SIGUSR1));
  CHECK(!sigismember(&pending, SIGUSR2));
  CHECK_EQ(sigprocmask(SIG_SETMASK, &old, NULL), 0);
  CHECK_EQ(count, 1);
  count = 0;
  sigprocmask(SIG_BLOCK, &set, NULL);
  for (int i = 1; i <= 3; ++i) CHECK_EQ(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}), 0);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  CHECK_EQ(count, 3);
  CHECK(values[0] == 1 && values[1] == 2 && values[2] == 3);
  // sigtimedwait takes a blocked signal without a handler call.
  count = 0;
  sigprocmask(SIG_BLOCK, &set, NULL);
  siginfo_t info;
  struct timespec soon = {0, 5000000};
  CHECK_FAILS(sigtimedwait(&set, &info, &soon), EAGAIN);
  sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 8});
  CHECK_EQ(sigtimedwait(&set, &info, &soon), SIGRTMIN);
  CHECK_EQ(info.si_value.sival_int, 8);
  CHECK_EQ(count, 0);
  // SIGKILL and SIGSTOP cannot be blocked.
  sigfillset(&set);
  sigprocmask(SIG_SETMASK, &set, NULL);
  sigprocmask(SIG_SETMASK, NULL, &set);
  CHECK(!sigismember(&set, SIGKILL) && !sigismember(&set, SIGSTOP) && sigismember(&set, SIGTERM));
  return Finish();
}
