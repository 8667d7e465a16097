// A loop without syscalls dies of SIGKILL, takes signals, and holds up neither other processes nor a sibling's mmap.
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static volatile int stop;
static void Handler(int signal) { (void)signal, stop = 1; }
static void* Spin(void* unused) {
  while (!stop) {
  }
  return unused;
}

int main(void) {
  pid_t spinners[3];
  int status;
  for (int i = 0; i < 3; ++i)
    if ((spinners[i] = fork()) == 0)
      for (;;) {
      }
  usleep(10000);
  for (int i = 0; i < 3; ++i) {
    CHECK_EQ(kill(spinners[i], SIGKILL), 0);
    CHECK_EQ(waitpid(spinners[i], &status, 0), spinners[i]);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  pid_t child = fork();
  if (child == 0) {
    signal(SIGUSR1, Handler);
    kill(getppid(), SIGCONT);
    Spin(NULL);
    _exit(12);
  }
  usleep(20000);
  CHECK_EQ(kill(child, SIGUSR1), 0);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 12) || WTERMSIG(status) == SIGUSR1);
  pthread_t threads[2];
  for (int i = 0; i < 2; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Spin, NULL), 0);
  for (int i = 0; i < 50; ++i) {
    char* p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p[0] = 1;
    CHECK_EQ(mprotect(p, 4096, PROT_READ), 0);
    CHECK_EQ(munmap(p, 8192), 0);
  }
  stop = 1;
  for (int i = 0; i < 2; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  return Finish();
}
