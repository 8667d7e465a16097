// /proc/self: exe, cmdline, maps, stat, status, fd, cwd; /proc's global files.
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static char buffer[100000];

static int Slurp(const char* path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) return -1;
  int total = 0, n;
  while ((n = read(fd, buffer + total, sizeof buffer - 1 - total)) > 0) total += n;
  close(fd);
  buffer[total] = 0;
  return total;
}

int main(int argc, char** argv) {
  (void)argc;
  char path[4096], cwd[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  CHECK(n > 0);
  path[n] = 0;
  struct stat a, b;
  CHECK(stat(path, &a) == 0 && stat("/proc/self/exe", &b) == 0);
  CHECK_EQ(a.st_ino, b.st_ino);
  CHECK_EQ(Slurp("/proc/self/cmdline"), strlen(argv[0]) + 1);
  CHECK(strcmp(buffer, argv[0]) == 0);
  CHECK(Slurp("/proc/self/maps") > 0);
  CHECK(strstr(buffer, "[stack]") && strstr(buffer, path) && strstr(buffer, "r-xp"));
  int in_stack = 0;
  for (char* line = strtok(buffer, "\n"); line; line = strtok(NULL, "\n")) {
    unsigned long start, end;
    CHECK_EQ(sscanf(line, "%lx-%lx", &start, &end), 2);
    CHECK(start < end);
    if ((uintptr_t)&start >= start && (uintptr_t)&start < end) in_stack = strstr(line, "[stack]") != NULL;
  }
  CHECK(in_stack);
  int pid, ppid;
  char state;
  CHECK(Slurp("/proc/self/stat") > 0);
  CHECK_EQ(sscanf(buffer, "%d", &pid), 1);
  CHECK_EQ(pid, getpid());
  CHECK_EQ(sscanf(strrchr(buffer, ')') + 2, "%c %d", &state, &ppid), 2);
  CHECK(state == 'R' && ppid == getppid());
  CHECK(Slurp("/proc/self/status") > 0);
  CHECK(strstr(buffer, "Name:\t") && strstr(buffer, "VmRSS:") && strstr(buffer, "Uid:\t") && strstr(buffer, "Threads:\t1"));
  CHECK(Slurp("/proc/self/environ") >= 0);
  int fd = open("/dev/null", O_RDONLY);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  n = readlink(path, cwd, sizeof cwd);
  CHECK(n == 9 && memcmp(cwd, "/dev/null", 9) == 0);
  CHECK(stat(path, &a) == 0 && S_ISCHR(a.st_mode));
  DIR* dir = opendir("/proc/self/fd");
  int found = 0;
  for (struct dirent* e; (e = readdir(dir)) != NULL;) found += atoi(e->d_name) == fd && e->d_name[0] != '.';
  CHECK_EQ(found, 1);
  closedir(dir);
  CHECK_EQ(chdir("/usr"), 0);
  n = readlink("/proc/self/cwd", path, sizeof path);
  CHECK(n == 4 && memcmp(path, "/usr", 4) == 0);
  snprintf(path, sizeof path, "/proc/%d/stat", getpid());
  CHECK_EQ(access(path, R_OK), 0);
  CHECK(Slurp("/proc/meminfo") > 0 && strstr(buffer, "MemTotal:"));
  CHECK(Slurp("/proc/cpuinfo") > 0 && strstr(buffer, "processor"));
  CHECK(Slurp("/proc/mounts") > 0 && strstr(buffer, " / "));
  CHECK(Slurp("/proc/uptime") > 0 && Slurp("/proc/version") > 0 && Slurp("/proc/loadavg") > 0 && Slurp("/proc/stat") > 0);
  CHECK(Slurp("/proc/sys/kernel/osrelease") > 0);
  CHECK_FAILS(open("/proc/999999999", O_RDONLY), ENOENT);
  CHECK_FAILS(open("/proc/self/missing", O_RDONLY), ENOENT);
  return Finish();
}
