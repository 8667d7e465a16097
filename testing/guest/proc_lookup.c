// /proc/PID comes and goes with its process; readdir shows live ones once; zombies stay until they are reaped.
#include "check.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int Listed(pid_t pid) {
  DIR* dir = opendir("/proc");
  int count = 0;
  for (struct dirent* e; (e = readdir(dir)) != NULL;) count += atoi(e->d_name) == pid;
  closedir(dir);
  return count;
}

int main(void) {
  int ends[2];
  char path[64], byte;
  struct stat st;
  CHECK_EQ(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    close(ends[1]);
    read(ends[0], &byte, 1);
    _exit(0);
  }
  snprintf(path, sizeof path, "/proc/%d", child);
  CHECK_EQ(stat(path, &st), 0);
  CHECK_EQ(Listed(child), 1);
  CHECK_EQ(Listed(getpid()), 1);
  close(ends[1]);
  siginfo_t info;
  CHECK_EQ(waitid(P_PID, child, &info, WEXITED | WNOWAIT), 0);
  CHECK_EQ(stat(path, &st), 0);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  CHECK_FAILS(stat(path, &st), ENOENT);
  CHECK_EQ(Listed(child), 0);
  return Finish();
}
