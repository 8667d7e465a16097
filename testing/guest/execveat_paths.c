// execveat: relative to a directory, by descriptor alone, flags, scripts, close-on-exec.
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int fd, flags;
static const char* path;

// The exit status of this program, executed again; the errno if it could not be.
static int Run(void) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    char* argv[] = {"self", "again", NULL};
    char* envp[] = {"A=b", NULL};
    syscall(SYS_execveat, fd, path, argv, envp, flags);
    _exit(errno);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

int main(int argc, char** argv) {
  if (argc == 2) return strcmp(argv[1], "again") == 0 && strcmp(getenv("A"), "b") == 0 ? 200 : 1;
  char self[4096] = {0};
  CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
  EnterScratchFolder();
  fd = AT_FDCWD, path = self, flags = 0;
  CHECK_EQ(Run(), 200);
  *strrchr(self, '/') = 0;
  const int folder = open(self, O_RDONLY | O_DIRECTORY);
  CHECK(folder >= 0);
  fd = folder, path = self + strlen(self) + 1;
  CHECK_EQ(Run(), 200);
  CHECK_EQ(symlinkat("/proc/self/exe", AT_FDCWD, "link"), 0);
  fd = AT_FDCWD, path = "link";
  CHECK_EQ(Run(), 200);
  flags = AT_SYMLINK_NOFOLLOW;
  CHECK_EQ(Run(), ELOOP);
  const int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  CHECK(program >= 0);
  fd = program, path = "", flags = AT_EMPTY_PATH;
  CHECK_EQ(Run(), 200);
  flags = 0;
  CHECK_EQ(Run(), ENOENT);
  flags = 1, path = "x";
  CHECK_EQ(Run(), EINVAL);
  fd = folder, path = "", flags = AT_EMPTY_PATH;
  CHECK_EQ(Run(), EACCES);
  fd = 99;
  CHECK_EQ(Run(), EBADF);
  fd = program, path = "x", flags = 0;
  CHECK_EQ(Run(), ENOTDIR);

  // A script's interpreter opens it by the descriptor's name: not if that is closed by then.
  const int script = open("script", O_CREAT | O_RDWR | O_CLOEXEC, 0700);
  CHECK(write(script, "#!/bin/sh\nexit 44\n", 18) == 18);
  CHECK_EQ(close(script), 0);
  fd = AT_FDCWD, path = "script";
  CHECK_EQ(Run(), 44);
  fd = open("script", O_RDONLY | O_CLOEXEC), path = "", flags = AT_EMPTY_PATH;
  CHECK_EQ(Run(), ENOENT);
  fd = open("script", O_RDONLY);
  CHECK_EQ(Run(), 44);
  return Finish();
}
