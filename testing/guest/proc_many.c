// proc_many [N]: N processes alive and asleep at once; /proc lists each, /proc/PID/stat of each tells who and whose it
// is, and forks go on meanwhile. Asked of Linux 6.1 with 300: so it is.
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int Compare(const void* a, const void* b) { return *(const pid_t*)a - *(const pid_t*)b; }

int main(int argc, char** argv) {
  int num = argc > 1 ? atoi(argv[1]) : 300;
  struct rlimit limit;
  CHECK_EQ(getrlimit(RLIMIT_NPROC, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  CHECK_EQ(setrlimit(RLIMIT_NPROC, &limit), 0);
  pid_t* pids = calloc((size_t)num, sizeof *pids);
  volatile long* forks = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(pids != NULL && forks != MAP_FAILED);
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  for (int i = 0; i < num; ++i) {
    pids[i] = fork();
    CHECK(pids[i] >= 0);
    if (pids[i] == 0) {
      char byte;
      close(ends[1]);
      read(ends[0], &byte, 1);
      _exit(i % 100);
    }
  }
  pid_t churner = fork();
  CHECK(churner >= 0);
  if (churner == 0) {
    while (1) {
      pid_t child = fork();
      if (child == 0) _exit(0);
      CHECK(child > 0);
      CHECK_EQ(waitpid(child, NULL, 0), child);
      ++*forks;
    }
  }

  pid_t* sorted = malloc((size_t)num * sizeof *sorted);
  memcpy(sorted, pids, (size_t)num * sizeof *sorted);
  qsort(sorted, (size_t)num, sizeof *sorted, Compare);
  for (int round = 0; round < 2; ++round) {
    int found = 0;
    DIR* dir = opendir("/proc");
    CHECK(dir != NULL);
    for (struct dirent* e; (e = readdir(dir)) != NULL;) {
      pid_t pid = atoi(e->d_name);
      if (bsearch(&pid, sorted, (size_t)num, sizeof *sorted, Compare) != NULL) ++found;
    }
    closedir(dir);
    CHECK_EQ(found, num);
    for (int i = 0; i < num; ++i) {
      char path[64], text[1024] = {0}, state;
      int pid, parent;
      snprintf(path, sizeof path, "/proc/%d/stat", pids[i]);
      int fd = open(path, O_RDONLY);
      CHECK(fd >= 0);
      CHECK(read(fd, text, sizeof text - 1) > 0);
      CHECK_EQ(close(fd), 0);
      CHECK_EQ(sscanf(text, "%d", &pid), 1);
      CHECK_EQ(pid, pids[i]);
      CHECK_EQ(sscanf(strrchr(text, ')') + 1, " %c %d", &state, &parent), 2);
      CHECK(state == 'S' || state == 'R');
      CHECK_EQ(parent, getpid());
    }
  }
  long before = *forks;
  while (*forks == before) usleep(1000);
  CHECK_EQ(kill(churner, SIGKILL), 0);
  CHECK_EQ(waitpid(churner, NULL, 0), churner);

  CHECK_EQ(close(ends[1]), 0);
  for (int i = 0; i < num; ++i) {
    int status;
    CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
    CHECK_EQ(WEXITSTATUS(status), i % 100);
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", pids[num / 2]);
  CHECK_FAILS(open(path, O_RDONLY), ENOENT);
  return Finish();
}
