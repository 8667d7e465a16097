// What /proc tells of the machine: the formats, the units, and that sysinfo(2), the clocks and the files agree. Asked
// of Linux 6.1: meminfo is in KiB, sysinfo in mem_unit bytes; uptime is CLOCK_BOOTTIME; loadavg has two decimals,
// sysinfo's loads 16 bits of fraction; stat counts in ticks of 1/100 s.
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/sysinfo.h>
#include <time.h>

static char text[65536];

static const char* ReadAll(const char* path) {
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  size_t length = 0;
  ssize_t n;
  while (length < sizeof text - 1 && (n = read(fd, text + length, sizeof text - 1 - length)) > 0) length += (size_t)n;
  text[length] = '\0';
  close(fd);
  return text;
}

static long OpenFiles(void) {
  long alive, free;
  unsigned long long most;
  CHECK_EQ(sscanf(ReadAll("/proc/sys/fs/file-nr"), "%ld\t%ld\t%llu\n", &alive, &free, &most), 3);
  CHECK_EQ(free, 0);
  CHECK_EQ(most, strtoull(ReadAll("/proc/sys/fs/file-max"), NULL, 10));
  return alive;
}

// In KiB.
static unsigned long long Row(const char* meminfo, const char* name) {
  char key[64];
  snprintf(key, sizeof key, "\n%s:", name);
  const char* at = strncmp(meminfo, key + 1, strlen(key + 1)) == 0 ? meminfo - 1 : strstr(meminfo, key);
  CHECK(at != NULL);
  char* end;
  unsigned long long value = strtoull(at + strlen(key), &end, 10);
  CHECK_EQ(strncmp(end, " kB\n", 4), 0);
  return value;
}

int main(void) {
  struct sysinfo info;
  CHECK_EQ(sysinfo(&info), 0);
  CHECK_EQ(info.mem_unit, 1);
  const char* meminfo = ReadAll("/proc/meminfo");
  CHECK_EQ(strncmp(meminfo, "MemTotal: ", 10), 0);
  unsigned long long total = Row(meminfo, "MemTotal");
  CHECK_EQ(total, info.totalram / 1024);
  CHECK_EQ(Row(meminfo, "SwapTotal"), info.totalswap / 1024);
  const char* const parts[] = {"MemFree",  "MemAvailable", "Buffers",   "Cached", "Active",
                               "Inactive", "Dirty",        "AnonPages", "Mapped", "Shmem"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i) CHECK(Row(meminfo, parts[i]) <= total);
  CHECK(Row(meminfo, "SwapFree") <= Row(meminfo, "SwapTotal"));
  CHECK(info.freeram / 1024 <= total);
  CHECK_EQ(sysconf(_SC_PHYS_PAGES), total / 4);

  // The clock lies between two looks at the file, up to the file's hundredths.
  struct timespec before, after;
  double uptime, idle;
  CHECK_EQ(clock_gettime(CLOCK_BOOTTIME, &before), 0);
  CHECK_EQ(sscanf(ReadAll("/proc/uptime"), "%lf %lf\n", &uptime, &idle), 2);
  CHECK_EQ(clock_gettime(CLOCK_BOOTTIME, &after), 0);
  CHECK(uptime > (double)before.tv_sec - 1);
  CHECK(uptime < (double)after.tv_sec + 2);
  CHECK_EQ(sysinfo(&info), 0);
  CHECK(info.uptime >= before.tv_sec - 1);

  unsigned whole[3], hundredths[3];
  int running, tasks, last, length = 0;
  const char* loadavg = ReadAll("/proc/loadavg");
  CHECK_EQ(sscanf(loadavg, "%u.%2u %u.%2u %u.%2u %d/%d %d\n%n", whole, hundredths, whole + 1, hundredths + 1, whole + 2,
                  hundredths + 2, &running, &tasks, &last, &length),
           9);
  CHECK_EQ(length, strlen(loadavg));
  CHECK(running >= 1 && tasks >= running && last >= 1);
  for (int i = 0; i < 3; ++i) {
    // The averages move a little every five seconds.
    double from_file = whole[i] + hundredths[i] / 100.0, from_call = (double)info.loads[i] / 65536;
    CHECK(from_file - from_call < 1 + from_file / 4 && from_call - from_file < 1 + from_file / 4);
  }

  // "cpu" is the sum of the others; times do not go back; btime is now less the uptime.
  unsigned long long sum[10], one[10], sums[10] = {0};
  char* stat = strdup(ReadAll("/proc/stat"));
  int num_cpus = 0;
  char* save;
  for (char* line = strtok_r(stat, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
    unsigned long long* to = strncmp(line, "cpu ", 4) == 0 ? sum : one;
    char name[32];
    if (strncmp(line, "btime ", 6) == 0) {
      long long btime = atoll(line + 6), expected = (long long)time(NULL) - info.uptime;
      CHECK(btime >= expected - 2 && btime <= expected + 2);
    }
    if (strncmp(line, "cpu", 3) != 0) continue;
    CHECK_EQ(sscanf(line, "%31s %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu", name, to, to + 1, to + 2, to + 3,
                    to + 4, to + 5, to + 6, to + 7, to + 8, to + 9),
             11);
    if (to == sum) continue;
    ++num_cpus;
    for (int i = 0; i < 10; ++i) sums[i] += one[i];
  }
  CHECK(num_cpus >= 1);
  CHECK_EQ(num_cpus, sysconf(_SC_NPROCESSORS_ONLN));
  // Linux adds nanoseconds and divides then: a tick for each CPU may be lost in the single lines.
  for (int i = 0; i < 10; ++i) CHECK(sum[i] >= sums[i] && sum[i] - sums[i] <= (unsigned long long)num_cpus);
  CHECK(sum[0] + sum[2] + sum[3] > 0);

  // Open files of all processes, the free ones (none since 2.6), the most there may be. A duplicate is no file of its own.
  // Natively others open and close theirs meanwhile.
  long files = OpenFiles();
  int fds[400];
  for (int i = 0; i < 400; ++i) CHECK((fds[i] = i % 2 == 0 ? open("/dev/null", O_RDONLY) : dup(fds[i - 1])) >= 0);
  long with_mine = OpenFiles();
  CHECK(with_mine - files > 100 && with_mine - files < 300);
  for (int i = 0; i < 400; ++i) CHECK_EQ(close(fds[i]), 0);
  CHECK(with_mine - OpenFiles() > 100);
  return Finish();
}
