// A bad descriptor makes poll return at once with POLLNVAL; negative ones are skipped.
#include "check.h"
#include <poll.h>

int main(void) {
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  struct pollfd fds[3] = {{ends[0], POLLIN, 99}, {777, POLLIN, 99}, {-5, POLLIN, 99}};
  CHECK_EQ(poll(fds, 3, -1), 1);
  CHECK_EQ(fds[0].revents, 0);
  CHECK_EQ(fds[1].revents, POLLNVAL);
  CHECK_EQ(fds[2].revents, 0);
  return Finish();
}
