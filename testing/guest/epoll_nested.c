// epoll descriptors in epoll, poll and select; how deep they may stand in one another.
#include "check.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

static struct epoll_event events[8];

static int Add(int epoll, int fd, uint32_t wanted) {
  struct epoll_event event = {.events = wanted, .data.fd = fd};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}
static short Poll(int fd) {
  struct pollfd row = {fd, POLLIN | POLLOUT, 0};
  CHECK(poll(&row, 1, 0) >= 0);
  return row.revents;
}

static void Readiness(void) {
  int inner = epoll_create1(0), middle = epoll_create1(0), outer = epoll_create1(0), fd = eventfd(0, 0);
  CHECK_EQ(Add(inner, fd, EPOLLIN), 0);
  CHECK_EQ(Add(middle, inner, EPOLLIN), 0);
  CHECK_EQ(Add(outer, middle, EPOLLIN | EPOLLET), 0);
  CHECK_EQ(Poll(outer), 0);
  eventfd_write(fd, 1);
  CHECK_EQ(Poll(inner), POLLIN);
  CHECK_EQ(Poll(outer), POLLIN);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(outer, &set);
  CHECK_EQ(select(outer + 1, &set, NULL, NULL, NULL), 1);
  CHECK_EQ(epoll_wait(outer, events, 8, -1), 1);
  CHECK(events[0].data.fd == middle && events[0].events == EPOLLIN);
  CHECK_EQ(epoll_wait(outer, events, 8, 0), 0);
  CHECK_EQ(epoll_wait(middle, events, 8, 0), 1);
  CHECK_EQ(epoll_wait(middle, events, 8, 0), 1);
  eventfd_write(fd, 1);
  CHECK_EQ(epoll_wait(outer, events, 8, 0), 1);
  CHECK_EQ(epoll_wait(inner, events, 8, 0), 1);
  CHECK_EQ(events[0].data.fd, fd);
  eventfd_t value;
  eventfd_read(fd, &value);
  CHECK_EQ(Poll(outer), 0);
  CHECK_EQ(Poll(middle), 0);
  CHECK_EQ(Poll(inner), 0);
  CHECK_EQ(epoll_wait(middle, events, 8, 0), 0);
  eventfd_write(fd, 1);
  CHECK_EQ(Poll(outer), POLLIN);
  close(fd);
  CHECK_EQ(Poll(outer), 0);
  close(inner), close(middle), close(outer);
}

static void Limits(void) {
  int chain[8], fd = eventfd(0, 0);
  for (int i = 0; i < 8; ++i) chain[i] = epoll_create1(0);
  // From the top down: chain[i] watches chain[i + 1].
  CHECK_EQ(Add(chain[0], chain[1], EPOLLIN), 0);
  CHECK_FAILS(Add(chain[1], chain[0], EPOLLIN), ELOOP);
  CHECK_EQ(Add(chain[1], chain[2], EPOLLIN), 0);
  CHECK_FAILS(Add(chain[2], chain[0], EPOLLIN), ELOOP);
  CHECK_EQ(Add(chain[2], chain[3], EPOLLIN), 0);
  CHECK_EQ(Add(chain[3], chain[4], EPOLLIN), 0);
  CHECK_EQ(Add(chain[4], fd, EPOLLIN), 0);
  CHECK_FAILS(Add(chain[4], chain[5], EPOLLIN), ELOOP);
  CHECK_FAILS(Add(chain[5], chain[0], EPOLLIN), ELOOP);
  CHECK_EQ(epoll_ctl(chain[2], EPOLL_CTL_DEL, chain[3], NULL), 0);
  CHECK_EQ(Add(chain[4], chain[5], EPOLLIN), 0);
  for (int i = 0; i < 8; ++i) close(chain[i]);
  close(fd);
}

int main(void) {
  Readiness();
  Limits();
  return Finish();
}
