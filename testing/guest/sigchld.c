// SIGCHLD carries the child's story; SIG_IGN reaps children by themselves; stop and continue are reported.
#include "check.h"
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static volatile int calls, code, status_value;
static void Handler(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  calls++, code = info->si_code, status_value = info->si_status;
}

// A SIGCONT that comes while the process is about to stop wins, however close it follows.
static void AContinueBehindAStopWins(void) {
  volatile long* ticks = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const pid_t child = fork();
  if (child == 0)
    for (;;) ++*ticks;
  for (int i = 0; i < 2000; ++i) {
    CHECK_EQ(kill(child, SIGSTOP), 0);
    CHECK_EQ(kill(child, SIGCONT), 0);
  }
  for (const long seen = *ticks; *ticks == seen;) sched_yield();  // for ever, if it stands still
  CHECK_EQ(kill(child, SIGKILL), 0);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  CHECK_EQ(munmap((void*)ticks, 4096), 0);
}

int main(void) {
  AContinueBehindAStopWins();
  struct sigaction action = {0};
  action.sa_sigaction = Handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGCHLD, &action, NULL);
  int status;
  pid_t child = fork();
  if (child == 0) _exit(33);
  CHECK_EQ(waitpid(child, &status, 0), child);
  while (!calls) usleep(100);
  CHECK_EQ(code, CLD_EXITED);
  CHECK_EQ(status_value, 33);
  calls = 0;
  child = fork();
  if (child == 0)
    for (;;) pause();
  CHECK_EQ(kill(child, SIGSTOP), 0);
  CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
  CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
  CHECK_EQ(code, CLD_STOPPED);
  CHECK_EQ(waitpid(child, &status, WUNTRACED | WNOHANG), 0);
  CHECK_EQ(kill(child, SIGCONT), 0);
  CHECK_EQ(waitpid(child, &status, WCONTINUED), child);
  CHECK(WIFCONTINUED(status));
  CHECK_EQ(kill(child, SIGKILL), 0);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  while (code != CLD_KILLED) usleep(100);
  signal(SIGCHLD, SIG_IGN);
  for (int i = 0; i < 5; ++i)
    if (fork() == 0) _exit(0);
  CHECK_FAILS(wait(&status), ECHILD);  // waits for all, collects none
  return Finish();
}
