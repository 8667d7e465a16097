// ".." follows the tree, not the text: through symlinks, at the root, after renames. Linux 6.x answered all of this; of
// 40 symlinks it follows each, of 41 none.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

static ino_t Number(const char* path) {
  struct stat st;
  CHECK_EQ(stat(path, &st), 0);
  return st.st_ino;
}

static void TestDeepPaths(void) {
  char path[8192] = "deep", name[300];
  struct stat st;
  CHECK_EQ(mkdir(path, 0700), 0);
  for (int i = 0; i < 15; ++i) {
    strcat(path, "/d");
    CHECK_EQ(mkdir(path, 0700), 0);
  }
  ino_t number = Number(path);
  for (int i = 0; i < 3; ++i) CHECK_EQ(Number(path), number);
  // Down and up, down and up: back where it began.
  strcat(path, "/../d/./../d//../d/../d/");
  CHECK_EQ(Number(path), number);
  strcpy(path, "deep/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d");
  for (int i = 0; i < 15; ++i) strcat(path, "/..");
  CHECK_EQ(Number(path), Number("deep"));
  // Lengths: 255 bytes for a name, 4095 for a path.
  memset(name, 'n', sizeof name);
  name[255] = 0;
  CHECK_FAILS(stat(name, &st), ENOENT);
  name[255] = 'n', name[256] = 0;
  CHECK_FAILS(stat(name, &st), ENAMETOOLONG);
  memset(path, '/', sizeof path);
  path[4095] = 0;
  CHECK_EQ(Number(path), Number("/"));
  path[4095] = '/', path[4096] = 0;
  CHECK_FAILS(stat(path, &st), ENAMETOOLONG);
}

static void TestChains(void) {
  char from[16], to[16];
  struct stat st;
  close(open("l0", O_CREAT | O_WRONLY, 0600));
  for (int i = 1; i <= 41; ++i) {
    snprintf(from, sizeof from, "l%d", i);
    snprintf(to, sizeof to, "l%d", i - 1);
    CHECK_EQ(symlink(to, from), 0);
  }
  CHECK_EQ(Number("l40"), Number("l0"));
  CHECK_FAILS(stat("l41", &st), ELOOP);
  CHECK_EQ(symlink("loop", "loop"), 0);
  CHECK_FAILS(stat("loop", &st), ELOOP);
  CHECK_FAILS(stat("loop/..", &st), ELOOP);
  CHECK_EQ(lstat("loop", &st), 0);
  CHECK_FAILS(lstat("l1/", &st), ENOTDIR);
  CHECK_FAILS(stat("l1/.", &st), ENOTDIR);
}

int main(void) {
  EnterScratchFolder();
  TestDeepPaths();
  TestChains();
  CHECK(mkdir("a", 0700) == 0 && mkdir("a/b", 0700) == 0 && mkdir("a/b/c", 0700) == 0);
  CHECK_EQ(symlink("a/b/c", "short"), 0);
  CHECK_EQ(Number("short/.."), Number("a/b"));
  CHECK_EQ(Number("short/../../b/./c//"), Number("a/b/c"));
  CHECK_EQ(Number("/.."), Number("/"));
  CHECK_EQ(Number("/../../.."), Number("/"));
  struct stat st;
  CHECK_FAILS(stat("missing/..", &st), ENOENT);
  close(open("file", O_CREAT | O_WRONLY, 0600));
  CHECK_FAILS(stat("file/..", &st), ENOTDIR);
  CHECK_FAILS(stat("file/.", &st), ENOTDIR);
  CHECK_EQ(rename("a/b/c", "moved"), 0);
  CHECK_EQ(Number("moved/.."), Number("."));
  CHECK_FAILS(stat("short", &st), ENOENT);
  CHECK_EQ(symlink("..", "a/parent"), 0);
  CHECK_EQ(Number("a/parent/a/parent/moved"), Number("moved"));
  return Finish();
}
