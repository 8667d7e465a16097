// Queued signals: order among numbers, values, rt_tgsigqueueinfo, what may be forged, and RLIMIT_SIGPENDING.
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int order[16], count;
static void Handler(int signal, siginfo_t* info, void* context) {
  (void)context;
  order[count++] = (signal - SIGRTMIN) * 100 + info->si_value.sival_int;
}

int main(void) {
  sigset_t set, old;
  sigemptyset(&set);
  for (int i = 0; i < 3; ++i) {
    struct sigaction action = {0};
    action.sa_sigaction = Handler;
    action.sa_flags = SA_SIGINFO;
    sigfillset(&action.sa_mask);
    sigaction(SIGRTMIN + i, &action, NULL);
    sigaddset(&set, SIGRTMIN + i);
  }
  CHECK_EQ(sigprocmask(SIG_BLOCK, &set, &old), 0);
  const int sent[] = {201, 1, 102, 2, 103, 203};
  for (int i = 0; i < 6; ++i)
    CHECK_EQ(sigqueue(getpid(), SIGRTMIN + sent[i] / 100, (union sigval){.sival_int = sent[i] % 100}), 0);
  // The lowest number first, within one number the oldest. A handler's mask lets the others wait.
  CHECK_EQ(sigprocmask(SIG_SETMASK, &old, NULL), 0);
  CHECK_EQ(count, 6);
  const int expected[] = {1, 2, 102, 103, 201, 203};
  for (int i = 0; i < 6; ++i) CHECK_EQ(order[i], expected[i]);

  // By the raw calls: to oneself anything may be said, to others not that the kernel said it.
  sigprocmask(SIG_BLOCK, &set, NULL);
  siginfo_t info = {0}, got;
  info.si_code = SI_KERNEL;
  info.si_pid = 1;
  info.si_value.sival_int = 9;
  CHECK_EQ(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN, &info), 0);
  CHECK_EQ(sigwaitinfo(&set, &got), SIGRTMIN);
  CHECK_EQ(got.si_code, SI_KERNEL);
  CHECK_EQ(syscall(SYS_rt_tgsigqueueinfo, getpid(), (int)syscall(SYS_gettid), SIGRTMIN + 1, &info), 0);
  CHECK_EQ(sigwaitinfo(&set, &got), SIGRTMIN + 1);
  pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  CHECK_FAILS(syscall(SYS_rt_sigqueueinfo, child, SIGRTMIN, &info), EPERM);
  info.si_code = SI_TKILL;
  CHECK_FAILS(syscall(SYS_rt_sigqueueinfo, child, SIGRTMIN, &info), EPERM);
  info.si_code = SI_QUEUE;
  CHECK_EQ(syscall(SYS_rt_sigqueueinfo, child, 0, &info), 0);
  CHECK_FAILS(syscall(SYS_rt_sigqueueinfo, child, 65, &info), EINVAL);
  CHECK_FAILS(syscall(SYS_rt_tgsigqueueinfo, getpid(), child, SIGRTMIN, &info), ESRCH);
  CHECK_FAILS(syscall(SYS_rt_tgsigqueueinfo, 0, child, SIGRTMIN, &info), EINVAL);
  kill(child, SIGKILL);
  CHECK_EQ(waitpid(child, NULL, 0), child);

  // Beyond the limit a queued signal is refused; one without a value still leaves its mark.
  struct rlimit limit;
  CHECK_EQ(getrlimit(RLIMIT_SIGPENDING, &limit), 0);
  limit.rlim_cur = 4;
  CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
  int queued = 0;
  while (queued < 10 && sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = queued}) == 0) ++queued;
  CHECK(queued <= 4);
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(kill(getpid(), SIGRTMIN + 1), 0);
  for (int i = 0; i < queued; ++i) {
    CHECK_EQ(sigwaitinfo(&set, &got), SIGRTMIN);
    CHECK_EQ(got.si_value.sival_int, i);
  }
  CHECK_EQ(sigwaitinfo(&set, &got), SIGRTMIN + 1);
  const struct timespec at_once = {0, 0};
  CHECK_FAILS(sigtimedwait(&set, &got, &at_once), EAGAIN);
  return Finish();
}
