// Several threads in epoll_wait: each edge wakes one and is told once; signals; a descriptor added while others wait.
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>

enum { kThreads = 4, kFds = 16, kRounds = 2000 };

static int epoll, fds[kFds], stop_fd;
static unsigned long long taken[kFds], told;

static int Control(int instance, int op, int fd, uint32_t wanted, uint64_t data) {
  struct epoll_event event = {.events = wanted, .data.u64 = data};
  return epoll_ctl(instance, op, fd, &event);
}

static void* Worker(void* argument) {
  (void)argument;
  for (;;) {
    struct epoll_event events[3];
    int n = epoll_wait(epoll, events, 3, -1);
    CHECK(n > 0);
    for (int i = 0; i < n; ++i) {
      uint64_t which = events[i].data.u64;
      if (which == kFds) return NULL;
      eventfd_t value;
      CHECK_EQ(eventfd_read(fds[which], &value), 0);
      __atomic_fetch_add(&taken[which], value, __ATOMIC_RELAXED);
      __atomic_fetch_add(&told, 1, __ATOMIC_RELAXED);
      CHECK_EQ(Control(epoll, EPOLL_CTL_MOD, fds[which], EPOLLIN | EPOLLONESHOT, which), 0);
    }
  }
}

static volatile int alarms;
static void OnAlarm(int signal) {
  (void)signal;
  ++alarms;
}

static void* AddLater(void* argument) {
  usleep(20000);
  CHECK_EQ(Control(*(int*)argument, EPOLL_CTL_ADD, stop_fd, EPOLLIN, 9), 0);
  return NULL;
}

static int woken;
static void* WaitOnce(void* argument) {
  struct epoll_event event;
  CHECK_EQ(epoll_wait(*(int*)argument, &event, 1, -1), 1);
  __atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

int main(void) {
  // One shot for each: no event is handled by two threads at once, none is lost.
  epoll = epoll_create1(0);
  stop_fd = eventfd(0, 0);
  for (int i = 0; i < kFds; ++i) {
    fds[i] = eventfd(0, EFD_NONBLOCK);
    CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, fds[i], EPOLLIN | EPOLLONESHOT, i), 0);
  }
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, stop_fd, EPOLLIN, kFds), 0);
  pthread_t threads[kThreads];
  for (int i = 0; i < kThreads; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Worker, NULL), 0);
  for (int round = 0; round < kRounds; ++round) CHECK_EQ(eventfd_write(fds[round * 7 % kFds], 1), 0);
  for (;;) {
    unsigned long long sum = 0;
    for (int i = 0; i < kFds; ++i) sum += __atomic_load_n(&taken[i], __ATOMIC_RELAXED);
    if (sum == kRounds) break;
    sched_yield();
  }
  eventfd_write(stop_fd, 1);
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
  CHECK(told <= kRounds);

  // An edge wakes one of the threads that wait.
  int edges = epoll_create1(0), fd = eventfd(0, EFD_NONBLOCK);
  CHECK_EQ(Control(edges, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 1), 0);
  for (int i = 0; i < kThreads; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, WaitOnce, &edges), 0);
  usleep(30000);
  for (int i = 1; i <= kThreads; ++i) {
    eventfd_write(fd, 1);
    while (__atomic_load_n(&woken, __ATOMIC_SEQ_CST) < i) sched_yield();
    usleep(3000);
    CHECK_EQ(__atomic_load_n(&woken, __ATOMIC_SEQ_CST), i);
  }
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);

  // A level that nobody takes away wakes all.
  woken = 0;
  CHECK_EQ(Control(edges, EPOLL_CTL_MOD, fd, 0, 1), 0);
  for (int i = 0; i < kThreads; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, WaitOnce, &edges), 0);
  usleep(10000);
  CHECK_EQ(Control(edges, EPOLL_CTL_MOD, fd, EPOLLIN, 1), 0);
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
  CHECK_EQ(woken, kThreads);

  // Exclusive registrations of one file in several instances: no wake-up is lost.
  int source = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE), instances[kThreads];
  woken = 0;
  for (int i = 0; i < kThreads; ++i) {
    instances[i] = epoll_create1(0);
    CHECK_EQ(Control(instances[i], EPOLL_CTL_ADD, source, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET, 1), 0);
    CHECK_EQ(pthread_create(&threads[i], NULL, WaitOnce, &instances[i]), 0);
  }
  usleep(10000);
  for (int i = 1; i <= kThreads; ++i) {
    eventfd_write(source, 1);
    while (__atomic_load_n(&woken, __ATOMIC_SEQ_CST) < i) sched_yield();
  }
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);

  // Added while another thread waits.
  int fresh = epoll_create1(0);
  struct epoll_event event;
  CHECK_EQ(pthread_create(&threads[0], NULL, AddLater, &fresh), 0);
  CHECK_EQ(epoll_wait(fresh, &event, 1, -1), 1);
  CHECK_EQ(event.data.u64, 9);
  pthread_join(threads[0], NULL);

  // A handler ends the wait, also under SA_RESTART; the mask of epoll_pwait holds the signal back.
  struct sigaction action = {.sa_handler = OnAlarm, .sa_flags = SA_RESTART};
  CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
  int quiet = epoll_create1(0);
  struct itimerval soon = {{0, 0}, {0, 20000}};
  CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
  CHECK_FAILS(epoll_wait(quiet, &event, 1, -1), EINTR);
  CHECK_EQ(alarms, 1);
  sigset_t blocked, before;
  sigemptyset(&blocked), sigaddset(&blocked, SIGALRM);
  CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
  CHECK_EQ(epoll_pwait(quiet, &event, 1, 60, &blocked), 0);
  // It was pending when the old mask came back.
  CHECK_EQ(alarms, 2);
  CHECK_EQ(sigprocmask(SIG_BLOCK, &blocked, &before), 0);
  CHECK_EQ(raise(SIGALRM), 0);
  CHECK_FAILS(epoll_pwait(quiet, &event, 1, -1, &before), EINTR);
  CHECK_EQ(alarms, 3);
  sigset_t now;
  CHECK_EQ(sigprocmask(SIG_SETMASK, NULL, &now), 0);
  CHECK_EQ(sigismember(&now, SIGALRM), 1);
  return Finish();
}
