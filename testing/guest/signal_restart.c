// An interrupted read goes on with SA_RESTART and fails with EINTR without; nanosleep and poll always fail, pause too.
#include "check.h"
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static volatile int calls;
static void Handler(int signal) { (void)signal, calls++; }

static void Install(int flags) {
  struct sigaction action = {0};
  action.sa_handler = Handler;
  action.sa_flags = flags;
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
}

// A child that signals us after 20 ms and, after 20 more, writes a byte.
static pid_t Disturb(int fd) {
  pid_t child = fork();
  if (child) return child;
  usleep(20000);
  kill(getppid(), SIGUSR1);
  usleep(20000);
  if (fd >= 0) write(fd, "x", 1);
  _exit(0);
}

int main(void) {
  int ends[2];
  char byte;
  CHECK_EQ(pipe(ends), 0);
  Install(SA_RESTART);
  pid_t child = Disturb(ends[1]);
  CHECK_EQ(read(ends[0], &byte, 1), 1);
  CHECK_EQ(calls, 1);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  Install(0);
  child = Disturb(ends[1]);
  CHECK_FAILS(read(ends[0], &byte, 1), EINTR);
  CHECK_EQ(read(ends[0], &byte, 1), 1);
  CHECK_EQ(waitpid(child, NULL, 0), child);

  Install(SA_RESTART);
  child = Disturb(-1);
  struct timespec wanted = {10, 0}, left = {0, 0};
  CHECK_FAILS(nanosleep(&wanted, &left), EINTR);
  CHECK(left.tv_sec == 9 && left.tv_nsec > 0);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  child = Disturb(-1);
  struct pollfd fd = {ends[0], POLLIN, 0};
  CHECK_FAILS(poll(&fd, 1, 10000), EINTR);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  child = Disturb(-1);
  CHECK_FAILS(pause(), EINTR);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(calls, 5);
  return Finish();
}
