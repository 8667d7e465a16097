// vfork suspends the parent until the child execs or exits; posix_spawn reports failures.
#include "check.h"
#include <spawn.h>
#include <sys/wait.h>

extern char** environ;

int main(int argc, char** argv) {
  if (argc > 1) return atoi(argv[1]);
  volatile int value = 1;
  int status;
  pid_t child = vfork();
  if (child == 0) {
    value = 2;
    _exit(7);
  }
  CHECK_EQ(value, 2);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(WEXITSTATUS(status), 7);
  char* args[] = {argv[0], "9", NULL};
  child = vfork();
  if (child == 0) {
    execv("/proc/self/exe", args);
    _exit(1);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(WEXITSTATUS(status), 9);
  CHECK_EQ(posix_spawn(&child, "/proc/self/exe", NULL, NULL, args, environ), 0);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(WEXITSTATUS(status), 9);
  CHECK_EQ(posix_spawn(&child, "/no/such/program", NULL, NULL, args, environ), ENOENT);
  return Finish();
}
