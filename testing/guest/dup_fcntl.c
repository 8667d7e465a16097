// dup, dup2, dup3, F_DUPFD, close-on-exec, status flags, close_range.
#include "check.h"
#include <fcntl.h>
#include <sys/syscall.h>

int main(void) {
  int fd = open("/dev/null", O_RDWR);
  int copy = dup(fd);
  CHECK(copy > fd);
  CHECK_EQ(dup2(fd, 50), 50);
  CHECK_EQ(dup2(50, 50), 50);
  CHECK_FAILS(dup2(99, 50), EBADF);
  CHECK_FAILS(dup2(fd, -1), EBADF);
  CHECK_FAILS(dup3(fd, fd, 0), EINVAL);
  CHECK_EQ(dup3(fd, 51, O_CLOEXEC), 51);
  CHECK_EQ(fcntl(51, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(fcntl(50, F_GETFD), 0);
  CHECK_EQ(fcntl(50, F_SETFD, FD_CLOEXEC), 0);
  CHECK_EQ(fcntl(50, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(dup2(50, 52), 52);
  CHECK_EQ(fcntl(52, F_GETFD), 0);  // the copy does not inherit it
  CHECK_EQ(fcntl(fd, F_DUPFD, 60), 60);
  CHECK_EQ(fcntl(fd, F_DUPFD, 60), 61);
  CHECK_EQ(fcntl(fd, F_DUPFD_CLOEXEC, 60), 62);
  CHECK_EQ(fcntl(62, F_GETFD), FD_CLOEXEC);
  CHECK_FAILS(fcntl(fd, F_DUPFD, -1), EINVAL);
  CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
  CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK | O_APPEND), 0);
  CHECK_EQ(fcntl(copy, F_GETFL) & (O_NONBLOCK | O_APPEND), O_NONBLOCK | O_APPEND);  // flags belong to the description
  CHECK_FAILS(fcntl(fd, 9999), EINVAL);
  CHECK_FAILS(fcntl(999, F_GETFD), EBADF);
  CHECK_EQ(syscall(SYS_close_range, 50, 61, 0), 0);
  CHECK_FAILS(fcntl(55, F_GETFD), EBADF);
  CHECK_FAILS(fcntl(60, F_GETFD), EBADF);
  CHECK_EQ(fcntl(62, F_GETFD), FD_CLOEXEC);
  return Finish();
}
