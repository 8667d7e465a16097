// pidfd_open, pidfd_send_signal, pidfd_getfd, CLONE_PIDFD of clone and clone3, poll and waitid on them.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define P_PIDFD_ 3

static int Open(pid_t pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }
static int Send(int fd, int signal, siginfo_t* info, unsigned flags) {
  return (int)syscall(SYS_pidfd_send_signal, fd, signal, info, flags);
}
static int GetFd(int fd, int target, unsigned flags) { return (int)syscall(SYS_pidfd_getfd, fd, target, flags); }

struct clone_args_ {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

int main(void) {
  siginfo_t info;
  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  int fd = Open(child, 0);
  CHECK(fd >= 0);
  CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  char name[64] = {0}, link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  CHECK(readlink(link, name, sizeof name - 1) > 0);
  CHECK_EQ(strcmp(name, "anon_inode:[pidfd]"), 0);
  struct pollfd poll_fd = {fd, POLLIN, 0};
  CHECK_EQ(poll(&poll_fd, 1, 0), 0);
  CHECK_EQ(waitid(P_PIDFD_, fd, memset(&info, 1, sizeof info), WEXITED | WNOHANG), 0);
  CHECK_EQ(info.si_pid, 0);
  CHECK_EQ(Send(fd, 0, NULL, 0), 0);
  CHECK_EQ(Send(fd, SIGKILL, NULL, 0), 0);
  CHECK_EQ(poll(&poll_fd, 1, -1), 1);
  CHECK_EQ(poll_fd.revents, POLLIN);
  CHECK_EQ(Send(fd, 0, NULL, 0), 0);  // a zombie
  CHECK_EQ(waitid(P_PIDFD_, fd, &info, WEXITED), 0);
  CHECK_EQ(info.si_pid, child);
  CHECK_EQ(info.si_code, CLD_KILLED);
  CHECK_EQ(info.si_status, SIGKILL);
  CHECK_FAILS(Send(fd, 0, NULL, 0), ESRCH);
  CHECK_FAILS(waitid(P_PIDFD_, fd, &info, WEXITED), ECHILD);
  close(fd);

  // CLONE_PIDFD.
  fd = -1;
  child = (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &fd, NULL, 0);
  if (child == 0) {
    // Not inherited: it came after the copy.
    _exit(fcntl(3, F_GETFD) == -1 ? 7 : 8);
  }
  CHECK(fd >= 0);
  CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(waitid(P_PIDFD_, fd, &info, WEXITED), 0);
  CHECK_EQ(info.si_status, 7);
  close(fd);
  struct clone_args_ args = {0};
  fd = -1;
  int parent_tid = 0;
  args.flags = CLONE_PIDFD | CLONE_PARENT_SETTID;
  args.pidfd = (uintptr_t)&fd;
  args.parent_tid = (uintptr_t)&parent_tid;
  args.exit_signal = SIGCHLD;
  child = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  if (child == 0) _exit(3);
  CHECK_EQ(parent_tid, child);
  CHECK_EQ(waitid(P_PIDFD_, fd, &info, WEXITED), 0);
  CHECK(info.si_pid == child && info.si_status == 3);
  close(fd);
  CHECK_FAILS(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &fd, NULL, 0), EINVAL);
  CHECK_FAILS(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, (void*)16, NULL, 0), EFAULT);

  // set_tid: a number that is taken, or none at all.
  pid_t wanted = getpid();
  args = (struct clone_args_){0};
  args.exit_signal = SIGCHLD;
  args.set_tid = (uintptr_t)&wanted;
  args.set_tid_size = 1;
  if (Privileged()) CHECK_FAILS(syscall(SYS_clone3, &args, sizeof args), EEXIST);
  wanted = 0;
  CHECK_FAILS(syscall(SYS_clone3, &args, sizeof args), EINVAL);
  args.set_tid_size = 0;
  CHECK_FAILS(syscall(SYS_clone3, &args, sizeof args), EINVAL);

  // A file of another process.
  int pipes[2];
  CHECK_EQ(pipe(pipes), 0);
  child = fork();
  if (child == 0) {
    int other[2];
    CHECK_EQ(pipe(other), 0);
    CHECK_EQ(dup2(other[1], 200), 200);
    CHECK_EQ(write(pipes[1], "x", 1), 1);
    char byte;
    _exit(read(other[0], &byte, 1) != 1 || byte != 'y');
  }
  char byte;
  CHECK_EQ(read(pipes[0], &byte, 1), 1);
  fd = Open(child, 0);
  int taken = GetFd(fd, 200, 0);
  CHECK(taken >= 0);
  CHECK_EQ(fcntl(taken, F_GETFD), FD_CLOEXEC);
  CHECK_FAILS(GetFd(fd, 201, 0), EBADF);
  CHECK_FAILS(GetFd(fd, 200, 1), EINVAL);
  CHECK_FAILS(GetFd(0, 1, 0), EBADF);
  CHECK_EQ(write(taken, "y", 1), 1);
  CHECK_EQ(waitid(P_PIDFD_, fd, &info, WEXITED), 0);
  CHECK_EQ(info.si_status, 0);
  CHECK_FAILS(GetFd(fd, 1, 0), ESRCH);

  // One that does not wait.
  child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  int nonblocking = Open(child, O_NONBLOCK);
  CHECK_FAILS(waitid(P_PIDFD_, nonblocking, &info, WEXITED), EAGAIN);
  kill(child, SIGKILL);
  poll_fd.fd = nonblocking;
  CHECK_EQ(poll(&poll_fd, 1, -1), 1);
  CHECK_EQ(waitid(P_PIDFD_, nonblocking, &info, WEXITED), 0);

  fd = Open(getpid(), 0);
  CHECK_FAILS(read(fd, &byte, 1), EINVAL);
  CHECK_FAILS(write(fd, &byte, 1), EINVAL);
  CHECK_FAILS(Open(0, 0), EINVAL);
  CHECK_FAILS(Open(-1, 0), EINVAL);
  CHECK_FAILS(Open(1 << 22, 0), ESRCH);
  CHECK_FAILS(Open(getpid(), 1), EINVAL);
  CHECK_FAILS(Send(fd, 65, NULL, 0), EINVAL);
  CHECK_FAILS(Send(fd, 0, NULL, 16), EINVAL);
  CHECK_FAILS(Send(0, 0, NULL, 0), EBADF);
  info.si_signo = SIGUSR1;
  CHECK_FAILS(Send(fd, SIGUSR2, &info, 0), EINVAL);
  CHECK_FAILS(waitid(P_PIDFD_, 0, &info, WEXITED), EBADF);
  CHECK_FAILS(waitid(P_PIDFD_, -1, &info, WEXITED), EINVAL);
  return Finish();
}
