// signalfd: signals of the process and of a thread, values, several in one read, SIGCHLD, poll, a changed mask.
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

static void* Late(void* unused) {
  usleep(20000);
  kill(getpid(), SIGUSR1);
  return unused;
}

int main(void) {
  sigset_t mask, one;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR1);
  sigaddset(&mask, SIGUSR2);
  sigaddset(&mask, SIGCHLD);
  sigaddset(&mask, SIGRTMIN + 2);
  CHECK_EQ(sigprocmask(SIG_BLOCK, &mask, NULL), 0);
  int fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
  CHECK(fd >= 0);
  struct signalfd_siginfo info[4];
  CHECK_FAILS(read(fd, info, sizeof info), EAGAIN);
  CHECK_FAILS(read(fd, info, 127), EINVAL);
  CHECK_FAILS(write(fd, info, sizeof info), EINVAL);
  struct pollfd poll_fd = {fd, POLLIN | POLLOUT, 0};
  CHECK_EQ(poll(&poll_fd, 1, 0), 0);

  CHECK_EQ(kill(getpid(), SIGUSR2), 0);
  CHECK_EQ(raise(SIGUSR1), 0);  // to the thread
  CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 77}), 0);
  CHECK_EQ(poll(&poll_fd, 1, 0), 1);
  CHECK_EQ(poll_fd.revents, POLLIN);
  // The thread's own come first, then the process's by number.
  CHECK_EQ(read(fd, info, sizeof info), 3 * 128);
  CHECK_EQ(info[0].ssi_signo, SIGUSR1);
  CHECK_EQ(info[0].ssi_code, SI_TKILL);
  CHECK_EQ(info[0].ssi_pid, getpid());
  CHECK_EQ(info[1].ssi_signo, SIGUSR2);
  CHECK_EQ(info[1].ssi_code, SI_USER);
  CHECK_EQ(info[1].ssi_uid, getuid());
  CHECK_EQ(info[2].ssi_signo, SIGRTMIN + 2);
  CHECK_EQ(info[2].ssi_code, SI_QUEUE);
  CHECK_EQ(info[2].ssi_int, 77);
  CHECK_FAILS(read(fd, info, sizeof info), EAGAIN);

  // A child's end.
  pid_t child = fork();
  if (child == 0) _exit(5);
  CHECK_EQ(poll(&poll_fd, 1, -1), 1);
  CHECK_EQ(read(fd, info, sizeof info), 128);
  CHECK_EQ(info[0].ssi_signo, SIGCHLD);
  CHECK_EQ(info[0].ssi_code, CLD_EXITED);
  CHECK_EQ(info[0].ssi_pid, child);
  CHECK_EQ(info[0].ssi_status, 5);
  CHECK_EQ(waitpid(child, NULL, 0), child);

  // A read that waits.
  int blocking = signalfd(-1, &mask, 0);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, Late, NULL), 0);
  CHECK_EQ(read(blocking, info, sizeof info[0]), 128);
  CHECK_EQ(info[0].ssi_signo, SIGUSR1);
  CHECK_EQ(pthread_join(thread, NULL), 0);

  // In a child it is the child's signals that are read.
  CHECK_EQ(kill(getpid(), SIGUSR1), 0);
  child = fork();
  if (child == 0) {
    CHECK_FAILS(read(fd, info, sizeof info), EAGAIN);
    CHECK_EQ(kill(getpid(), SIGUSR2), 0);
    CHECK_EQ(read(fd, info, sizeof info), 128);
    CHECK_EQ(info[0].ssi_signo, SIGUSR2);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(read(fd, info, sizeof info[0]), 128);
  CHECK_EQ(info[0].ssi_signo, SIGUSR1);
  CHECK_EQ(read(fd, info, sizeof info), 128);  // the child's end

  // Other signals for the same descriptor.
  sigemptyset(&one);
  sigaddset(&one, SIGUSR2);
  CHECK_EQ(signalfd(fd, &one, 0), fd);
  CHECK_EQ(raise(SIGUSR1), 0);
  CHECK_FAILS(read(fd, info, sizeof info), EAGAIN);
  CHECK_EQ(raise(SIGUSR2), 0);
  CHECK_EQ(read(fd, info, sizeof info), 128);
  CHECK_EQ(info[0].ssi_signo, SIGUSR2);
  CHECK_EQ(read(blocking, info, sizeof info), 128);  // SIGUSR1 is pending still
  CHECK_EQ(info[0].ssi_signo, SIGUSR1);

  CHECK_FAILS(signalfd(99, &mask, 0), EBADF);
  CHECK_FAILS(signalfd(0, &mask, 0), EINVAL);
  CHECK_FAILS(signalfd(-1, &mask, 1), EINVAL);
  return Finish();
}
