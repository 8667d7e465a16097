// epoll, level-triggered, and the answers to wrong arguments.
#include "check.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

static int Control(int epoll, int op, int fd, uint32_t events, uint64_t data) {
  struct epoll_event event = {.events = events, .data.u64 = data};
  return epoll_ctl(epoll, op, fd, &event);
}

static void Errors(void) {
  CHECK_FAILS(epoll_create(0), EINVAL);
  CHECK_FAILS(epoll_create1(1), EINVAL);
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  CHECK_EQ(fcntl(epoll, F_GETFD), FD_CLOEXEC);
  int plain = epoll_create(1);
  CHECK_EQ(fcntl(plain, F_GETFD), 0);
  CHECK_EQ(fcntl(plain, F_GETFL), O_RDWR);
  int fd = eventfd(0, 0);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_MOD, fd, EPOLLIN, 0), ENOENT);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_DEL, fd, EPOLLIN, 0), ENOENT);
  CHECK_FAILS(Control(epoll, 17, fd, EPOLLIN, 0), EINVAL);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 0), 0);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 0), EEXIST);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, 777, EPOLLIN, 0), EBADF);
  CHECK_FAILS(Control(777, EPOLL_CTL_ADD, fd, EPOLLIN, 0), EBADF);
  CHECK_FAILS(Control(fd, EPOLL_CTL_ADD, epoll, EPOLLIN, 0), EINVAL);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN, 0), EINVAL);
  CHECK_FAILS(epoll_ctl(epoll, EPOLL_CTL_ADD, plain, NULL), EFAULT);
  CHECK_FAILS(epoll_ctl(777, EPOLL_CTL_ADD, 777, NULL), EFAULT);
  // DEL needs no event.
  CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL), 0);
  // What cannot be waited for.
  EnterScratchFolder();
  int file = open("file", O_RDWR | O_CREAT, 0600), folder = open(".", O_RDONLY), null = open("/dev/null", O_RDWR);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, file, EPOLLIN, 0), EPERM);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, folder, EPOLLIN, 0), EPERM);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, null, EPOLLIN, 0), EPERM);
  CHECK_FAILS(Control(fd, EPOLL_CTL_ADD, null, EPOLLIN, 0), EPERM);
  int path = open(".", O_PATH);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, path, EPOLLIN, 0), EBADF);
  // EPOLLEXCLUSIVE is for ADD alone, with few other flags, and not for epoll descriptors.
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, plain, EPOLLIN | EPOLLEXCLUSIVE, 0), EINVAL);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE, 0), EINVAL);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLPRI | EPOLLEXCLUSIVE, 0), EINVAL);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE, 0), 0);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLEXCLUSIVE, 0), EINVAL);
  CHECK_FAILS(Control(epoll, EPOLL_CTL_MOD, fd, EPOLLIN, 0), EINVAL);
  CHECK_EQ(Control(epoll, EPOLL_CTL_DEL, fd, 0, 0), 0);
  struct epoll_event events[4];
  volatile int negative = -1, too_many = INT_MAX / (int)sizeof(struct epoll_event) + 1;
  CHECK_FAILS(epoll_wait(epoll, events, 0, 0), EINVAL);
  CHECK_FAILS(syscall(SYS_epoll_wait, epoll, events, negative, 0), EINVAL);
  CHECK_FAILS(syscall(SYS_epoll_wait, epoll, events, too_many, 0), EINVAL);
  CHECK_FAILS(epoll_wait(777, events, 4, 0), EBADF);
  CHECK_FAILS(epoll_wait(fd, events, 4, 0), EINVAL);
  CHECK_FAILS(epoll_wait(epoll, (void*)-4096, 4, 0), EFAULT);
  char byte;
  CHECK_FAILS(read(epoll, &byte, 1), EINVAL);
  CHECK_FAILS(write(epoll, &byte, 1), EINVAL);
  char link[64] = {0}, name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", epoll);
  CHECK(readlink(name, link, sizeof link - 1) > 0);
  CHECK(strcmp(link, "anon_inode:[eventpoll]") == 0);
  close(epoll), close(plain), close(fd), close(file), close(folder), close(null), close(path);
}

