// poll: readiness of pipes and files, time-outs, hang-ups, waiting for another process, no descriptors at all.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <time.h>

int main(void) {
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  struct pollfd fds[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}};
  CHECK_EQ(poll(fds, 2, 0), 1);
  CHECK(fds[0].revents == 0 && fds[1].revents == POLLOUT);
  CHECK_EQ(write(ends[1], "x", 1), 1);
  CHECK_EQ(poll(fds, 2, -1), 2);
  CHECK_EQ(fds[0].revents, POLLIN);
  char byte;
  CHECK_EQ(read(ends[0], &byte, 1), 1);
  struct timespec before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  CHECK_EQ(poll(fds, 1, 20), 0);
  clock_gettime(CLOCK_MONOTONIC, &after);
  CHECK((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 19);
  pid_t child = fork();
  if (child == 0) {
    usleep(10000);
    write(ends[1], "y", 1);
    _exit(0);
  }
  close(ends[1]);
  CHECK_EQ(poll(fds, 1, -1), 1);
  CHECK(fds[0].revents & POLLIN);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  CHECK_EQ(read(ends[0], &byte, 1), 1);
  CHECK_EQ(poll(fds, 1, -1), 1);
  CHECK_EQ(fds[0].revents, POLLHUP);
  int file = open("/dev/null", O_RDWR);
  struct pollfd always = {file, POLLIN | POLLOUT, 0};
  CHECK_EQ(poll(&always, 1, 0), 1);
  CHECK_EQ(always.revents, POLLIN | POLLOUT);
  CHECK_EQ(poll(NULL, 0, 5), 0);
  struct timespec zero = {0, 0};
  CHECK_EQ(ppoll(&always, 1, &zero, NULL), 1);
  CHECK_FAILS(poll((struct pollfd*)8, 1, 0), EFAULT);
  return Finish();
}
