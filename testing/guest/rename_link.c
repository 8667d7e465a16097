// rename replaces, moves directories, refuses loops; hard links share; RENAME_NOREPLACE and RENAME_EXCHANGE.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

static void Make(const char* name, const char* content) {
  int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0600);
  CHECK(fd >= 0);
  CHECK_EQ(write(fd, content, strlen(content)), strlen(content));
  close(fd);
}
static int Holds(const char* name, const char* content) {
  char buffer[64] = {0};
  int fd = open(name, O_RDONLY);
  if (fd < 0) return 0;
  read(fd, buffer, 63);
  close(fd);
  return strcmp(buffer, content) == 0;
}

int main(void) {
  EnterScratchFolder();
  struct stat st, st2;
  Make("a", "A");
  Make("b", "B");
  CHECK_EQ(link("a", "a2"), 0);
  CHECK(stat("a", &st) == 0 && stat("a2", &st2) == 0);
  CHECK(st.st_ino == st2.st_ino && st.st_nlink == 2);
  CHECK_FAILS(link("a", "b"), EEXIST);
  CHECK_FAILS(link("missing", "c"), ENOENT);
  CHECK_EQ(rename("a", "a2"), 0);  // two names of one inode: nothing happens
  CHECK(Holds("a", "A") && Holds("a2", "A"));
  CHECK_EQ(unlink("a2"), 0);
  CHECK_EQ(rename("a", "b"), 0);
  CHECK(Holds("b", "A"));
  CHECK_FAILS(stat("a", &st), ENOENT);
  CHECK_FAILS(rename("a", "c"), ENOENT);
  CHECK(mkdir("d", 0700) == 0 && mkdir("d/e", 0700) == 0 && mkdir("empty", 0700) == 0);
  CHECK_FAILS(rename("d", "d/e/f"), EINVAL);
  CHECK_FAILS(rename("b", "d"), EISDIR);
  CHECK_FAILS(rename("d", "b"), ENOTDIR);
  CHECK_FAILS(rename("empty", "d"), ENOTEMPTY);
  Make("d/e/inner", "I");
  CHECK_EQ(rename("d", "empty"), 0);
  CHECK(Holds("empty/e/inner", "I"));
  CHECK_EQ(chdir("empty/e"), 0);
  CHECK_EQ(rename("inner", "../../out"), 0);
  CHECK_EQ(chdir("../.."), 0);
  CHECK(Holds("out", "I"));
  Make("x", "X");
  CHECK_FAILS(renameat2(AT_FDCWD, "x", AT_FDCWD, "out", RENAME_NOREPLACE), EEXIST);
  CHECK_EQ(renameat2(AT_FDCWD, "x", AT_FDCWD, "out", RENAME_EXCHANGE), 0);
  CHECK(Holds("x", "I") && Holds("out", "X"));
  int fd = open("x", O_RDONLY);
  CHECK_EQ(rename("out", "x"), 0);
  char byte;
  CHECK_EQ(read(fd, &byte, 1), 1);
  CHECK_EQ(byte, 'I');  // the replaced file lives while it is open
  CHECK_EQ(fstat(fd, &st), 0);
  CHECK_EQ(st.st_nlink, 0);
  return Finish();
}
