// select and pselect: sets in and out, time-outs, bad descriptors, high numbers.
#include "check.h"
#include <sys/select.h>
#include <time.h>

int main(void) {
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  fd_set reads, writes;
  FD_ZERO(&reads);
  FD_ZERO(&writes);
  FD_SET(ends[0], &reads);
  FD_SET(ends[1], &writes);
  struct timeval timeout = {5, 0};
  CHECK_EQ(select(ends[1] + 1, &reads, &writes, NULL, &timeout), 1);
  CHECK(!FD_ISSET(ends[0], &reads) && FD_ISSET(ends[1], &writes));
  CHECK_EQ(write(ends[1], "x", 1), 1);
  FD_SET(ends[0], &reads);
  CHECK_EQ(select(ends[1] + 1, &reads, &writes, NULL, NULL), 2);
  char byte;
  CHECK_EQ(read(ends[0], &byte, 1), 1);
  FD_ZERO(&reads);
  FD_SET(ends[0], &reads);
  timeout = (struct timeval){0, 10000};
  CHECK_EQ(select(ends[0] + 1, &reads, NULL, NULL, &timeout), 0);
  CHECK(!FD_ISSET(ends[0], &reads));
  CHECK_EQ(timeout.tv_sec + timeout.tv_usec, 0);
  FD_SET(40, &reads);  // far numbers, behind the table, Linux does not look at
  CHECK_FAILS(select(41, &reads, NULL, NULL, &timeout), EBADF);
  CHECK_FAILS(select(-1, NULL, NULL, NULL, &timeout), EINVAL);
  CHECK_EQ(dup2(ends[1], 700), 700);
  FD_ZERO(&writes);
  FD_SET(700, &writes);
  struct timespec zero = {0, 0};
  CHECK_EQ(pselect(701, NULL, &writes, NULL, &zero, NULL), 1);
  CHECK(FD_ISSET(700, &writes));
  return Finish();
}
