// access(2) and permission checks for an ordinary user; the superuser's exceptions.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

int main(void) {
  EnterScratchFolder();
  close(open("file", O_CREAT | O_WRONLY, 0644));
  close(open("secret", O_CREAT | O_WRONLY, 0600));
  close(open("program", O_CREAT | O_WRONLY, 0755));
  CHECK_EQ(mkdir("closed", 0700), 0);
  close(open("closed/inside", O_CREAT | O_WRONLY, 0644));
  CHECK_EQ(access("file", F_OK), 0);
  CHECK_EQ(access("file", R_OK | W_OK), 0);
  CHECK_EQ(access("program", X_OK), 0);
  CHECK_FAILS(access("file", X_OK), EACCES);
  CHECK_FAILS(access("missing", F_OK), ENOENT);
  CHECK_FAILS(access("file", 99), EINVAL);
  CHECK_EQ(faccessat(AT_FDCWD, "file", R_OK, AT_EACCESS), 0);
  if (!Privileged()) return Finish();
  CHECK_EQ(chmod(".", 0755), 0);
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQ(setgid(1000), 0);
    CHECK_EQ(setuid(1000), 0);
    CHECK_EQ(open("file", O_RDONLY) >= 0, 1);
    CHECK_FAILS(open("file", O_WRONLY), EACCES);
    CHECK_FAILS(open("secret", O_RDONLY), EACCES);
    CHECK_FAILS(open("closed/inside", O_RDONLY), EACCES);
    CHECK_FAILS(open("new", O_CREAT | O_WRONLY, 0600), EACCES);
    CHECK_FAILS(unlink("file"), EACCES);
    CHECK_FAILS(chmod("file", 0777), EPERM);
    CHECK_FAILS(access("secret", R_OK), EACCES);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  return Finish();
}
