// Signals to one thread: pthread_kill, tgkill, masks of each thread, pthread_sigqueue, who takes what is sent to all.
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

static pthread_t main_thread;
static volatile pthread_t handled_by;
static volatile int handled_value;

static void Handle(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  handled_value = info->si_value.sival_int;
  handled_by = pthread_self();
}

static void* TakeIt(void* unused) {
  (void)unused;
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL), 0);
  while (handled_by == 0) usleep(500);
  return (void*)(intptr_t)pthread_equal(handled_by, pthread_self());
}
static void* WaitForIt(void* unused) {
  (void)unused;
  sigset_t usr2;
  sigemptyset(&usr2);
  sigaddset(&usr2, SIGUSR2);
  int got = 0;
  CHECK_EQ(sigwait(&usr2, &got), 0);
  return (void*)(intptr_t)got;
}

int main(void) {
  main_thread = pthread_self();
  struct sigaction action = {.sa_sigaction = Handle, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  CHECK_EQ(sigaction(SIGRTMIN, &action, NULL), 0);
  CHECK_EQ(pthread_kill(main_thread, SIGUSR1), 0);
  CHECK(pthread_equal(handled_by, main_thread));
  CHECK_EQ(pthread_kill(main_thread, 0), 0);
  CHECK_EQ(pthread_sigqueue(main_thread, SIGRTMIN, (union sigval){.sival_int = 77}), 0);
  CHECK_EQ(handled_value, 77);

  // Only one thread does not block it: that one takes what is sent to the process.
  sigset_t both;
  sigemptyset(&both);
  sigaddset(&both, SIGUSR1);
  sigaddset(&both, SIGUSR2);
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, &both, NULL), 0);
  handled_by = 0;
  pthread_t t;
  void* result;
  CHECK_EQ(pthread_create(&t, NULL, TakeIt, NULL), 0);
  CHECK_EQ(kill(getpid(), SIGUSR1), 0);
  CHECK_EQ(pthread_join(t, &result), 0);
  CHECK_EQ((intptr_t)result, 1);

  CHECK_EQ(pthread_create(&t, NULL, WaitForIt, NULL), 0);
  CHECK_EQ(kill(getpid(), SIGUSR2), 0);
  CHECK_EQ(pthread_join(t, &result), 0);
  CHECK_EQ((intptr_t)result, SIGUSR2);

  CHECK_FAILS(syscall(SYS_tgkill, getpid(), getpid() + 100000, 0), ESRCH);
  CHECK_FAILS(syscall(SYS_tgkill, getpid(), getpid(), 65), EINVAL);
  CHECK_FAILS(syscall(SYS_tgkill, -1, getpid(), 0), EINVAL);
  CHECK_EQ(raise(SIGUSR1), 0);  // pending for this thread only
  sigset_t pending;
  CHECK_EQ(sigpending(&pending), 0);
  CHECK(sigismember(&pending, SIGUSR1));
  return Finish();
}
