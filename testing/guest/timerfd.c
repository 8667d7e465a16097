// timerfd: once and repeating, relative and absolute, what a read counts, what gettime tells, and the errors.
#include "check.h"
#include <poll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

static struct itimerspec Spec(long value_ms, long interval_ms) {
  struct itimerspec spec = {{interval_ms / 1000, interval_ms % 1000 * 1000000},
                            {value_ms / 1000, value_ms % 1000 * 1000000}};
  return spec;
}

int main(void) {
  uint64_t count = 0;
  struct itimerspec spec = Spec(20, 0), old;
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  CHECK(fd >= 0);
  CHECK_FAILS(read(fd, &count, 8), EAGAIN);
  CHECK_FAILS(read(fd, &count, 7), EINVAL);
  CHECK_FAILS(write(fd, &count, 8), EINVAL);
  CHECK_EQ(timerfd_settime(fd, 0, &spec, &old), 0);
  CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
  struct pollfd poll_fd = {fd, POLLIN, 0};
  CHECK_EQ(poll(&poll_fd, 1, -1), 1);
  CHECK_EQ(poll_fd.revents, POLLIN);
  CHECK_EQ(timerfd_gettime(fd, &old), 0);
  CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
  CHECK_EQ(read(fd, &count, 8), 8);
  CHECK_EQ(count, 1);
  CHECK_FAILS(read(fd, &count, 8), EAGAIN);
  CHECK_EQ(poll(&poll_fd, 1, 0), 0);

  // A repeating one counts what nobody read.
  spec = Spec(5, 5);
  CHECK_EQ(timerfd_settime(fd, 0, &spec, NULL), 0);
  usleep(40000);
  CHECK_EQ(read(fd, &count, 8), 8);
  CHECK(count >= 7);
  CHECK_EQ(timerfd_gettime(fd, &old), 0);
  CHECK_EQ(old.it_interval.tv_nsec, 5000000);
  CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 5000000);
  // A new setting forgets what was due.
  usleep(10000);
  spec = Spec(1000000, 0);
  CHECK_EQ(timerfd_settime(fd, 0, &spec, NULL), 0);
  CHECK_FAILS(read(fd, &count, 8), EAGAIN);
  CHECK_EQ(timerfd_gettime(fd, &old), 0);
  CHECK(old.it_value.tv_sec > 900 && old.it_value.tv_sec <= 1000);
  spec = Spec(0, 5);  // off, whatever the interval
  CHECK_EQ(timerfd_settime(fd, 0, &spec, NULL), 0);
  usleep(10000);
  CHECK_FAILS(read(fd, &count, 8), EAGAIN);

  // Absolute, of both clocks; a point that has passed is due at once.
  const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
  for (int i = 0; i < 3; ++i) {
    int absolute = timerfd_create(clocks[i], 0);
    CHECK(absolute >= 0);
    struct timespec now;
    CHECK_EQ(clock_gettime(clocks[i], &now), 0);
    struct itimerspec at = {{0, 0}, {now.tv_sec, now.tv_nsec}};
    CHECK_EQ(timerfd_settime(absolute, TFD_TIMER_ABSTIME, &at, NULL), 0);
    CHECK_EQ(read(absolute, &count, 8), 8);
    CHECK_EQ(count, 1);
    at.it_value.tv_sec += 1000;
    CHECK_EQ(timerfd_settime(absolute, TFD_TIMER_ABSTIME, &at, NULL), 0);
    CHECK_EQ(timerfd_gettime(absolute, &old), 0);
    CHECK(old.it_value.tv_sec >= 990 && old.it_value.tv_sec <= 1000);
    close(absolute);
  }

  // A blocking read waits; both processes share one timer.
  int blocking = timerfd_create(CLOCK_MONOTONIC, 0);
  spec = Spec(20, 0);
  pid_t child = fork();
  if (child == 0) _exit(read(blocking, &count, 8) != 8 || count != 1);
  CHECK_EQ(timerfd_settime(blocking, 0, &spec, NULL), 0);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);

  CHECK_FAILS(timerfd_create(99, 0), EINVAL);
  CHECK_FAILS(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
  CHECK_FAILS(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
  CHECK_FAILS(timerfd_settime(0, 0, &spec, NULL), EINVAL);
  CHECK_FAILS(timerfd_settime(99, 0, &spec, NULL), EBADF);
  CHECK_FAILS(timerfd_gettime(99, &old), EBADF);
  CHECK_FAILS(timerfd_settime(fd, 8, &spec, NULL), EINVAL);
  spec.it_value.tv_nsec = 1000000000;
  CHECK_FAILS(timerfd_settime(fd, 0, &spec, NULL), EINVAL);
  CHECK_FAILS(timerfd_settime(fd, 0, (void*)16, NULL), EFAULT);
  return Finish();
}
