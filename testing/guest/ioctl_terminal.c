// Terminal calls on what is no terminal: ENOTTY; FIONREAD on a pipe; FIONBIO.
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

int main(void) {
  int ends[2], count = -1, on = 1;
  struct winsize size;
  struct termios settings;
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(isatty(ends[0]), 0);
  CHECK_FAILS(tcgetattr(ends[0], &settings), ENOTTY);
  CHECK_FAILS(ioctl(ends[0], TIOCGWINSZ, &size), ENOTTY);
  int null = open("/dev/null", O_RDWR);
  CHECK_FAILS(tcgetattr(null, &settings), ENOTTY);
  CHECK_EQ(write(ends[1], "12345", 5), 5);
  CHECK_EQ(ioctl(ends[0], FIONREAD, &count), 0);
  CHECK_EQ(count, 5);
  CHECK_EQ(ioctl(ends[0], FIONBIO, &on), 0);
  CHECK(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
  CHECK_EQ(ioctl(ends[0], FIOCLEX), 0);
  CHECK_EQ(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
  CHECK_FAILS(ioctl(ends[0], 0xdeadbeef, 0), ENOTTY);
  CHECK_FAILS(ioctl(99, FIONREAD, &count), EBADF);
  return Finish();
}
