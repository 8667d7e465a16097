// Setting the clock, as somebody who may not: what is checked before EPERM. The host answered the same.
#include "check.h"

#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

int main(void) {
  if (Privileged()) {
    CHECK_EQ(setresgid(65534, 65534, 65534), 0);
    CHECK_EQ(setresuid(65534, 65534, 65534), 0);
  }
  struct timespec now;
  CHECK_EQ(clock_gettime(CLOCK_REALTIME, &now), 0);
  CHECK_FAILS(clock_settime(CLOCK_REALTIME, &now), EPERM);
  CHECK_FAILS(clock_settime(CLOCK_MONOTONIC, &now), EINVAL);
  CHECK_FAILS(clock_settime(CLOCK_BOOTTIME, &now), EINVAL);
  CHECK_FAILS(clock_settime(CLOCK_PROCESS_CPUTIME_ID, &now), EINVAL);
  clockid_t mine;
  CHECK_EQ(clock_getcpuclockid(getpid(), &mine), 0);
  CHECK_FAILS(clock_settime(mine, &now), EPERM);
  CHECK_FAILS(clock_settime(77, &now), EINVAL);
  now.tv_nsec = 1000000000;
  CHECK_FAILS(clock_settime(CLOCK_REALTIME, &now), EINVAL);
  CHECK_FAILS(syscall(SYS_clock_settime, CLOCK_REALTIME, (void*)1), EFAULT);
  struct timeval day;
  CHECK_EQ(gettimeofday(&day, NULL), 0);
  CHECK_FAILS(settimeofday(&day, NULL), EPERM);
  CHECK_FAILS(syscall(SYS_settimeofday, NULL, NULL), EPERM);
  day.tv_usec = 1000000;
  CHECK_FAILS(settimeofday(&day, NULL), EINVAL);
  CHECK_FAILS(syscall(SYS_settimeofday, (void*)1, NULL), EFAULT);
  return Finish();
}
