// Writing to a pipe nobody reads: EPIPE, and SIGPIPE kills unless ignored.
#include "check.h"
#include <signal.h>
#include <sys/wait.h>

int main(void) {
  int ends[2], status;
  CHECK_EQ(pipe(ends), 0);
  close(ends[0]);
  pid_t child = fork();
  if (child == 0) {
    write(ends[1], "x", 1);
    _exit(0);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status));
  CHECK_EQ(WTERMSIG(status), SIGPIPE);
  signal(SIGPIPE, SIG_IGN);
  CHECK_FAILS(write(ends[1], "x", 1), EPIPE);
  CHECK_EQ(write(ends[1], "x", 0), 0);
  return Finish();
}
