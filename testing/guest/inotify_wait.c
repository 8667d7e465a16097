// Waiting for inotify events: a blocking read, poll and epoll; the queue's end; a child that changes files.
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void MakeLater(const char* name) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child != 0) return;
  usleep(20000);
  _exit(close(open(name, O_CREAT | O_WRONLY, 0600)) == 0 ? 0 : 1);
}

static void ReadOne(int queue, int watch, uint32_t mask, const char* name) {
  char bytes[300] __attribute__((aligned(8)));
  const ssize_t n = read(queue, bytes, sizeof(bytes));
  const struct inotify_event* e = (const struct inotify_event*)bytes;
  CHECK(n == (ssize_t)(sizeof(*e) + e->len));
  CHECK(e->wd == watch && e->mask == mask);
  CHECK(name == NULL ? e->len == 0 : strcmp(e->name, name) == 0);
}

int main(void) {
  EnterScratchFolder();
  const int queue = inotify_init();
  CHECK(queue >= 0);
  CHECK(inotify_add_watch(queue, ".", IN_CREATE) == 1);

  MakeLater("a");
  ReadOne(queue, 1, IN_CREATE, "a");

  struct pollfd polled = {queue, POLLIN | POLLOUT, 0};
  CHECK(poll(&polled, 1, 0) == 0);
  MakeLater("b");
  CHECK(poll(&polled, 1, 10000) == 1);
  CHECK(polled.revents == POLLIN);
  ReadOne(queue, 1, IN_CREATE, "b");

  const int set = epoll_create1(0);
  struct epoll_event event = {EPOLLIN | EPOLLET, {.u32 = 5}};
  CHECK(epoll_ctl(set, EPOLL_CTL_ADD, queue, &event) == 0);
  MakeLater("c");
  CHECK(epoll_wait(set, &event, 1, 10000) == 1);
  CHECK(event.data.u32 == 5 && event.events == EPOLLIN);
  CHECK(epoll_wait(set, &event, 1, 0) == 0);
  ReadOne(queue, 1, IN_CREATE, "c");
  for (int i = 0; i < 3; ++i) CHECK(wait(NULL) > 0);

  // A second instance has numbers and events of its own; the child's copy is the same instance.
  const int other = inotify_init1(IN_NONBLOCK);
  CHECK(inotify_add_watch(other, "a", IN_ATTRIB) == 1);
  const pid_t child = fork();
  if (child == 0) {
    CHECK(inotify_add_watch(other, "b", IN_ATTRIB) == 2);
    CHECK(chmod("a", 0640) == 0);
    CHECK(close(other) == 0);
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  ReadOne(other, 1, IN_ATTRIB, NULL);
  CHECK(inotify_rm_watch(other, 2) == 0);
  ReadOne(other, 2, IN_IGNORED, NULL);

  // IN_EXCL_UNLINK: what has no name any more is not heard of.
  CHECK(inotify_add_watch(other, ".", IN_MODIFY | IN_EXCL_UNLINK) == 3);
  const int file = open("a", O_WRONLY);
  CHECK(write(file, "x", 1) == 1);
  ReadOne(other, 3, IN_MODIFY, "a");
  CHECK(unlink("a") == 0);
  ReadOne(other, 1, IN_ATTRIB, NULL);
  CHECK(write(file, "x", 1) == 1);
  char bytes[300];
  CHECK_FAILS(read(other, bytes, sizeof(bytes)), EAGAIN);

  // A symlink that is not followed; what the descriptor is called.
  CHECK(symlink("b", "s") == 0);
  CHECK(inotify_add_watch(other, "s", IN_ATTRIB | IN_DONT_FOLLOW) == 4);
  CHECK(chmod("b", 0600) == 0);
  CHECK_FAILS(read(other, bytes, sizeof(bytes)), EAGAIN);
  char link[64] = {0};
  char proc[64];
  snprintf(proc, sizeof(proc), "/proc/self/fd/%d", other);
  CHECK(readlink(proc, link, sizeof(link) - 1) > 0);
  CHECK(strcmp(link, "anon_inode:inotify") == 0);
  CHECK_FAILS(write(other, "x", 1), EBADF);
  return Finish();
}
