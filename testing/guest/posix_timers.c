// timer_create and its kin: to the process, to a thread, to nobody; overruns; the clocks; what fork and exec do.
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static struct itimerspec Spec(long value_us, long interval_us) {
  struct itimerspec spec = {{interval_us / 1000000, interval_us % 1000000 * 1000},
                            {value_us / 1000000, value_us % 1000000 * 1000}};
  return spec;
}

static sigset_t Set(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}

static volatile int thread_calls, thread_value;
static void OnThread(union sigval value) {
  thread_value = value.sival_int;
  thread_calls++;
}

static volatile int handler_calls;
static void Handler(int signal) { (void)signal, handler_calls++; }

int main(void) {
  sigset_t both = Set(SIGALRM);
  sigaddset(&both, SIGRTMIN);
  CHECK_EQ(sigprocmask(SIG_BLOCK, &both, NULL), 0);
  timer_t timer, other;
  siginfo_t info;
  struct itimerspec spec, old;

  // Without a sigevent: SIGALRM, whose value is the timer's id.
  CHECK_EQ(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
  spec = Spec(10000, 0);
  CHECK_EQ(timer_settime(timer, 0, &spec, &old), 0);
  CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
  sigset_t set = Set(SIGALRM);
  CHECK_EQ(sigwaitinfo(&set, &info), SIGALRM);
  CHECK_EQ(info.si_code, SI_TIMER);
  CHECK_EQ(info.si_overrun, 0);
  CHECK_EQ(info.si_value.sival_int, (int)(intptr_t)timer);
  CHECK_EQ(timer_gettime(timer, &old), 0);
  CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
  CHECK_EQ(timer_getoverrun(timer), 0);

  // Beats that come while the signal is pending are overruns.
  struct sigevent event = {0};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  event.sigev_value.sival_int = 4711;
  CHECK_EQ(timer_create(CLOCK_REALTIME, &event, &other), 0);
  spec = Spec(2000, 2000);
  CHECK_EQ(timer_settime(other, 0, &spec, NULL), 0);
  usleep(40000);
  set = Set(SIGRTMIN);
  CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN);
  CHECK_EQ(info.si_value.sival_int, 4711);
  CHECK(info.si_overrun >= 15);
  CHECK_EQ(timer_getoverrun(other), info.si_overrun);
  CHECK_EQ(timer_gettime(other, &old), 0);
  CHECK_EQ(old.it_interval.tv_nsec, 2000000);
  CHECK(old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 2000000);
  CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN);  // it goes on
  spec = Spec(0, 0);
  CHECK_EQ(timer_settime(other, 0, &spec, &old), 0);
  CHECK_EQ(old.it_interval.tv_nsec, 2000000);

  // Absolute, and in the past.
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  spec = (struct itimerspec){{0, 0}, {now.tv_sec - 5, 0}};
  while (sigtimedwait(&set, &info, &(struct timespec){0, 0}) > 0) {
  }
  CHECK_EQ(timer_settime(other, TIMER_ABSTIME, &spec, NULL), 0);
  CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN);
  CHECK_EQ(timer_delete(other), 0);
  CHECK_FAILS(timer_gettime(other, &old), EINVAL);

  // SIGEV_NONE only tells the time.
  event.sigev_notify = SIGEV_NONE;
  CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &other), 0);
  spec = Spec(5000000, 1000000);
  CHECK_EQ(timer_settime(other, 0, &spec, NULL), 0);
  CHECK_EQ(timer_gettime(other, &old), 0);
  CHECK(old.it_value.tv_sec == 4);
  spec = Spec(1000, 0);
  CHECK_EQ(timer_settime(other, 0, &spec, NULL), 0);
  usleep(5000);
  CHECK_EQ(timer_gettime(other, &old), 0);
  CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
  CHECK_EQ(timer_delete(other), 0);

  // To one thread.
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
  CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &other), 0);
  spec = Spec(1000, 0);
  CHECK_EQ(timer_settime(other, 0, &spec, NULL), 0);
  CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN);
  CHECK_EQ(timer_delete(other), 0);
  event.sigev_notify_thread_id = 1 << 22;
  CHECK_FAILS(timer_create(CLOCK_MONOTONIC, &event, &other), EINVAL);

  // By a thread that glibc keeps.
  struct sigevent call = {0};
  call.sigev_notify = SIGEV_THREAD;
  call.sigev_notify_function = OnThread;
  call.sigev_value.sival_int = 12;
  CHECK_EQ(timer_create(CLOCK_MONOTONIC, &call, &other), 0);
  spec = Spec(1000, 1000);
  CHECK_EQ(timer_settime(other, 0, &spec, NULL), 0);
  while (thread_calls < 3) usleep(1000);
  CHECK_EQ(thread_value, 12);
  CHECK_EQ(timer_delete(other), 0);

  // CPU time, which a spinning process uses.
  signal(SIGUSR1, Handler);
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  const clockid_t clocks[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
  for (int i = 0; i < 2; ++i) {
    CHECK_EQ(timer_create(clocks[i], &event, &other), 0);
    handler_calls = 0;
    spec = Spec(10000, 10000);
    CHECK_EQ(timer_settime(other, 0, &spec, NULL), 0);
    while (handler_calls < 2) {
    }
    CHECK_EQ(timer_gettime(other, &old), 0);
    CHECK_EQ(old.it_interval.tv_nsec, 10000000);
    CHECK_EQ(timer_delete(other), 0);
  }
  clockid_t own;
  CHECK_EQ(clock_getcpuclockid(getpid(), &own), 0);
  CHECK_EQ(clock_gettime(own, &now), 0);
  CHECK(now.tv_sec > 0 || now.tv_nsec > 0);
  CHECK_EQ(pthread_getcpuclockid(pthread_self(), &own), 0);
  CHECK_EQ(clock_gettime(own, &now), 0);
  CHECK_EQ(timer_create(own, &event, &other), 0);
  CHECK_EQ(timer_delete(other), 0);

  // An ignored signal does not stop a timer.
  signal(SIGUSR1, SIG_IGN);
  CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &other), 0);
  spec = Spec(1000, 1000);
  CHECK_EQ(timer_settime(other, 0, &spec, NULL), 0);
  usleep(10000);
  handler_calls = 0;
  signal(SIGUSR1, Handler);
  while (handler_calls == 0) usleep(1000);
  CHECK_EQ(timer_delete(other), 0);

  // fork does not inherit them.
  pid_t child = fork();
  if (child == 0) {
    CHECK_FAILS(syscall(SYS_timer_gettime, (int)(intptr_t)timer, &old), EINVAL);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);

  CHECK_FAILS(timer_create(99, NULL, &other), EINVAL);
  CHECK_FAILS(timer_create(CLOCK_MONOTONIC_RAW, NULL, &other), EOPNOTSUPP);
  event.sigev_signo = 65;
  CHECK_FAILS(timer_create(CLOCK_MONOTONIC, &event, &other), EINVAL);
  event.sigev_notify = 7;
  CHECK_FAILS(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &other), EINVAL);
  CHECK_FAILS(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, NULL), EFAULT);
  CHECK_FAILS(syscall(SYS_timer_delete, 12345), EINVAL);
  CHECK_FAILS(syscall(SYS_timer_getoverrun, 12345), EINVAL);
  spec.it_value.tv_nsec = -1;
  CHECK_FAILS(timer_settime(timer, 0, &spec, NULL), EINVAL);
  return Finish();
}
