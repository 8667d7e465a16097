// While one thread's close takes long, the descriptor's number is free at once and every other thread's calls go on.
// What is slow: natively the close of a TCP socket that lingers (SO_LINGER, unsent data, a peer that does not read);
// under Remora a file of testing/slow_fs, where it is mounted. Where there is neither, the closes are quick and the
// rest of the assertions hold all the same. Asked of Linux 6.1: during the close F_GETFD says EBADF and dup gives the
// number out again; during a dup2 that replaces the slow file the number is open and is the new file.
#include "check.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int has_slow_fs;
static volatile int done;

static void Control(const char* command) {
  int fd = open("/slow/control", O_WRONLY);
  CHECK(fd >= 0);
  CHECK_EQ(write(fd, command, strlen(command)), strlen(command));
  CHECK_EQ(close(fd), 0);
}

// Whether somebody waits in the close hook.
static int CloseWaits(void) {
  char text[256] = {0};
  int fd = open("/slow/control", O_RDONLY);
  CHECK(fd >= 0);
  CHECK(read(fd, text, sizeof text - 1) > 0);
  CHECK_EQ(close(fd), 0);
  return strstr(text, "close 1\n") != NULL;
}

static int OpenSlow(int flags) {
  if (has_slow_fs) return open("/slow/slow1", O_RDWR | flags);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0), 0);
  if (fd < 0 || bind(listener, (struct sockaddr*)&address, length) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, (struct sockaddr*)&address, &length) != 0 ||
      connect(fd, (struct sockaddr*)&address, length) != 0) {
    if (fd >= 0) close(fd);
    if (listener >= 0) close(listener);
    return open("/dev/null", O_RDWR | flags);
  }
  struct linger linger = {1, 1};
  CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
  CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  static char data[65536];
  while (write(fd, data, sizeof data) > 0) continue;
  CHECK_EQ(fcntl(fd, F_SETFL, 0), 0);
  // The listener stays open, above the numbers that the test looks at, and never accepts.
  CHECK(fcntl(listener, F_DUPFD_CLOEXEC, 100) >= 100);
  close(listener);
  if (fd != listener) {  // the lowest number is the slow one's
    CHECK_EQ(dup3(fd, listener, flags & O_CLOEXEC), listener);
    close(fd);
  }
  return listener;
}

static void* CloseIt(void* fd) {
  CHECK_EQ(close((int)(long)fd), 0);
  done = 1;
  return NULL;
}

static void* ReplaceIt(void* fd) {
  CHECK_EQ(dup2(0, (int)(long)fd), (int)(long)fd);
  done = 1;
  return NULL;
}

// Everything that goes through the table, many times.
static void UseTable(int lowest) {
  struct stat st;
  int ends[2];
  for (int i = 0; i < 200; ++i) {
    CHECK_EQ(fstat(0, &st), 0);
    CHECK_EQ(dup(0), lowest);
    CHECK_EQ(fcntl(lowest, F_SETFD, FD_CLOEXEC), 0);
    CHECK_EQ(dup2(1, lowest + 1), lowest + 1);
    CHECK_EQ(close(lowest), 0);
    CHECK_EQ(close(lowest + 1), 0);
    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(close(ends[0]), 0);
    CHECK_EQ(close(ends[1]), 0);
  }
}

static void During(void* (*end)(void*), int replaced) {
  int slow = OpenSlow(0);
  CHECK(slow >= 3);
  if (has_slow_fs) Control("shut close\n");
  done = 0;
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, end, (void*)(long)slow), 0);
  // Not asked by the descriptor: whoever uses the file while it is closed may be the last one to let go of it, and then
  // it is he who waits in its close; on Linux as well.
  if (has_slow_fs)
    while (!CloseWaits()) sched_yield();
  if (replaced) {
    struct stat zero, now;
    CHECK_EQ(fstat(0, &zero), 0);
    do CHECK_EQ(fstat(slow, &now), 0);
    while (now.st_ino != zero.st_ino || now.st_dev != zero.st_dev);
    UseTable(slow + 1);
    CHECK_EQ(fcntl(slow, F_GETFD), 0);
  } else {
    while (fcntl(slow, F_GETFD) == 0) sched_yield();
    CHECK_FAILS(fcntl(slow, F_GETFD), EBADF);
    UseTable(slow);
  }
  if (has_slow_fs) {
    CHECK(CloseWaits());
    CHECK_EQ(done, 0);
    Control("lift close\n");
  }
  CHECK_EQ(pthread_join(thread, NULL), 0);
  if (replaced) CHECK_EQ(close(slow), 0);
}

// An exec that closes thousands, one of them slowly; the parent goes on.
static void DuringExec(const char* self) {
  struct rlimit limit;
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlim_t wanted = 4100;
  limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  if (has_slow_fs) Control("shut close\n");
  pid_t child = fork();
  if (child == 0) {
    int slow = OpenSlow(O_CLOEXEC);
    CHECK(slow >= 3);
    while (fcntl(0, F_DUPFD_CLOEXEC, 3) >= 0) continue;
    CHECK_EQ(errno, EMFILE);
    execl(self, self, "after_exec", NULL);
    _exit(2);
  }
  if (has_slow_fs)
    while (!CloseWaits()) sched_yield();
  UseTable(3);
  if (has_slow_fs) {
    CHECK_EQ(waitpid(child, NULL, WNOHANG), 0);
    Control("lift close\n");
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

int main(int argc, char** argv) {
  if (argc > 1) {
    for (int fd = 3; fd < 4100; ++fd) CHECK_FAILS(fcntl(fd, F_GETFD), EBADF);
    return 0;
  }
  for (int fd = 3; fd < 1000; ++fd) close(fd);
  has_slow_fs = access("/slow/control", F_OK) == 0;
  During(CloseIt, 0);
  During(ReplaceIt, 1);
  DuringExec(argv[0]);
  return Finish();
}
