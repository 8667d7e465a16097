// select and pselect: sets in and out, time-outs, bad descriptors, high numbers.
#include "check.h"
#include <sys/select.h>
#include <sys/wait.h>
#include <time.h>

// A hangup that no set asks for ends nothing: neither at once, nor does it hide the file that becomes ready later.
static void HangupWithoutASet(void) {
  int quiet[2], busy[2];
  CHECK_EQ(pipe(quiet), 0);
  CHECK_EQ(pipe(busy), 0);
  CHECK_EQ(close(quiet[1]), 0);
  fd_set reads, excepts;
  FD_ZERO(&excepts);
  FD_SET(quiet[0], &excepts);
  struct timeval timeout = {0, 10000};
  CHECK_EQ(select(quiet[0] + 1, NULL, NULL, &excepts, &timeout), 0);
  const pid_t child = fork();
  if (child == 0) {
    usleep(20000);
    _exit(write(busy[1], "x", 1) != 1);
  }
  FD_ZERO(&reads);
  FD_SET(busy[0], &reads);
  FD_SET(quiet[0], &excepts);
  CHECK_EQ(select(busy[0] + 1, &reads, NULL, &excepts, NULL), 1);
  CHECK(FD_ISSET(busy[0], &reads) && !FD_ISSET(quiet[0], &excepts));
  CHECK_EQ(waitpid(child, NULL, 0), child);
  for (int i = 0; i < 2; ++i) close(busy[i]);
  close(quiet[0]);
}

int main(void) {
  HangupWithoutASet();
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
