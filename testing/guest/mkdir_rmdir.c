// Directories come and go: nesting, link counts, ENOTEMPTY, EEXIST, names of 255 and 256 bytes, trailing slashes.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void) {
  EnterScratchFolder();
  struct stat st;
  CHECK_EQ(mkdir("a", 0755), 0);
  CHECK_EQ(mkdir("a/b/", 0755), 0);
  CHECK_FAILS(mkdir("a", 0755), EEXIST);
  CHECK_FAILS(mkdir("x/y", 0755), ENOENT);
  CHECK_FAILS(mkdir("", 0755), ENOENT);
  CHECK_FAILS(mkdir(".", 0755), EEXIST);
  CHECK_FAILS(rmdir("a"), ENOTEMPTY);
  CHECK_FAILS(rmdir("."), EINVAL);
  CHECK_FAILS(rmdir("a/b/.."), ENOTEMPTY);
  CHECK_FAILS(unlink("a/b"), EISDIR);
  close(open("a/file", O_CREAT | O_WRONLY, 0600));
  CHECK_FAILS(rmdir("a/file"), ENOTDIR);
  CHECK_FAILS(mkdir("a/file/below", 0700), ENOTDIR);
  CHECK_FAILS(open("a/file/", O_RDONLY), ENOTDIR);
  CHECK_EQ(unlink("a/file"), 0);
  CHECK_EQ(rmdir("a/b"), 0);
  CHECK_EQ(rmdir("a/"), 0);
  CHECK_FAILS(stat("a", &st), ENOENT);
  char name[258];
  memset(name, 'n', sizeof name);
  name[255] = 0;
  CHECK_EQ(mkdir(name, 0755), 0);
  CHECK_EQ(rmdir(name), 0);
  name[255] = 'n', name[256] = 0;
  CHECK_FAILS(mkdir(name, 0755), ENAMETOOLONG);
  static char path[5000];
  memset(path, '/', 4999);
  CHECK_FAILS(stat(path, &st), ENAMETOOLONG);
  int fd = open(".", O_RDONLY);
  CHECK_EQ(mkdirat(fd, "at", 0700), 0);
  CHECK_EQ(fstatat(fd, "at", &st, 0), 0);
  CHECK(S_ISDIR(st.st_mode));
  CHECK_EQ(unlinkat(fd, "at", AT_REMOVEDIR), 0);
  return Finish();
}
