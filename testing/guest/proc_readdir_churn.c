// Listings of /proc while processes come and go: who lives all along is listed exactly once, in ascending order, also
// by small getdents calls, and forks are not held up. Asked of Linux 6.1: so it is; and a telldir position may be come
// back to.
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { kStable = 30, kListings = 40 };

static pid_t stable[kStable];

static int IndexOf(long pid) {
  for (int i = 0; i < kStable; ++i)
    if (stable[i] == pid) return i;
  return -1;
}

static void CheckListing(size_t buffer_bytes) {
  int counts[kStable] = {0};
  long last = 0;
  int fd = open("/proc", O_RDONLY | O_DIRECTORY);
  CHECK(fd >= 0);
  char buffer[4096];
  long n;
  while ((n = syscall(SYS_getdents64, fd, buffer, buffer_bytes)) > 0) {
    for (long at = 0; at < n;) {
      const char* entry = buffer + at;
      unsigned short size;
      memcpy(&size, entry + 16, sizeof size);
      at += size;
      char* end;
      long pid = strtol(entry + 19, &end, 10);
      if (*end != '\0' || pid <= 0) continue;
      // Of who is gone between its number and its directory Linux does not know the type.
      CHECK(entry[18] == DT_DIR || (entry[18] == DT_UNKNOWN && IndexOf(pid) < 0));
      CHECK(pid > last);
      last = pid;
      if (IndexOf(pid) >= 0) ++counts[IndexOf(pid)];
    }
  }
  CHECK_EQ(n, 0);
  close(fd);
  for (int i = 0; i < kStable; ++i) CHECK_EQ(counts[i], 1);
}

// Forks and reaps until it is killed, or its parent is gone, and counts.
static void Churn(pid_t parent, volatile long* forks) {
  while (getppid() == parent) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    CHECK(child > 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    ++*forks;
  }
  _exit(1);
}

int main(void) {
  volatile long* forks = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(forks != MAP_FAILED);
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  pid_t churner = -1;
  for (int i = 0; i < kStable; ++i) {
    if (i == kStable / 2) {
      pid_t parent = getpid();
      churner = fork();
      if (churner == 0) Churn(parent, forks);
    }
    stable[i] = fork();
    if (stable[i] == 0) {
      char byte;
      close(ends[1]);
      read(ends[0], &byte, 1);
      _exit(0);
    }
    CHECK(stable[i] > 0);
  }
  for (int i = 0; i < kListings; ++i) CheckListing(i % 2 == 0 ? 4096 : 64);
  // Forks went on, and go on while a listing stands half-way.
  DIR* dir = opendir("/proc");
  CHECK(dir != NULL);
  long position = -1;
  for (struct dirent* e; (e = readdir(dir)) != NULL && IndexOf(atol(e->d_name)) < 3;) continue;
  position = telldir(dir);
  long before = *forks;
  while (*forks < before + 5) usleep(100);
  struct dirent* next = readdir(dir);
  CHECK(next != NULL);
  long pid = atol(next->d_name);
  seekdir(dir, position);
  next = readdir(dir);
  CHECK(next != NULL);
  CHECK(pid == 0 || atol(next->d_name) >= stable[3]);
  closedir(dir);
  CHECK_EQ(kill(churner, SIGKILL), 0);
  CHECK_EQ(waitpid(churner, NULL, 0), churner);
  close(ends[1]);
  for (int i = 0; i < kStable; ++i) CHECK_EQ(waitpid(stable[i], NULL, 0), stable[i]);
  return Finish();
}
