// sigsuspend swaps the mask and waits in one step; the old mask is back afterwards.
#include "check.h"
#include <signal.h>
#include <sys/wait.h>

static volatile int calls;
static void Handler(int signal) { (void)signal, calls++; }

int main(void) {
  struct sigaction action = {0};
  action.sa_handler = Handler;
  sigaction(SIGUSR1, &action, NULL);
  sigset_t block, empty, now;
  sigemptyset(&block), sigaddset(&block, SIGUSR1), sigemptyset(&empty);
  sigprocmask(SIG_BLOCK, &block, NULL);
  for (int i = 0; i < 50; ++i) {
    pid_t child = fork();
    if (child == 0) {
      kill(getppid(), SIGUSR1);
      _exit(0);
    }
    CHECK_FAILS(sigsuspend(&empty), EINTR);
    CHECK_EQ(calls, i + 1);
    sigprocmask(SIG_SETMASK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR1));
    CHECK_EQ(waitpid(child, NULL, 0), child);
  }
  return Finish();
}
