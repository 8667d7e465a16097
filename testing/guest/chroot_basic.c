// chroot confines absolute paths and "..", for the privileged.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

int main(void) {
  EnterScratchFolder();
  if (!Privileged()) {
    if (geteuid() != 0) CHECK_FAILS(chroot("."), EPERM);
    return Finish();
  }
  CHECK(mkdir("jail", 0755) == 0 && mkdir("jail/in", 0755) == 0);
  close(open("jail/in/file", O_CREAT | O_WRONLY, 0644));
  CHECK_EQ(symlink("/in/file", "jail/link"), 0);
  pid_t child = fork();
  if (child == 0) {
    char cwd[100];
    struct stat a, b;
    CHECK_EQ(chroot("jail"), 0);
    CHECK_EQ(chdir("/"), 0);
    CHECK(strcmp(getcwd(cwd, sizeof cwd), "/") == 0);
    CHECK_EQ(stat("/../../in/file", &a), 0);
    CHECK_EQ(stat("link", &b), 0);
    CHECK_EQ(a.st_ino, b.st_ino);
    CHECK_FAILS(stat("/jail", &a), ENOENT);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  return Finish();
}
