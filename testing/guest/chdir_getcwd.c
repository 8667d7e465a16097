// The working directory: chdir, fchdir, getcwd after renames and removals, relative paths.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int main(void) {
  EnterScratchFolder();
  char base[4096], now[4096], expected[5000];
  CHECK(getcwd(base, sizeof base) != NULL);
  CHECK_EQ(mkdir("a", 0755), 0);
  CHECK_EQ(mkdir("a/b", 0755), 0);
  int above = open(".", O_RDONLY);
  CHECK_EQ(chdir("a/./b/../b/"), 0);
  snprintf(expected, sizeof expected, "%s/a/b", base);
  CHECK(strcmp(getcwd(now, sizeof now), expected) == 0);
  CHECK_EQ(rename("../../a", "../../renamed"), 0);
  snprintf(expected, sizeof expected, "%s/renamed/b", base);
  CHECK(strcmp(getcwd(now, sizeof now), expected) == 0);
  CHECK_EQ(rmdir("../b"), 0);
  CHECK(getcwd(now, sizeof now) == NULL);
  CHECK_EQ(errno, ENOENT);
  CHECK_FAILS(open("new", O_CREAT | O_WRONLY, 0600), ENOENT);
  CHECK_EQ(fchdir(above), 0);
  CHECK(strcmp(getcwd(now, sizeof now), base) == 0);
  char tiny[2];
  CHECK(getcwd(tiny, 2) == NULL);
  CHECK_EQ(errno, ERANGE);
  CHECK_FAILS(chdir("missing"), ENOENT);
  close(open("file", O_CREAT | O_WRONLY, 0600));
  CHECK_FAILS(chdir("file"), ENOTDIR);
  CHECK_EQ(chdir("/"), 0);
  CHECK(strcmp(getcwd(now, sizeof now), "/") == 0);
  CHECK_EQ(chdir(".."), 0);
  CHECK(strcmp(getcwd(now, sizeof now), "/") == 0);
  CHECK_EQ(syscall(SYS_getcwd, now, sizeof now), 2);
  return Finish();
}
