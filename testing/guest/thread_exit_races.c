// Threads that end in every order: the first before the others, all at once, by exit and by exec.
#include "check.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void* Sleep(void* microseconds) {
  usleep((useconds_t)(intptr_t)microseconds);
  return NULL;
}
static void* ExitWith(void* status) {
  usleep(2000);
  _exit((int)(intptr_t)status);
}
static void* LastOne(void* unused) {
  (void)unused;
  usleep(20000);
  syscall(SYS_exit, 9);
  return NULL;
}
static void* ExecIt(void* program) {
  usleep(2000);
  char* argv[] = {program, "again", NULL};
  execv("/proc/self/exe", argv);
  _exit(99);
}

static int StatusOf(pid_t child) {
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  return status;
}

int main(int argc, char** argv) {
  if (argc > 1) {
    CHECK_EQ(getpid(), syscall(SYS_gettid));
    return 33;
  }
  pthread_t t;
  for (int round = 0; round < 10; ++round) {
    pid_t child = fork();
    if (child == 0) {  // many end while the process does
      for (int i = 0; i < 10; ++i) CHECK_EQ(pthread_create(&t, NULL, Sleep, (void*)(intptr_t)(i * 100)), 0);
      usleep((useconds_t)round * 100);
      _exit(round);
    }
    CHECK_EQ(StatusOf(child), round << 8);
  }
  pid_t child = fork();
  if (child == 0) {  // the first thread ends first
    CHECK_EQ(pthread_create(&t, NULL, ExitWith, (void*)7), 0);
    syscall(SYS_exit, 1);
  }
  CHECK_EQ(StatusOf(child), 7 << 8);
  child = fork();
  if (child == 0) {  // nobody says exit_group: the status is the first thread's, or the last's
    CHECK_EQ(pthread_create(&t, NULL, LastOne, NULL), 0);
    syscall(SYS_exit, 9);
  }
  CHECK_EQ(StatusOf(child), 9 << 8);
  child = fork();
  if (child == 0) {  // another than the first executes a program, while others run
    for (int i = 0; i < 5; ++i) CHECK_EQ(pthread_create(&t, NULL, Sleep, (void*)10000000), 0);
    CHECK_EQ(pthread_create(&t, NULL, ExecIt, argv[0]), 0);
    for (;;) pause();
  }
  CHECK_EQ(StatusOf(child), 33 << 8);
  return Finish();
}
