// prctl: the thread's name, dumpable, parent-death signal, no-new-privileges.
#include "check.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>

int main(void) {
  char name[17] = {0};
  CHECK_EQ(prctl(PR_SET_NAME, "a name longer than fifteen"), 0);
  CHECK_EQ(prctl(PR_GET_NAME, name), 0);
  CHECK(strcmp(name, "a name longer t") == 0);
  char comm[32] = {0};
  int fd = open("/proc/self/comm", O_RDONLY);
  CHECK_EQ(read(fd, comm, 31), 16);
  CHECK(strcmp(comm, "a name longer t\n") == 0);
  CHECK_EQ(prctl(PR_GET_DUMPABLE), 1);
  int signal_number = -1;
  CHECK_EQ(prctl(PR_SET_PDEATHSIG, SIGUSR1), 0);
  CHECK_EQ(prctl(PR_GET_PDEATHSIG, &signal_number), 0);
  CHECK_EQ(signal_number, SIGUSR1);
  CHECK_FAILS(prctl(PR_SET_PDEATHSIG, 100), EINVAL);
  CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
  CHECK_FAILS(prctl(123456), EINVAL);
  return Finish();
}
