// Who is killed between two system calls ends, whatever the next one is: execve, vfork, or a second thread's execve.
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

static void ExecForEver(void) {
  char* arguments[] = {"nothing", NULL};
  for (;;) {
    // Long enough that most kills come here.
    for (volatile int i = 0; i < 2000; ++i) {
    }
    execve("/nonexistent/program", arguments, &arguments[1]);
  }
}

static void VforkForEver(void) {
  for (;;) {
    for (volatile int i = 0; i < 2000; ++i) {
    }
    const pid_t child = vfork();
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, NULL, 0);
  }
}

static void* Exec(void* unused) {
  char* arguments[] = {"kill_before_call", "once more", NULL};
  for (volatile int i = 0; i < 20000; ++i) {
  }
  execve("/proc/self/exe", arguments, &arguments[2]);
  return unused;
}

static void KillInMidst(void (*body)(void), int rounds) {
  for (int round = 0; round < rounds; ++round) {
    const pid_t child = fork();
    if (child == 0) body();
    CHECK(child > 0);
    usleep((useconds_t)(200 + round * 37 % 500));
    CHECK_EQ(kill(child, SIGKILL), 0);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
}

int main(int argc, char** argv) {
  (void)argv;
  if (argc > 1) return 0;
  KillInMidst(ExecForEver, 200);
  KillInMidst(VforkForEver, 100);
  // Two threads exec at once: one of them wins.
  for (int round = 0; round < 50; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      pthread_t thread;
      if (pthread_create(&thread, NULL, Exec, NULL) != 0) _exit(1);
      Exec(NULL);
      _exit(2);
    }
    CHECK(child > 0);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  return Finish();
}
