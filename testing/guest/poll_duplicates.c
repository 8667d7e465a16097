// The same descriptor several times with different wishes: each row gets its own answer, all of them count.
#include "check.h"
#include <poll.h>
#include <sys/eventfd.h>

int main(void) {
  int fd = eventfd(1, 0);
  struct pollfd fds[4] = {{fd, POLLIN, 0}, {fd, POLLOUT, 0}, {fd, POLLIN | POLLOUT, 0}, {fd, 0, 0}};
  CHECK_EQ(poll(fds, 4, -1), 3);
  CHECK(fds[0].revents == POLLIN && fds[1].revents == POLLOUT && fds[2].revents == (POLLIN | POLLOUT) && fds[3].revents == 0);
  return Finish();
}
