// Symbolic links: readlink, relative and absolute targets, loops, chains of forty, dangling ones.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void) {
  EnterScratchFolder();
  char buffer[64], name[16], target[16];
  struct stat st;
  CHECK_EQ(symlink("target", "link"), 0);
  CHECK_EQ(readlink("link", buffer, sizeof buffer), 6);
  CHECK(memcmp(buffer, "target", 6) == 0);
  CHECK_EQ(readlink("link", buffer, 3), 3);
  CHECK_FAILS(readlink("link", buffer, 0), EINVAL);
  CHECK_FAILS(stat("link", &st), ENOENT);
  CHECK_FAILS(symlink("x", "link"), EEXIST);
  CHECK_FAILS(symlink("", "empty"), ENOENT);
  close(open("target", O_CREAT | O_WRONLY, 0600));
  CHECK_FAILS(readlink("target", buffer, 10), EINVAL);
  CHECK_EQ(stat("link", &st), 0);
  CHECK_EQ(symlink("loop2", "loop1"), 0);
  CHECK_EQ(symlink("loop1", "loop2"), 0);
  CHECK_FAILS(stat("loop1", &st), ELOOP);
  CHECK_EQ(lstat("loop1", &st), 0);
  CHECK_EQ(symlink("target", "chain0"), 0);
  for (int i = 1; i <= 40; ++i) {
    snprintf(name, sizeof name, "chain%d", i);
    snprintf(target, sizeof target, "chain%d", i - 1);
    CHECK_EQ(symlink(target, name), 0);
  }
  CHECK_EQ(stat("chain39", &st), 0);
  CHECK_FAILS(stat("chain40", &st), ELOOP);
  CHECK_EQ(mkdir("folder", 0700), 0);
  CHECK_EQ(symlink("../target", "folder/up"), 0);
  CHECK_EQ(stat("folder/up", &st), 0);
  CHECK(S_ISREG(st.st_mode));
  CHECK_EQ(symlink("folder", "to_folder"), 0);
  CHECK_EQ(lstat("to_folder/", &st), 0);
  CHECK(S_ISDIR(st.st_mode));
  CHECK_EQ(unlink("to_folder"), 0);
  CHECK_EQ(stat("folder", &st), 0);
  return Finish();
}
