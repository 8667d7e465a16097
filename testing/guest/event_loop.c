// An event loop as programs have it: one epoll instance over a timerfd, a signalfd, a pidfd and an eventfd.
#include "check.h"
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

static int epoll;

static void Watch(int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
}

int main(void) {
  epoll = epoll_create1(EPOLL_CLOEXEC);
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigaddset(&mask, SIGUSR1);
  CHECK_EQ(sigprocmask(SIG_BLOCK, &mask, NULL), 0);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  int signals = signalfd(-1, &mask, SFD_NONBLOCK);
  int counter = eventfd(0, EFD_NONBLOCK);
  struct epoll_event got[8];
  Watch(timer, EPOLLIN);
  Watch(signals, EPOLLIN | EPOLLET);
  Watch(counter, EPOLLIN);
  CHECK_EQ(epoll_wait(epoll, got, 8, 0), 0);

  // A child that tells its parent, works for a while, and ends.
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    uint64_t one = 1;
    kill(parent, SIGUSR1);
    if (write(counter, &one, 8) != 8) _exit(1);
    usleep(30000);
    _exit(3);
  }
  int process = (int)syscall(SYS_pidfd_open, child, 0);
  Watch(process, EPOLLIN);
  struct itimerspec spec = {{0, 5000000}, {0, 5000000}};
  CHECK_EQ(timerfd_settime(timer, 0, &spec, NULL), 0);

  uint64_t beats = 0, value;
  int usr1 = 0, chld = 0, count = 0, ended = 0;
  while (beats < 10 || !usr1 || !chld || !count || !ended) {
    int n = epoll_wait(epoll, got, 8, -1);
    CHECK(n > 0);
    for (int i = 0; i < n; ++i) {
      CHECK_EQ(got[i].events, EPOLLIN);
      if (got[i].data.fd == timer) {
        CHECK_EQ(read(timer, &value, 8), 8);
        beats += value;
      } else if (got[i].data.fd == counter) {
        CHECK_EQ(read(counter, &value, 8), 8);
        count = 1;
      } else if (got[i].data.fd == signals) {
        struct signalfd_siginfo info;
        while (read(signals, &info, sizeof info) == sizeof info) {
          CHECK_EQ(info.ssi_pid, child);
          if (info.ssi_signo == SIGUSR1) usr1++;
          if (info.ssi_signo == SIGCHLD) chld++;
        }
      } else {
        CHECK_EQ(got[i].data.fd, process);
        siginfo_t info;
        CHECK_EQ(waitid(3 /* P_PIDFD */, process, &info, WEXITED), 0);
        CHECK(info.si_pid == child && info.si_status == 3);
        CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_DEL, process, NULL), 0);
        ended++;
      }
    }
  }
  CHECK(usr1 == 1 && chld == 1 && ended == 1);

  // Edge-triggered: told once for each signal, read or not.
  CHECK_EQ(close(timer), 0);
  CHECK_EQ(raise(SIGUSR1), 0);
  CHECK_EQ(epoll_wait(epoll, got, 8, -1), 1);
  CHECK_EQ(epoll_wait(epoll, got, 8, 0), 0);
  CHECK_EQ(kill(getpid(), SIGCHLD), 0);
  CHECK_EQ(epoll_wait(epoll, got, 8, -1), 1);
  CHECK_EQ(got[0].data.fd, signals);
  return Finish();
}
