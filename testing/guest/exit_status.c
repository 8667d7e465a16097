// Status words of exits and of deaths by signal; exit_group ends all threads.
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static void* SleepForever(void* unused) {
  for (;;) pause();
  return unused;
}

static int StatusOf(pid_t child) {
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  return status;
}

int main(void) {
  pid_t child;
  if ((child = fork()) == 0) _exit(0x1ff);
  CHECK_EQ(StatusOf(child), 0xff00);
  const int fatal[] = {SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGALRM, SIGPIPE};
  for (unsigned i = 0; i < sizeof fatal / sizeof *fatal; ++i) {
    if ((child = fork()) == 0) {
      raise(fatal[i]);
      _exit(1);
    }
    CHECK_EQ(StatusOf(child), fatal[i]);
  }
  if ((child = fork()) == 0) abort();
  int status = StatusOf(child);
  CHECK(WIFSIGNALED(status));
  CHECK_EQ(WTERMSIG(status), SIGABRT);
  const int ignored[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
  for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; ++i) {
    if ((child = fork()) == 0) {
      raise(ignored[i]);
      _exit(5);
    }
    CHECK_EQ(StatusOf(child), 5 << 8);
  }
  if ((child = fork()) == 0) {
    pthread_t thread;
    for (int i = 0; i < 3; ++i) CHECK_EQ(pthread_create(&thread, NULL, SleepForever, NULL), 0);
    exit(9);
  }
  CHECK_EQ(StatusOf(child), 9 << 8);
  return Finish();
}
