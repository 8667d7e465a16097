// ".." follows the tree, not the text: through symlinks, at the root, after renames.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

static ino_t Number(const char* path) {
  struct stat st;
  CHECK_EQ(stat(path, &st), 0);
  return st.st_ino;
}

int main(void) {
  EnterScratchFolder();
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
