// getrlimit, prlimit64 of others, RLIMIT_NOFILE and RLIMIT_FSIZE as they bite, inheritance.
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

int main(void) {
  struct rlimit limit, old;
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  CHECK(limit.rlim_cur <= limit.rlim_max && limit.rlim_cur >= 20);
  limit.rlim_cur = 20;
  CHECK_EQ(prlimit(0, RLIMIT_NOFILE, &limit, &old), 0);
  CHECK(old.rlim_max == limit.rlim_max);
  int last = -1, fd;
  while ((fd = dup(0)) >= 0) last = fd;
  CHECK_EQ(errno, EMFILE);
  CHECK_EQ(last, 19);
  CHECK_FAILS(dup2(0, 20), EBADF);
  CHECK_FAILS(fcntl(0, F_DUPFD, 20), EINVAL);
  for (fd = 10; fd < 20; ++fd) close(fd);

  const pid_t child = fork();
  if (child == 0) {
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(limit.rlim_cur, 20);
    for (;;) pause();
  }
  CHECK_EQ(prlimit(child, RLIMIT_NOFILE, NULL, &old), 0);
  CHECK_EQ(old.rlim_cur, 20);
  old.rlim_cur = 10;
  CHECK_EQ(prlimit(child, RLIMIT_NOFILE, &old, NULL), 0);
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  CHECK_EQ(limit.rlim_cur, 20);
  CHECK_EQ(kill(child, SIGKILL), 0);
  CHECK_EQ(wait(NULL), child);

  limit.rlim_cur = limit.rlim_max + 1;
  if (limit.rlim_max != RLIM_INFINITY) CHECK_FAILS(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
  CHECK_FAILS(getrlimit((__rlimit_resource_t)99, &limit), EINVAL);
  CHECK_FAILS(prlimit(child, RLIMIT_NOFILE, NULL, &old), ESRCH);
  CHECK_EQ(getrlimit(RLIMIT_CORE, &limit), 0);
  limit.rlim_cur = limit.rlim_max = 0;
  CHECK_EQ(setrlimit(RLIMIT_CORE, &limit), 0);
  CHECK_EQ(getrlimit(RLIMIT_CORE, &limit), 0);
  CHECK(limit.rlim_cur == 0 && limit.rlim_max == 0);
  return Finish();
}
