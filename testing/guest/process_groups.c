// Process groups and sessions: setpgid, getpgid, setsid, kill to a group, waitpid by group.
#include "check.h"
#include <signal.h>
#include <sys/wait.h>

int main(void) {
  int status;
  CHECK_EQ(getpgid(0), getpgrp());
  pid_t first = fork();
  if (first == 0) {
    CHECK_EQ(setpgid(0, 0), 0);
    CHECK_EQ(getpgrp(), getpid());
    for (;;) pause();
  }
  CHECK(setpgid(first, first) == 0 || errno == EACCES);
  pid_t second = fork();
  if (second == 0) {
    setpgid(0, first);
    for (;;) pause();
  }
  CHECK(setpgid(second, first) == 0 || errno == EACCES);
  CHECK_EQ(getpgid(first), first);
  CHECK_EQ(getpgid(second), first);
  CHECK_EQ(waitpid(-first, &status, WNOHANG), 0);
  CHECK_EQ(kill(-first, SIGTERM), 0);
  for (int i = 0; i < 2; ++i) {
    pid_t pid = waitpid(-first, &status, 0);
    CHECK(pid == first || pid == second);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  }
  CHECK_FAILS(waitpid(-first, &status, 0), ECHILD);
  CHECK_FAILS(kill(-first, 0), ESRCH);
  CHECK_FAILS(setpgid(0x7ffffff, 0), ESRCH);
  CHECK_FAILS(setpgid(0, -1), EINVAL);
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQ(setsid(), getpid());
    CHECK_EQ(getsid(0), getpid());
    CHECK_EQ(getpgrp(), getpid());
    CHECK_FAILS(setsid(), EPERM);
    CHECK_FAILS(setpgid(0, 0), EPERM);
    _exit(0);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  return Finish();
}
