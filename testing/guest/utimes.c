// utimensat: given times, UTIME_NOW, UTIME_OMIT, symlinks, descriptors.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <utime.h>

int main(void) {
  EnterScratchFolder();
  struct stat st;
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  struct timespec times[2] = {{1000, 123456789}, {2000, 987654321}};
  CHECK_EQ(utimensat(AT_FDCWD, "file", times, 0), 0);
  CHECK_EQ(stat("file", &st), 0);
  CHECK(st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 123456789);
  CHECK(st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 987654321);
  times[0].tv_nsec = UTIME_OMIT, times[1].tv_nsec = UTIME_NOW;
  CHECK_EQ(futimens(fd, times), 0);
  CHECK_EQ(stat("file", &st), 0);
  CHECK_EQ(st.st_atim.tv_sec, 1000);
  CHECK(st.st_mtim.tv_sec >= time(NULL) - 5);
  struct timeval micros[2] = {{5, 6}, {7, 8}};
  CHECK_EQ(utimes("file", micros), 0);
  CHECK_EQ(stat("file", &st), 0);
  CHECK(st.st_mtim.tv_sec == 7 && st.st_mtim.tv_nsec == 8000);
  struct utimbuf old = {11, 12};
  CHECK_EQ(utime("file", &old), 0);
  CHECK_EQ(stat("file", &st), 0);
  CHECK(st.st_atim.tv_sec == 11 && st.st_mtim.tv_sec == 12);
  CHECK_EQ(symlink("file", "link"), 0);
  times[0] = times[1] = (struct timespec){77, 0};
  CHECK_EQ(utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW), 0);
  CHECK_EQ(stat("file", &st), 0);
  CHECK_EQ(st.st_mtim.tv_sec, 12);
  CHECK_EQ(lstat("link", &st), 0);
  CHECK_EQ(st.st_mtim.tv_sec, 77);
  times[0].tv_nsec = 1000000000;
  CHECK_FAILS(utimensat(AT_FDCWD, "file", times, 0), EINVAL);
  CHECK_FAILS(utimensat(AT_FDCWD, "missing", NULL, 0), ENOENT);
  return Finish();
}
