// A handler gets signal number, siginfo and context; it may change registers; SA_RESETHAND and SA_NODEFER work.
#include "check.h"
#include <signal.h>
#include <sys/ucontext.h>

static volatile int calls, depth, deepest;
static volatile siginfo_t last;

static void Handler(int signal, siginfo_t* info, void* context) {
  (void)context;
  CHECK_EQ(signal, info->si_signo);
  calls++;
  last = *info;
}

static void Nested(int signal) {
  if (++depth > deepest) deepest = depth;
  if (depth < 3) raise(signal);
  depth--;
}

static void SetRax(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info;
  ((ucontext_t*)context)->uc_mcontext.gregs[REG_R12] = 4711;
}

int main(void) {
  struct sigaction action = {0};
  action.sa_sigaction = Handler;
  action.sa_flags = SA_SIGINFO;
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  CHECK_EQ(kill(getpid(), SIGUSR1), 0);
  CHECK_EQ(calls, 1);
  CHECK_EQ(last.si_code, SI_USER);
  CHECK_EQ(last.si_pid, getpid());
  CHECK_EQ(last.si_uid, getuid());
  union sigval value = {.sival_int = 99};
  CHECK_EQ(sigqueue(getpid(), SIGUSR1, value), 0);
  CHECK_EQ(last.si_code, SI_QUEUE);
  CHECK_EQ(last.si_value.sival_int, 99);
  CHECK_EQ(raise(SIGUSR1), 0);
  CHECK_EQ(last.si_code, SI_TKILL);

  // By default the signal is blocked in its own handler; SA_NODEFER lets it nest.
  action.sa_handler = Nested;
  action.sa_flags = SA_NODEFER;
  CHECK_EQ(sigaction(SIGUSR2, &action, NULL), 0);
  raise(SIGUSR2);
  CHECK_EQ(deepest, 3);
  deepest = 0;
  action.sa_flags = SA_RESETHAND;
  CHECK_EQ(sigaction(SIGUSR2, &action, NULL), 0);
  depth = 2;
  raise(SIGUSR2);
  struct sigaction now;
  CHECK_EQ(sigaction(SIGUSR2, NULL, &now), 0);
  CHECK(now.sa_handler == SIG_DFL);

  // What the handler writes into the context is there afterwards.
  action.sa_sigaction = SetRax;
  action.sa_flags = SA_SIGINFO;
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  long result;
  __asm__ volatile(
      "mov $1, %%r12d\n\t"
      "syscall\n\t"
      "mov %%r12, %0"
      : "=&r"(result)
      : "a"(62L), "D"((long)getpid()), "S"((long)SIGUSR1)
      : "rcx", "r11", "r12", "memory");
  CHECK_EQ(result, 4711);
  CHECK_FAILS(sigaction(SIGKILL, &action, NULL), EINVAL);
  CHECK_FAILS(sigaction(65, &action, NULL), EINVAL);
  CHECK_FAILS(kill(getpid(), 65), EINVAL);
  CHECK_FAILS(kill(0x7ffffff, 0), ESRCH);
  return Finish();
}