// Reported while it holds; the ready ones take turns when there are more than asked for.
static void Levels(void) {
  int epoll = epoll_create1(0), fds[5];
  struct epoll_event events[8];
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 0);
  for (int i = 0; i < 5; ++i) {
    fds[i] = eventfd(i % 2, 0);
    CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, fds[i], EPOLLIN, 100 + i), 0);
  }
  for (int round = 0; round < 3; ++round) {
    CHECK_EQ(epoll_wait(epoll, events, 8, -1), 2);
    CHECK(events[0].events == EPOLLIN && events[0].data.u64 == 101);
    CHECK(events[1].events == EPOLLIN && events[1].data.u64 == 103);
  }
  CHECK_EQ(epoll_wait(epoll, events, 1, -1), 1);
  CHECK_EQ(events[0].data.u64, 101);
  CHECK_EQ(epoll_wait(epoll, events, 1, -1), 1);
  CHECK_EQ(events[0].data.u64, 103);
  CHECK_EQ(epoll_wait(epoll, events, 1, -1), 1);
  CHECK_EQ(events[0].data.u64, 101);
  eventfd_t value;
  CHECK_EQ(eventfd_read(fds[1], &value), 0);
  CHECK_EQ(eventfd_read(fds[3], &value), 0);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 0);
  // In the order in which they became ready.
  eventfd_write(fds[4], 1), eventfd_write(fds[0], 1), eventfd_write(fds[4], 1);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 2);
  CHECK(events[0].data.u64 == 104 && events[1].data.u64 == 100);
  // MOD looks at once, and changes data as well.
  CHECK_EQ(Control(epoll, EPOLL_CTL_MOD, fds[2], EPOLLIN | EPOLLOUT, 7), 0);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 3);
  CHECK(events[2].data.u64 == 7 && events[2].events == EPOLLOUT);
  CHECK_EQ(Control(epoll, EPOLL_CTL_MOD, fds[2], 0, 7), 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_DEL, fds[4], 0, 0), 0);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 1);
  for (int i = 0; i < 5; ++i) close(fds[i]);
  // The normal-band twins, as poll has them.
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLRDNORM | EPOLLRDHUP, 1), 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, ends[1], EPOLLOUT | EPOLLWRNORM, 2), 0);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 1);
  CHECK(events[0].data.u64 == 2 && events[0].events == (EPOLLOUT | EPOLLWRNORM));
  CHECK_EQ(write(ends[1], "x", 1), 1);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 2);
  // The bits that are not asked for and always come.
  close(ends[1]);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 1);
  CHECK(events[0].data.u64 == 1 && events[0].events == (EPOLLIN | EPOLLRDNORM | EPOLLHUP));
  CHECK_EQ(Control(epoll, EPOLL_CTL_MOD, ends[0], 0, 3), 0);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 1);
  CHECK(events[0].data.u64 == 3 && events[0].events == EPOLLHUP);
  close(ends[0]);
  CHECK_EQ(epoll_wait(epoll, events, 8, 0), 0);
  close(epoll);
}

static int64_t Millis(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void Timeouts(void) {
  int epoll = epoll_create1(0), fd = eventfd(0, 0);
  struct epoll_event events[4];
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, 1), 0);
  int64_t before = Millis();
  CHECK_EQ(epoll_wait(epoll, events, 4, 30), 0);
  CHECK(Millis() - before >= 30);
  CHECK_EQ(epoll_pwait(epoll, events, 4, 1, NULL), 0);
  struct timespec time = {0, 2000000}, bad = {0, 1000000000}, none = {0, 0};
  before = Millis();
  CHECK_EQ(syscall(SYS_epoll_pwait2, epoll, events, 4, &time, NULL, 8), 0);
  CHECK(Millis() - before >= 2);
  CHECK_EQ(syscall(SYS_epoll_pwait2, epoll, events, 4, &none, NULL, 8), 0);
  CHECK_FAILS(syscall(SYS_epoll_pwait2, epoll, events, 4, &bad, NULL, 8), EINVAL);
  CHECK_FAILS(syscall(SYS_epoll_pwait2, 777, events, 0, &bad, NULL, 8), EINVAL);
  CHECK_FAILS(syscall(SYS_epoll_pwait2, epoll, events, 4, (void*)8, NULL, 8), EFAULT);
  uint64_t mask = 0;
  CHECK_FAILS(syscall(SYS_epoll_pwait, epoll, events, 4, 0, &mask, 4), EINVAL);
  CHECK_FAILS(syscall(SYS_epoll_pwait, epoll, events, 4, 0, (void*)8, 8), EFAULT);
  CHECK_EQ(syscall(SYS_epoll_pwait, epoll, events, 4, 0, NULL, 4), 0);
  eventfd_write(fd, 1);
  CHECK_EQ(syscall(SYS_epoll_pwait2, epoll, events, 4, NULL, NULL, 8), 1);
  // An event that cannot be stored stays; what was stored before it counts.
  char* pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(mprotect(pages + 4096, 4096, PROT_NONE), 0);
  CHECK_FAILS(epoll_wait(epoll, (struct epoll_event*)(pages + 4096), 4, 0), EFAULT);
  CHECK_EQ(Control(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 1), 0);
  CHECK_FAILS(epoll_wait(epoll, (struct epoll_event*)(pages + 4090), 4, 0), EFAULT);
  int other = eventfd(1, 0);
  CHECK_EQ(Control(epoll, EPOLL_CTL_ADD, other, EPOLLIN | EPOLLET, 2), 0);
  CHECK_EQ(epoll_wait(epoll, (struct epoll_event*)(pages + 4096 - 12), 4, 0), 1);
  CHECK_EQ(epoll_wait(epoll, events, 4, 0), 1);
  CHECK_EQ(events[0].data.u64, 2);
  CHECK_EQ(epoll_wait(epoll, events, 4, 0), 0);
  close(fd), close(other), close(epoll);
}

int main(void) {
  Errors();
  Levels();
  Timeouts();
  return Finish();
}
