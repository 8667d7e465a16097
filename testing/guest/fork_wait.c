// fork, exit statuses, waitpid by pid and any, ECHILD, WNOHANG, getppid, orphans.
#include "check.h"
#include <sys/wait.h>

int main(void) {
  int status;
  CHECK_FAILS(wait(&status), ECHILD);
  pid_t parent = getpid();
  pid_t children[10];
  for (int i = 0; i < 10; ++i) {
    children[i] = fork();
    if (children[i] == 0) {
      CHECK_EQ(getppid(), parent);
      CHECK(getpid() != parent);
      _exit(i + 100);
    }
    CHECK(children[i] > 0);
  }
  for (int i = 9; i >= 0; i -= 2) {
    CHECK_EQ(waitpid(children[i], &status, 0), children[i]);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), i + 100);
  }
  int seen = 0;
  for (int i = 0; i < 5; ++i) {
    CHECK(wait(&status) > 0);
    seen |= 1 << (WEXITSTATUS(status) - 100);
  }
  CHECK_EQ(seen, 0x155);
  CHECK_FAILS(wait(&status), ECHILD);
  CHECK_FAILS(waitpid(children[0], &status, 0), ECHILD);
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    char byte;
    close(ends[1]);
    read(ends[0], &byte, 1);
    _exit(3);
  }
  CHECK_EQ(waitpid(-1, &status, WNOHANG), 0);
  close(ends[1]);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  // waitid leaves the child waitable if asked to.
  child = fork();
  if (child == 0) _exit(42);
  siginfo_t info;
  CHECK_EQ(waitid(P_PID, child, &info, WEXITED | WNOWAIT), 0);
  CHECK_EQ(info.si_pid, child);
  CHECK_EQ(info.si_code, CLD_EXITED);
  CHECK_EQ(info.si_status, 42);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(WEXITSTATUS(status), 42);
  return Finish();
}
