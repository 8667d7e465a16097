// membarrier: what there is, registration, and the Dekker-like race that it is for.
#include "check.h"
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { kQuery = 0, kGlobal = 1, kPrivate = 8, kRegisterPrivate = 16 };
static int Membarrier(int command, unsigned flags) { return (int)syscall(SYS_membarrier, command, flags, 0); }

static volatile int fast_wants, slow_wants, both, rounds_done;
static volatile int stop;

// The fast side has a compiler barrier only.
static void* Fast(void* unused) {
  while (!stop) {
    fast_wants = 1;
    __asm__ volatile("" ::: "memory");
    if (!slow_wants) {
      both++;
      both--;
    }
    __asm__ volatile("" ::: "memory");
    fast_wants = 0;
    rounds_done = 1;
  }
  return unused;
}

int main(void) {
  int commands = Membarrier(kQuery, 0);
  CHECK((commands & (kGlobal | kPrivate | kRegisterPrivate)) == (kGlobal | kPrivate | kRegisterPrivate));
  CHECK_FAILS(Membarrier(kPrivate, 0), EPERM);
  CHECK_EQ(Membarrier(kRegisterPrivate, 0), 0);
  CHECK_EQ(Membarrier(kPrivate, 0), 0);
  CHECK_EQ(Membarrier(kGlobal, 0), 0);
  CHECK_FAILS(Membarrier(kQuery, 1), EINVAL);
  CHECK_FAILS(Membarrier(3, 0), EINVAL);
  CHECK_FAILS(Membarrier(1 << 20, 0), EINVAL);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, Fast, NULL), 0);
  while (!rounds_done) {
  }
  for (int i = 0; i < 300; ++i) {
    slow_wants = 1;
    CHECK_EQ(Membarrier(kPrivate, 0), 0);
    if (!fast_wants) CHECK_EQ(both, 0);
    slow_wants = 0;
  }
  for (int i = 0; i < 3; ++i) CHECK_EQ(Membarrier(kGlobal, 0), 0);
  stop = 1;
  CHECK_EQ(pthread_join(thread, NULL), 0);
  // A child is registered as its parent was.
  pid_t child = fork();
  if (child == 0) _exit(Membarrier(kPrivate, 0) != 0);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  return Finish();
}
