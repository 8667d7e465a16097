// POSIX record locks belong to the process, flock locks to the open file; both exclude others and go with close or exit.
#include "check.h"
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>

static int InChild(int (*test)(void)) {
  pid_t child = fork();
  if (child == 0) _exit(test());
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static int TryRecord(void) {
  int fd = open("file", O_RDWR);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 5};
  return fcntl(fd, F_SETLK, &lock) == 0 ? 0 : errno;
}
static int Holder(void) {
  int fd = open("file", O_RDWR);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
  CHECK_EQ(fcntl(fd, F_GETLK, &lock), 0);
  CHECK_EQ(lock.l_pid, getppid());
  return lock.l_type == F_WRLCK && lock.l_start == 0 && lock.l_len == 10 ? 0 : 1;
}
static int TryFlock(void) {
  int fd = open("file", O_RDWR);
  return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

int main(void) {
  EnterScratchFolder();
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
  CHECK_EQ(fcntl(fd, F_SETLK, &lock), 0);
  CHECK_EQ(fcntl(fd, F_SETLK, &lock), 0);
  CHECK_EQ(InChild(TryRecord), EAGAIN);
  CHECK_EQ(InChild(Holder), 0);
  lock.l_type = F_UNLCK, lock.l_start = 3, lock.l_len = 100;
  CHECK_EQ(fcntl(fd, F_SETLK, &lock), 0);
  CHECK_EQ(InChild(TryRecord), 0);
  lock.l_type = F_WRLCK, lock.l_start = 0, lock.l_len = 0;
  CHECK_EQ(fcntl(fd, F_SETLK, &lock), 0);
  close(open("file", O_RDONLY));  // any close of the file drops this process's locks
  CHECK_EQ(InChild(TryRecord), 0);
  CHECK_EQ(flock(fd, LOCK_EX), 0);
  CHECK_EQ(InChild(TryFlock), EAGAIN);
  CHECK_EQ(flock(fd, LOCK_UN), 0);
  CHECK_EQ(InChild(TryFlock), 0);
  return Finish();
}
