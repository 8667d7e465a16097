// pselect, ppoll and epoll_pwait: a mask for the wait only, and what interrupts it.
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>

static volatile int num_handled;
static void Handle(int signal) {
  (void)signal;
  ++num_handled;
}

int main(void) {
  struct sigaction action = {.sa_handler = Handle, .sa_flags = SA_RESTART};
  CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
  sigset_t blocked, none;
  sigemptyset(&none);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGALRM);
  CHECK_EQ(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  struct pollfd polled = {fds[0], POLLIN, 0};
  const int set = epoll_create1(0);
  struct epoll_event event = {EPOLLIN, {0}};
  CHECK_EQ(epoll_ctl(set, EPOLL_CTL_ADD, fds[0], &event), 0);

  // Pending before: taken by the wait, which fails though SA_RESTART is set.
  CHECK_EQ(raise(SIGALRM), 0);
  CHECK_FAILS(ppoll(&polled, 1, NULL, &none), EINTR);
  CHECK_EQ(num_handled, 1);
  CHECK_EQ(raise(SIGALRM), 0);
  fd_set readable;
  FD_ZERO(&readable);
  FD_SET(fds[0], &readable);
  CHECK_FAILS(pselect(fds[0] + 1, &readable, NULL, NULL, NULL, &none), EINTR);
  CHECK_EQ(raise(SIGALRM), 0);
  CHECK_FAILS(epoll_pwait(set, &event, 1, -1, &none), EINTR);
  CHECK_EQ(num_handled, 3);
  // The mask is as before.
  sigset_t now;
  CHECK_EQ(sigprocmask(SIG_BLOCK, NULL, &now), 0);
  CHECK(sigismember(&now, SIGALRM));

  // Coming during the wait.
  const struct itimerval soon = {{0, 0}, {0, 10000}};
  CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
  CHECK_FAILS(ppoll(&polled, 1, NULL, &none), EINTR);
  CHECK_EQ(num_handled, 4);
  // Ready, so the signal stays pending.
  CHECK_EQ(write(fds[1], "x", 1), 1);
  CHECK_EQ(raise(SIGALRM), 0);
  CHECK_EQ(ppoll(&polled, 1, NULL, &blocked), 1);
  CHECK_EQ(num_handled, 4);
  const struct timespec instantly = {0, 0}, bad = {0, -1};
  CHECK_EQ(ppoll(NULL, 0, &instantly, &blocked), 0);
  CHECK_FAILS(ppoll(NULL, 0, &bad, NULL), EINVAL);
  return Finish();
}
