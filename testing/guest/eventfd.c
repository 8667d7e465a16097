// eventfd: counting, semaphore mode, blocking, poll, overflow.
#include "check.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

int main(void) {
  uint64_t value = 0;
  int fd = eventfd(3, EFD_NONBLOCK);
  CHECK(fd >= 0);
  CHECK_EQ(read(fd, &value, 8), 8);
  CHECK_EQ(value, 3);
  CHECK_FAILS(read(fd, &value, 8), EAGAIN);
  CHECK_FAILS(read(fd, &value, 4), EINVAL);
  struct pollfd poll_fd = {fd, POLLIN | POLLOUT, 0};
  CHECK_EQ(poll(&poll_fd, 1, 0), 1);
  CHECK_EQ(poll_fd.revents, POLLOUT);
  value = 0xfffffffffffffffe;
  CHECK_EQ(write(fd, &value, 8), 8);
  value = 1;
  CHECK_FAILS(write(fd, &value, 8), EAGAIN);
  value = ~0ULL;
  CHECK_FAILS(write(fd, &value, 8), EINVAL);
  CHECK_EQ(poll(&poll_fd, 1, 0), 1);
  CHECK_EQ(poll_fd.revents, POLLIN);
  int semaphore = eventfd(2, EFD_SEMAPHORE);
  CHECK_EQ(read(semaphore, &value, 8), 8);
  CHECK_EQ(value, 1);
  CHECK_EQ(read(semaphore, &value, 8), 8);
  pid_t child = fork();
  if (child == 0) {
    usleep(10000);
    value = 1;
    _exit(write(semaphore, &value, 8) != 8);
  }
  CHECK_EQ(read(semaphore, &value, 8), 8);
  CHECK_EQ(value, 1);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  return Finish();
}
