// A registration belongs to the open file and the number under which it was added: it goes with the last reference to
// the file, not with the descriptor.
#include "check.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

static struct epoll_event events[8];

static int Control(int epoll, int op, int fd, uint32_t wanted, uint64_t data) {
  struct epoll_event event = {.events = wanted, .data.u64 = data};
  return epoll_ctl(epoll, op, fd, &event);
}

int main(void) {
  int epoll = epoll_create1(0), fd = eventfd(1, 0), twin = dup(fd);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 1), 0);
  // The same file under another number is another registration.
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, twin, EPOLLIN, 2), 0);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 2);
  CHECK_EQ(Control(epoll, EPOLL_CTL_DEL, twin, 0, 0), 0);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 1);
  // Closed, but the twin keeps the file: still reported, and nobody can reach it.
  close(fd);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 1);
  CHECK_EQ(events[0].data.u64, 1);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_DEL, fd, 0, 0), EBADF);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_MOD, twin, EPOLLIN, 0), ENOENT);
  // Another file under that number is another registration too.
  int other = eventfd(1, 0);
  CHECK_EQ(other, fd);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, other, EPOLLIN, 3), 0);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 2);
  close(twin);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 1);
  CHECK_EQ(events[0].data.u64, 3);
  close(other);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 0);

  // fork shares the instance, both ways, and a child's copy keeps a file.
  int added[2], closed[2];
  CHECK_EQ(pipe(added), 0);
  CHECK_EQ(pipe(closed), 0);
  fd = eventfd(1, 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 4), 0);
  pid_t child = fork();
  if (child == 0) {
    int own = eventfd(1, 0);
    CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, own, EPOLLIN, 5), 0);
    CHECK_EQ(epoll_wait(epoll, events, 8, 0), 2);
    CHECK_EQ(write(added[1], "x", 1), 1);
    char byte;
    CHECK_EQ(read(closed[0], &byte, 1), 1);
    _exit(0);
  }
  char byte;
  CHECK_EQ(read(added[0], &byte, 1), 1);
  close(fd);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 2);
  CHECK_EQ(write(closed[1], "x", 1), 1);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 0);

  // The instance goes before what it watches, and the other way round.
  fd = eventfd(0, 0);
  for (int i = 0; i < 1000; ++i) {
    int many = epoll_create1(0);
    CHECK_EQ(Control(many, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT, 6), 0);
    if (i % 2 == 0) CHECK_EQ(epoll_wait(many, events, 8, 0), 1);
    close(many);
  }
  int watchers[10];
  for (int i = 0; i < 10; ++i) {
    watchers[i] = epoll_create1(0);
    CHECK_EQ(Control(watchers[i], EPOLL_CTL_ADD, fd, EPOLLOUT, 6), 0);
  }
  close(fd);
  for (int i = 0; i < 10; ++i) CHECK_EQ(epoll_wait(watchers[i], events, 8, 0), 0);
  return Finish();
}
