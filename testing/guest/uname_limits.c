// uname, limits, sysinfo, rusage, page size.
#include "check.h"
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

int main(void) {
  struct utsname name;
  CHECK_EQ(uname(&name), 0);
  CHECK(strcmp(name.sysname, "Linux") == 0 && strcmp(name.machine, "x86_64") == 0);
  CHECK(atoi(name.release) >= 5);
  CHECK_FAILS(uname((struct utsname*)8), EFAULT);
  CHECK_EQ(sysconf(_SC_PAGESIZE), 4096);
  CHECK_EQ(sysconf(_SC_CLK_TCK), 100);
  struct rlimit limit;
  CHECK_EQ(getrlimit(RLIMIT_STACK, &limit), 0);
  CHECK(limit.rlim_cur >= 1 << 20);
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  CHECK(limit.rlim_cur >= 64);
  limit.rlim_cur = 64;
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  CHECK_EQ(prlimit(0, RLIMIT_NOFILE, NULL, &limit), 0);
  CHECK_EQ(limit.rlim_cur, 64);
  limit.rlim_cur = limit.rlim_max + 1;
  if (limit.rlim_max != RLIM_INFINITY) CHECK_FAILS(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
  CHECK_FAILS(getrlimit((enum __rlimit_resource)99, &limit), EINVAL);
  struct sysinfo info;
  CHECK_EQ(sysinfo(&info), 0);
  CHECK(info.totalram > 0 && info.freeram <= info.totalram && info.procs >= 1 && info.mem_unit >= 1);
  struct rusage usage;
  CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  CHECK(usage.ru_maxrss >= 0);
  CHECK_FAILS(getrusage(77, &usage), EINVAL);
  return Finish();
}
