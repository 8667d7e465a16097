// Arguments and environment arrive whole; close-on-exec closes; caught signals fall back to default, ignored and blocked ones stay.
#include "check.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static void Handler(int signal) { (void)signal; }

static int Child(int argc, char** argv) {
  CHECK_EQ(argc, 5);
  CHECK(strcmp(argv[2], "") == 0);
  CHECK(strcmp(argv[3], "two words") == 0);
  CHECK_EQ(strlen(argv[4]), 50000);
  CHECK(strcmp(getenv("COLOUR"), "green") == 0);
  CHECK(getenv("HOME") == NULL);
  CHECK_FAILS(fcntl(30, F_GETFD), EBADF);
  CHECK_EQ(fcntl(31, F_GETFD), 0);
  struct sigaction action;
  CHECK_EQ(sigaction(SIGUSR1, NULL, &action), 0);
  CHECK(action.sa_handler == SIG_DFL);
  CHECK_EQ(sigaction(SIGUSR2, NULL, &action), 0);
  CHECK(action.sa_handler == SIG_IGN);
  sigset_t mask;
  CHECK_EQ(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
  CHECK(sigismember(&mask, SIGTERM));
  CHECK(!sigismember(&mask, SIGINT));
  return 77;
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "child") == 0) return Child(argc, argv);
  signal(SIGUSR1, Handler);
  signal(SIGUSR2, SIG_IGN);
  sigset_t mask;
  sigemptyset(&mask), sigaddset(&mask, SIGTERM);
  sigprocmask(SIG_BLOCK, &mask, NULL);
  CHECK_EQ(dup3(0, 30, O_CLOEXEC), 30);
  CHECK_EQ(dup2(0, 31), 31);
  char* longest = malloc(50001);
  memset(longest, 'x', 50000);
  longest[50000] = 0;
  pid_t child = fork();
  if (child == 0) {
    char* args[] = {"renamed", "child", "", "two words", longest, NULL};
    char* environment[] = {"COLOUR=green", "EMPTY=", NULL};
    execve("/proc/self/exe", args, environment);
    _exit(1);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 77);
  return Finish();
}
