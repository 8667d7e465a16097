// O_NOFOLLOW, O_PATH, O_CLOEXEC, openat with directory descriptors, /dev nodes.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void) {
  EnterScratchFolder();
  char buffer[16];
  close(open("file", O_CREAT | O_WRONLY, 0600));
  CHECK_EQ(symlink("file", "link"), 0);
  CHECK_FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
  CHECK(open("link", O_RDONLY) >= 0);
  int path = open("link", O_PATH | O_NOFOLLOW);
  struct stat st;
  CHECK_EQ(fstat(path, &st), 0);
  CHECK(S_ISLNK(st.st_mode));
  CHECK_FAILS(read(path, buffer, 1), EBADF);
  CHECK_EQ(fcntl(open("file", O_RDONLY | O_CLOEXEC), F_GETFD), FD_CLOEXEC);
  CHECK_EQ(mkdir("folder", 0700), 0);
  int folder = open("folder", O_RDONLY | O_DIRECTORY);
  int inside = openat(folder, "inside", O_CREAT | O_RDWR, 0600);
  CHECK(inside >= 0);
  CHECK_EQ(stat("folder/inside", &st), 0);
  CHECK_FAILS(openat(99, "x", O_RDONLY), EBADF);
  CHECK_FAILS(openat(inside, "x", O_RDONLY), ENOTDIR);
  CHECK(openat(99, "/dev/null", O_RDONLY) >= 0);
  CHECK_FAILS(open("dangling/", O_CREAT | O_WRONLY, 0600), EISDIR);
  CHECK_EQ(symlink("made", "dangling"), 0);
  CHECK(open("dangling", O_CREAT | O_WRONLY, 0600) >= 0);
  CHECK_EQ(stat("made", &st), 0);
  CHECK_FAILS(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST);
  int zero = open("/dev/zero", O_RDWR), full = open("/dev/full", O_RDWR), null = open("/dev/null", O_RDWR);
  CHECK_EQ(read(zero, buffer, 16), 16);
  CHECK_EQ(buffer[15], 0);
  CHECK_EQ(read(null, buffer, 16), 0);
  CHECK_EQ(write(null, buffer, 16), 16);
  CHECK_FAILS(write(full, buffer, 1), ENOSPC);
  CHECK_EQ(fstat(null, &st), 0);
  CHECK(S_ISCHR(st.st_mode) && st.st_rdev == 0x103);
  return Finish();
}
