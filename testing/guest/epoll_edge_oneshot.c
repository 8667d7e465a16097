// Edge-triggered and one-shot registrations, over eventfds, pipes and unix sockets: which changes are edges.
#include "check.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static struct epoll_event events[8];

static int Control(int epoll, int op, int fd, uint32_t wanted, uint64_t data) {
  struct epoll_event event = {.events = wanted, .data.u64 = data};
  return epoll_ctl(epoll, op, fd, &event);
}
// The events of the one descriptor that is watched; 0 if there are none.
static uint32_t Take(int epoll) {
  int n = epoll_wait(epoll, events, 8, 0);
  CHECK(n == 0 || n == 1);
  return n == 0 ? 0 : events[0].events;
}
static void Fill(int fd) {
  static char buffer[4096];
  while (write(fd, buffer, sizeof buffer) > 0) {
  }
  CHECK_EQ(errno, EAGAIN);
}

static void Eventfds(void) {
  int epoll = epoll_create1(0), fd = eventfd(1, EFD_NONBLOCK);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 1), 0);
  CHECK_EQ(Take(epoll), EPOLLIN);
  CHECK_EQ(Take(epoll), 0);
  // Each write is an edge, though it was readable before.
  eventfd_write(fd, 1);
  CHECK_EQ(Take(epoll), EPOLLIN);
  eventfd_write(fd, 1), eventfd_write(fd, 1);
  CHECK_EQ(Take(epoll), EPOLLIN);
  CHECK_EQ(Take(epoll), 0);
  // Gone again before anybody looked.
  eventfd_t value;
  eventfd_write(fd, 1), eventfd_read(fd, &value);
  CHECK_EQ(Take(epoll), 0);
  eventfd_write(fd, 1);
  CHECK_EQ(Control(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLET, 1), 0);
  CHECK_EQ(Take(epoll), EPOLLIN | EPOLLOUT);
  CHECK_EQ(Take(epoll), 0);
  // Each read frees room.
  eventfd_read(fd, &value);
  CHECK_EQ(Take(epoll), EPOLLOUT);
  CHECK_EQ(Take(epoll), 0);
  // MOD re-arms.
  CHECK_EQ(Control(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT | EPOLLET, 1), 0);
  CHECK_EQ(Take(epoll), EPOLLOUT);
  close(fd), close(epoll);
}

static void OneShots(void) {
  int epoll = epoll_create1(0), fd = eventfd(1, EFD_NONBLOCK);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 5), 0);
  CHECK_EQ(Take(epoll), EPOLLIN);
  eventfd_write(fd, 1);
  CHECK_EQ(Take(epoll), 0);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 5), EEXIST);
  CHECK_EQ(Control(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT | EPOLLET, 6), 0);
  CHECK_EQ(Take(epoll), EPOLLIN);
  CHECK_EQ(events[0].data.u64, 6);
  CHECK_EQ(Take(epoll), 0);
  close(fd);
  // A shot that is gone hears of no hangup either.
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLONESHOT, 7), 0);
  CHECK_EQ(write(ends[1], "x", 1), 1);
  CHECK_EQ(Take(epoll), EPOLLIN);
  close(ends[1]);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_MOD, ends[0], EPOLLONESHOT, 7), 0);
  CHECK_EQ(Take(epoll), EPOLLHUP);
  CHECK_EQ(Take(epoll), 0);
  close(ends[0]), close(epoll);
}

static void Pipes(void) {
  int epoll = epoll_create1(0), ends[2];
  char buffer[8192];
  CHECK_EQ(pipe2(ends, O_NONBLOCK), 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET, 1), 0);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(write(ends[1], "abc", 3), 3);
  CHECK_EQ(Take(epoll), EPOLLIN);
  CHECK_EQ(Take(epoll), 0);
  // More bytes are an edge, whether or not the first were read.
  CHECK_EQ(write(ends[1], "def", 3), 3);
  CHECK_EQ(Take(epoll), EPOLLIN);
  CHECK_EQ(read(ends[0], buffer, 2), 2);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(write(ends[1], "ghi", 3), 3);
  CHECK_EQ(Take(epoll), EPOLLIN);
  CHECK_EQ(read(ends[0], buffer, sizeof buffer), 7);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_DEL, ends[0], 0, 0), 0);
  // The writer's end: room is an edge only where there was none.
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, ends[1], EPOLLOUT | EPOLLET, 1), 0);
  CHECK_EQ(Take(epoll), EPOLLOUT);
  CHECK_EQ(write(ends[1], buffer, 8192), 8192);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(read(ends[0], buffer, 8192), 8192);
  CHECK_EQ(Take(epoll), 0);
  Fill(ends[1]);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(read(ends[0], buffer, 100), 100);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(read(ends[0], buffer, 4096), 4096);
  CHECK_EQ(Take(epoll), EPOLLOUT);
  CHECK_EQ(read(ends[0], buffer, 4096), 4096);
  CHECK_EQ(Take(epoll), 0);
  close(ends[0]);
  CHECK_EQ(Take(epoll), EPOLLOUT | EPOLLERR);
  CHECK_EQ(Take(epoll), 0);
  close(ends[1]);
  // The reader's end: the writer goes.
  CHECK_EQ(pipe2(ends, O_NONBLOCK), 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET, 1), 0);
  int second = dup(ends[1]);
  close(second);
  CHECK_EQ(Take(epoll), 0);
  close(ends[1]);
  CHECK_EQ(Take(epoll), EPOLLHUP);
  CHECK_EQ(Take(epoll), 0);
  close(ends[0]), close(epoll);
}

static void Sockets(int type) {
  int epoll = epoll_create1(0), ends[2];
  char buffer[8192];
  CHECK_EQ(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, ends), 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 1), 0);
  CHECK_EQ(Take(epoll), EPOLLOUT);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(write(ends[1], "abc", 3), 3);
  CHECK_EQ(Take(epoll), EPOLLIN | EPOLLOUT);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(write(ends[1], "def", 3), 3);
  CHECK_EQ(Take(epoll), EPOLLIN | EPOLLOUT);
  CHECK_EQ(read(ends[0], buffer, 3), 3);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(read(ends[0], buffer, 3), 3);
  CHECK_EQ(read(ends[0], buffer, 3), -1);
  CHECK_EQ(Take(epoll), 0);
  // Whatever the peer takes off its queue is an edge while there is room.
  CHECK_EQ(write(ends[0], "abc", 3), 3);
  CHECK_EQ(Take(epoll), 0);
  CHECK_EQ(read(ends[1], buffer, 3), 3);
  CHECK_EQ(Take(epoll), EPOLLOUT);
  CHECK_EQ(Take(epoll), 0);
  Fill(ends[0]);
  CHECK_EQ(Take(epoll), 0);
  while (read(ends[1], buffer, sizeof buffer) > 0) {
  }
  CHECK_EQ(Take(epoll), EPOLLOUT);
  CHECK_EQ(Take(epoll), 0);
  if (type != SOCK_DGRAM) {
    CHECK_EQ(shutdown(ends[1], SHUT_WR), 0);
    CHECK_EQ(Take(epoll), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    CHECK_EQ(Take(epoll), 0);
    close(ends[1]);
    CHECK_EQ(Take(epoll), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
    CHECK_EQ(Take(epoll), 0);
  } else {
    close(ends[1]);
  }
  close(ends[0]), close(epoll);
}

int main(void) {
  Eventfds();
  OneShots();
  Pipes();
  Sockets(SOCK_STREAM);
  Sockets(SOCK_SEQPACKET);
  Sockets(SOCK_DGRAM);
  return Finish();
}
