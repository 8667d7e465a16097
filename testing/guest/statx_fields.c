// statx: masks, a descriptor alone, flags, and the same answers as stat.
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

int main(void) {
  EnterScratchFolder();
  const int fd = open("file", O_CREAT | O_RDWR, 0640);
  CHECK_EQ(write(fd, "12345", 5), 5);
  CHECK_EQ(symlink("file", "link"), 0);
  struct stat st;
  struct statx x;
  CHECK_EQ(fstat(fd, &st), 0);
  memset(&x, 0xff, sizeof(x));
  CHECK_EQ(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &x), 0);
  CHECK_EQ(x.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
  CHECK(x.stx_size == 5 && x.stx_mode == st.st_mode && x.stx_nlink == 1 && x.stx_ino == st.st_ino);
  CHECK(x.stx_uid == st.st_uid && x.stx_gid == st.st_gid && x.stx_blksize == (uint32_t)st.st_blksize);
  CHECK(x.stx_dev_major == major(st.st_dev) && x.stx_dev_minor == minor(st.st_dev));
  CHECK(x.stx_mtime.tv_sec == st.st_mtim.tv_sec && x.stx_mtime.tv_nsec == (uint32_t)st.st_mtim.tv_nsec);
  CHECK_EQ(statx(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &x), 0);
  CHECK(S_ISLNK(x.stx_mode));
  CHECK_EQ(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x), 0);
  CHECK_EQ(x.stx_size, 5);
  CHECK_EQ(statx(AT_FDCWD, "file", AT_STATX_DONT_SYNC, STATX_SIZE, &x), 0);
  CHECK_FAILS(statx(AT_FDCWD, "file", AT_STATX_DONT_SYNC | AT_STATX_FORCE_SYNC, STATX_SIZE, &x), EINVAL);
  CHECK_FAILS(statx(AT_FDCWD, "file", 0x80000, STATX_SIZE, &x), EINVAL);
  CHECK_FAILS(statx(AT_FDCWD, "file", 0, 0x80000000u, &x), EINVAL);
  CHECK_FAILS(statx(AT_FDCWD, "", 0, STATX_SIZE, &x), ENOENT);
  CHECK_FAILS(statx(fd, "below", 0, STATX_SIZE, &x), ENOTDIR);
  CHECK_FAILS(statx(99, "file", 0, STATX_SIZE, &x), EBADF);
  CHECK_FAILS(syscall(SYS_statx, AT_FDCWD, "file", 0, STATX_SIZE, 8), EFAULT);
  CHECK_EQ(statx(AT_FDCWD, "/dev/null", 0, STATX_BASIC_STATS, &x), 0);
  CHECK(S_ISCHR(x.stx_mode) && x.stx_rdev_major == 1 && x.stx_rdev_minor == 3);
  return Finish();
}
