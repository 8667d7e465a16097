// nice values and I/O priorities: kept for each thread, inherited, told for groups, and refused.
#include "check.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int IoGet(int which, int who) { return (int)syscall(SYS_ioprio_get, which, who); }
static int IoSet(int which, int who, int value) { return (int)syscall(SYS_ioprio_set, which, who, value); }

static long thread_id;
static void* OfThread(void* unused) {
  thread_id = syscall(SYS_gettid);
  CHECK_EQ(getpriority(PRIO_PROCESS, 0), 5);
  CHECK_EQ(setpriority(PRIO_PROCESS, 0, 9), 0);
  CHECK_EQ(getpriority(PRIO_PROCESS, 0), 9);
  CHECK_EQ(getpriority(PRIO_PROCESS, getpid()), 5);
  return unused;
}

int main(void) {
  // In a process group of its own: who started us may have another nice value.
  pid_t own = fork();
  if (own != 0) {
    int own_status;
    CHECK_EQ(waitpid(own, &own_status, 0), own);
    return own_status != 0;
  }
  CHECK_EQ(setpgid(0, 0), 0);
  // A test run may be nice itself, but not nicer than this.
  CHECK(getpriority(PRIO_PROCESS, 0) <= 5);
  CHECK_EQ(setpriority(PRIO_PROCESS, 0, 5), 0);
  CHECK_EQ(getpriority(PRIO_PROCESS, getpid()), 5);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, OfThread, NULL), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  // A join ends before the thread does: for a moment it is still one of the group, with values of its own.
  while (syscall(SYS_tgkill, getpid(), thread_id, 0) == 0) syscall(SYS_sched_yield);
  errno = 0;
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), 5);
    errno = 0;
    CHECK_EQ(nice(2), 7);
    // The lowest of the group is told.
    CHECK_EQ(getpriority(PRIO_PGRP, 0), 5);
    CHECK_EQ(setpriority(PRIO_PGRP, 0, 10), 0);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(getpriority(PRIO_PROCESS, 0), 10);
  CHECK_EQ(setpriority(PRIO_PROCESS, 0, 100), 0);
  CHECK_EQ(getpriority(PRIO_PROCESS, 0), 19);
  FILE* stat = fopen("/proc/self/stat", "r");
  int priority = 0, nice_value = 0;
  CHECK_EQ(
      fscanf(stat, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %d %d", &priority, &nice_value),
      2);
  fclose(stat);
  CHECK(priority == 39 && nice_value == 19);
  if (Privileged()) {
    CHECK_EQ(setpriority(PRIO_PROCESS, 0, -3), 0);
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), -3);
  }
  CHECK_FAILS(getpriority(3, 0), EINVAL);
  CHECK_FAILS(getpriority(PRIO_PROCESS, 1 << 22), ESRCH);
  CHECK_FAILS(getpriority(PRIO_PGRP, 1 << 22), ESRCH);
  CHECK_FAILS(getpriority(PRIO_USER, 54321), ESRCH);
  CHECK_FAILS(setpriority(PRIO_PROCESS, 1 << 22, 0), ESRCH);

  CHECK_EQ(IoGet(1, 0), 0);
  CHECK_EQ(IoSet(1, 0, 2 << 13 | 5), 0);
  CHECK_EQ(IoGet(1, 0), 2 << 13 | 5);
  child = fork();
  if (child == 0) {
    CHECK_EQ(IoGet(1, 0), 2 << 13 | 5);
    CHECK_EQ(IoSet(1, 0, 3 << 13), 0);
    CHECK_EQ(IoGet(2, getpgrp()), 2 << 13 | 5);
    _exit(0);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(IoSet(1, getpid(), 0), 0);
  CHECK_EQ(IoGet(1, 0), 0);
  CHECK_FAILS(IoSet(1, 0, 3), EINVAL);
  CHECK_FAILS(IoSet(1, 0, 4 << 13), EINVAL);
  CHECK_FAILS(IoSet(4, 0, 0), EINVAL);
  CHECK_FAILS(IoGet(0, 0), EINVAL);
  CHECK_FAILS(IoGet(1, 1 << 22), ESRCH);
  return Finish();
}
