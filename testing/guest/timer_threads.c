// POSIX timers as glibc offers them: SIGEV_THREAD, and two timers whose signals tell them apart.
#include "check.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>

static sem_t fired;
static int sum;
static void Fire(union sigval value) {
  __atomic_add_fetch(&sum, value.sival_int, __ATOMIC_SEQ_CST);
  CHECK_EQ(sem_post(&fired), 0);
}

int main(void) {
  CHECK_EQ(sem_init(&fired, 0, 0), 0);
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 7};
  event.sigev_notify_function = Fire;
  timer_t timer;
  CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  struct itimerspec spec = {{0, 5000000}, {0, 5000000}};
  CHECK_EQ(timer_settime(timer, 0, &spec, NULL), 0);
  for (int i = 0; i < 3; ++i) CHECK_EQ(sem_wait(&fired), 0);
  CHECK_EQ(timer_delete(timer), 0);
  CHECK(sum >= 21);

  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 1);
  CHECK_EQ(sigprocmask(SIG_BLOCK, &set, NULL), 0);
  timer_t both[2];
  for (int i = 0; i < 2; ++i) {
    event = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
    event.sigev_value.sival_int = 10 + i;
    CHECK_EQ(timer_create(CLOCK_REALTIME, &event, &both[i]), 0);
    spec = (struct itimerspec){{0, 0}, {0, 1000000 * (1 + 20 * i)}};
    CHECK_EQ(timer_settime(both[i], 0, &spec, NULL), 0);
  }
  for (int i = 0; i < 2; ++i) {
    siginfo_t info;
    CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 1);
    CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == 10 + i);
  }
  CHECK_EQ(timer_gettime(both[0], &spec), 0);
  CHECK(spec.it_value.tv_sec == 0 && spec.it_value.tv_nsec == 0);
  return Finish();
}
