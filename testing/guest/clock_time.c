// Clocks tell one story: realtime, monotonic, cpu time, gettimeofday, time; sleeps take at least as long as asked; absolute sleeps in the past end at once.
#include "check.h"
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>

static int64_t Nanos(clockid_t id) {
  struct timespec t;
  CHECK_EQ(clock_gettime(id, &t), 0);
  CHECK(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void) {
  int64_t real = Nanos(CLOCK_REALTIME);
  struct timeval tv;
  CHECK_EQ(gettimeofday(&tv, NULL), 0);
  int64_t of_day = tv.tv_sec * 1000000000LL + tv.tv_usec * 1000LL;
  CHECK(of_day >= real - 1000000 && of_day < real + 5000000000LL);
  CHECK(time(NULL) >= real / 1000000000 && time(NULL) <= real / 1000000000 + 6);
  int64_t before = Nanos(CLOCK_MONOTONIC);
  for (int i = 0; i < 1000; ++i) {
    int64_t now = Nanos(CLOCK_MONOTONIC);
    CHECK(now >= before);
    before = now;
  }
  CHECK(Nanos(CLOCK_BOOTTIME) > 0 && Nanos(CLOCK_MONOTONIC_RAW) > 0 && Nanos(CLOCK_MONOTONIC_COARSE) > 0);
  int64_t cpu = Nanos(CLOCK_PROCESS_CPUTIME_ID);
  for (volatile int i = 0; i < 3000000; ++i) {
  }
  CHECK(Nanos(CLOCK_PROCESS_CPUTIME_ID) > cpu);
  CHECK(Nanos(CLOCK_THREAD_CPUTIME_ID) > 0);
  before = Nanos(CLOCK_MONOTONIC);
  struct timespec wait = {0, 15000000};
  CHECK_EQ(nanosleep(&wait, NULL), 0);
  CHECK(Nanos(CLOCK_MONOTONIC) - before >= 15000000);
  struct timespec past = {1, 0};
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL), 0);
  int64_t target = Nanos(CLOCK_MONOTONIC) + 10000000;
  struct timespec at = {target / 1000000000, target % 1000000000};
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL), 0);
  CHECK(Nanos(CLOCK_MONOTONIC) >= target);
  wait.tv_nsec = 1000000000;
  CHECK_FAILS(nanosleep(&wait, NULL), EINVAL);
  struct timespec resolution;
  CHECK_EQ(clock_getres(CLOCK_MONOTONIC, &resolution), 0);
  CHECK(resolution.tv_sec == 0 && resolution.tv_nsec > 0);
  CHECK_FAILS(clock_gettime(99, &wait), EINVAL);
  struct tms tms;
  CHECK(times(&tms) > 0);
  return Finish();
}
