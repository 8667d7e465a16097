// Shared anonymous memory and shared file mappings are one memory for parent and child; private ones are not.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

int main(void) {
  EnterScratchFolder();
  volatile int* shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  volatile int* private_map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  ftruncate(fd, 4096);
  volatile int* file = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  pid_t child = fork();
  if (child == 0) {
    shared[0] = 1, shared[1024] = 2, private_map[0] = 3, file[0] = 4;
    while (shared[1] == 0) usleep(100);
    _exit(shared[1]);
  }
  while (shared[1024] != 2 || file[0] != 4) usleep(100);
  CHECK_EQ(shared[0], 1);
  CHECK_EQ(private_map[0], 0);
  shared[1] = 66;
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(WEXITSTATUS(status), 66);
  int value;
  CHECK_EQ(pread(fd, &value, 4, 0), 4);
  CHECK_EQ(value, 4);
  // An atomic counter that four processes share.
  enum { kRounds = 20000 };
  for (int i = 0; i < 4; ++i)
    if (fork() == 0) {
      for (int n = 0; n < kRounds; ++n) __atomic_fetch_add(&shared[2], 1, __ATOMIC_RELAXED);
      _exit(0);
    }
  while (wait(&status) > 0) CHECK_EQ(status, 0);
  CHECK_EQ(shared[2], 4 * kRounds);
  return Finish();
}
