// Every call that makes a descriptor takes the lowest free number, also far up and after random closes.
#include "check.h"
#include <fcntl.h>
#include <sys/resource.h>

enum { kFds = 900 };

int main(void) {
  for (int fd = 3; fd < 1000; ++fd) close(fd);
  for (int i = 3; i < kFds; ++i) CHECK_EQ(dup(0), i);
  unsigned seed = 12345;
  char open_now[kFds];
  memset(open_now, 1, sizeof open_now);
  for (int round = 0; round < 5000; ++round) {
    seed = seed * 1103515245 + 12345;
    int fd = 3 + (seed >> 8) % (kFds - 3);
    if (open_now[fd]) {
      CHECK_EQ(close(fd), 0);
      open_now[fd] = 0;
    } else {
      int lowest = 3;
      while (open_now[lowest]) ++lowest;
      CHECK_EQ(dup(0), lowest);
      open_now[lowest] = 1;
    }
  }
  struct rlimit limit = {20, 20};
  for (int fd = 3; fd < 1000; ++fd) close(fd);
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  for (int i = 3; i < 20; ++i) CHECK_EQ(dup(0), i);
  CHECK_FAILS(dup(0), EMFILE);
  CHECK_FAILS(dup2(0, 20), EBADF);
  CHECK_FAILS(open("/dev/null", O_RDONLY), EMFILE);
  return Finish();
}
