// sysinfo, times, getcpu, getloadavg, sched_yield, sysconf: numbers that belong together.
#include "check.h"

#include <sched.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>

static volatile unsigned long sink;
static void BurnTicks(clock_t ticks) {
  struct tms now;
  CHECK(times(&now) != (clock_t)-1);
  const clock_t until = now.tms_utime + now.tms_stime + ticks;
  while (now.tms_utime + now.tms_stime < until) {
    for (int i = 0; i < 100000; ++i) sink += (unsigned long)i;
    times(&now);
  }
}

int main(void) {
  struct sysinfo info;
  CHECK_EQ(sysinfo(&info), 0);
  CHECK(info.totalram >= info.freeram && info.totalram > 0 && info.mem_unit > 0 && info.procs > 0);
  struct timespec up;
  CHECK_EQ(clock_gettime(CLOCK_BOOTTIME, &up), 0);
  CHECK(info.uptime <= up.tv_sec + 1 && info.uptime + 2 >= up.tv_sec);
  CHECK_EQ(sysconf(_SC_CLK_TCK), 100);
  CHECK_EQ(sysconf(_SC_PAGESIZE), 4096);
  CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1 && sysconf(_SC_PHYS_PAGES) > 0);
  CHECK_EQ(get_nprocs(), sysconf(_SC_NPROCESSORS_ONLN));
  unsigned cpu = 999, node = 999;
  CHECK_EQ(getcpu(&cpu, &node), 0);
  CHECK((long)cpu < sysconf(_SC_NPROCESSORS_CONF) && node < 64);
  CHECK_EQ(sched_yield(), 0);
  double loads[3];
  CHECK_EQ(getloadavg(loads, 3), 3);

  const clock_t before = times(NULL);
  struct tms mine;
  const pid_t child = fork();
  if (child == 0) {
    BurnTicks(3);
    _exit(0);
  }
  times(&mine);
  CHECK(mine.tms_cutime == 0 && mine.tms_cstime == 0);
  CHECK_EQ(wait(NULL), child);
  BurnTicks(2);
  const clock_t after = times(&mine);
  CHECK(after >= before + 2);
  CHECK(mine.tms_cutime + mine.tms_cstime >= 3);
  CHECK(clock() >= 2 * CLOCKS_PER_SEC / 100);
  return Finish();
}
