// stat, lstat, fstat, fstatat, statx: types, sizes, times that move, the same inode by each way.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void) {
  EnterScratchFolder();
  struct stat a, b;
  struct statx x;
  int fd = open("file", O_RDWR | O_CREAT, 0640);
  CHECK_EQ(write(fd, "12345", 5), 5);
  CHECK_EQ(symlink("file", "link"), 0);
  CHECK_EQ(stat("link", &a), 0);
  CHECK_EQ(fstat(fd, &b), 0);
  CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev && S_ISREG(a.st_mode) && a.st_size == 5 && a.st_nlink == 1);
  CHECK_EQ(lstat("link", &a), 0);
  CHECK(S_ISLNK(a.st_mode) && a.st_size == 4 && a.st_ino != b.st_ino);
  CHECK_EQ(fstatat(fd, "", &a, AT_EMPTY_PATH), 0);
  CHECK_EQ(a.st_ino, b.st_ino);
  CHECK_EQ(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &x), 0);
  CHECK(x.stx_ino == b.st_ino && x.stx_size == 5 && x.stx_mode == b.st_mode);
  CHECK_EQ(x.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
  CHECK_EQ(stat(".", &a), 0);
  CHECK(S_ISDIR(a.st_mode));
  struct timespec before = b.st_mtim;
  usleep(20000);
  CHECK_EQ(write(fd, "6", 1), 1);
  CHECK_EQ(fstat(fd, &b), 0);
  CHECK(b.st_mtim.tv_sec > before.tv_sec || (b.st_mtim.tv_sec == before.tv_sec && b.st_mtim.tv_nsec > before.tv_nsec));
  CHECK_FAILS(stat("", &a), ENOENT);
  CHECK_FAILS(stat((char*)8, &a), EFAULT);
  CHECK_FAILS(stat("file", (struct stat*)8), EFAULT);
  CHECK_FAILS(fstatat(AT_FDCWD, "file", &a, 0x10000000), EINVAL);
  return Finish();
}
