// Scheduling calls that programs make: yield, affinity, priority, policy.
#include "check.h"
#include <sched.h>
#include <sys/resource.h>

int main(void) {
  CHECK_EQ(sched_yield(), 0);
  cpu_set_t set;
  CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  CHECK(CPU_COUNT(&set) >= 1);
  CHECK_EQ(sched_setaffinity(0, sizeof set, &set), 0);
  CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
  CHECK(sched_getcpu() >= 0);
  errno = 0;
  int priority = getpriority(PRIO_PROCESS, 0);
  CHECK_EQ(errno, 0);
  CHECK_EQ(setpriority(PRIO_PROCESS, 0, priority + 1 > 19 ? 19 : priority + 1), 0);
  CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
  return Finish();
}
