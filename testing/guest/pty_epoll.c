// epoll on both ends of a pty: level-triggered as poll; edge-triggered each arrival is an event, though the one before
// was not read; room that comes back; a hangup.
#include "check.h"
#include <fcntl.h>
#include <pty.h>
#include <sys/epoll.h>
#include <termios.h>

static int master, slave, set;

static void Watch(int op, int fd, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  CHECK_EQ(epoll_ctl(set, op, fd, &event), 0);
}
// The events of the one file that has some; 0 if none has.
static unsigned Wait(int fd, int timeout) {
  struct epoll_event events[4];
  int n = epoll_wait(set, events, 4, timeout);
  if (n == 0) return 0;
  CHECK_EQ(n, 1);
  CHECK_EQ(events[0].data.fd, fd);
  return events[0].events;
}

int main(void) {
  char text[20000];
  struct termios settings;
  CHECK_EQ(openpty(&master, &slave, NULL, NULL, NULL), 0);
  CHECK_EQ(tcgetattr(slave, &settings), 0);
  cfmakeraw(&settings);
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  set = epoll_create1(0);
  CHECK(set >= 0);

  // Level: as long as there is something.
  Watch(EPOLL_CTL_ADD, slave, EPOLLIN);
  CHECK_EQ(Wait(slave, 0), 0);
  CHECK_EQ(write(master, "a", 1), 1);
  CHECK_EQ(Wait(slave, 5000), EPOLLIN);
  CHECK_EQ(Wait(slave, 0), EPOLLIN);
  CHECK_EQ(read(slave, text, sizeof text), 1);
  CHECK_EQ(Wait(slave, 0), 0);

  // Edge: once for each arrival.
  Watch(EPOLL_CTL_MOD, slave, EPOLLIN | EPOLLET);
  CHECK_EQ(write(master, "b", 1), 1);
  CHECK_EQ(Wait(slave, 5000), EPOLLIN);
  CHECK_EQ(Wait(slave, 20), 0);
  CHECK_EQ(write(master, "c", 1), 1);
  CHECK_EQ(Wait(slave, 5000), EPOLLIN);
  CHECK_EQ(read(slave, text, sizeof text), 2);
  Watch(EPOLL_CTL_DEL, slave, 0);

  Watch(EPOLL_CTL_ADD, master, EPOLLIN | EPOLLET);
  CHECK_EQ(Wait(master, 0), 0);
  CHECK_EQ(write(slave, "d", 1), 1);
  CHECK_EQ(Wait(master, 5000), EPOLLIN);
  CHECK_EQ(Wait(master, 20), 0);
  CHECK_EQ(write(slave, "e", 1), 1);
  CHECK_EQ(Wait(master, 5000), EPOLLIN);
  CHECK_EQ(read(master, text, sizeof text), 2);
  Watch(EPOLL_CTL_DEL, master, 0);

  // A full line has room again when the other end reads.
  CHECK_EQ(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK), 0);
  CHECK_EQ(fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK), 0);
  for (int i = 0; i < 100 && write(slave, text, sizeof text) > 0; ++i) usleep(1000);
  while (write(slave, "x", 1) == 1) {  // the host has some room for a byte where it has none for many
  }
  CHECK_EQ(errno, EAGAIN);
  Watch(EPOLL_CTL_ADD, slave, EPOLLOUT);
  CHECK_EQ(Wait(slave, 20), 0);
  while (read(master, text, sizeof text) > 0) {
  }
  CHECK_EQ(Wait(slave, 5000), EPOLLOUT);
  Watch(EPOLL_CTL_DEL, slave, 0);

  // A line of text is one event, and the line's end is the edge.
  settings.c_lflag |= ICANON;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  Watch(EPOLL_CTL_ADD, slave, EPOLLIN | EPOLLET);
  CHECK_EQ(write(master, "half", 4), 4);
  CHECK_EQ(Wait(slave, 20), 0);
  CHECK_EQ(write(master, " a line\n", 8), 8);
  CHECK_EQ(Wait(slave, 5000), EPOLLIN);
  CHECK_EQ(read(slave, text, sizeof text), 12);
  Watch(EPOLL_CTL_DEL, slave, 0);

  Watch(EPOLL_CTL_ADD, master, EPOLLIN | EPOLLET);
  CHECK_EQ(Wait(master, 0), 0);
  close(slave);
  CHECK(Wait(master, 5000) & EPOLLHUP);
  return Finish();
}
