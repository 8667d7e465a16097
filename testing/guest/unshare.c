// unshare: a thread gets a descriptor table, or a cwd and umask, of its own; what it refuses.
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void* Files(void* unused) {
  CHECK_EQ(unshare(CLONE_FILES), 0);
  CHECK_EQ(close(5), 0);
  CHECK_EQ(dup2(0, 6), 6);
  return unused;
}

static void* Folder(void* unused) {
  CHECK_EQ(unshare(CLONE_FS), 0);
  CHECK_EQ(chdir("/"), 0);
  umask(077);
  // To be alone in the process cannot be asked for.
  CHECK_FAILS(unshare(CLONE_THREAD), EINVAL);
  CHECK_FAILS(unshare(CLONE_VM), EINVAL);
  CHECK_FAILS(unshare(CLONE_SIGHAND), EINVAL);
  return unused;
}

int main(void) {
  EnterScratchFolder();
  pthread_t thread;
  CHECK_EQ(dup2(1, 5), 5);
  close(6);
  CHECK_EQ(pthread_create(&thread, NULL, Files, NULL), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(fcntl(5, F_GETFD), 0);
  CHECK_FAILS(fcntl(6, F_GETFD), EBADF);
  char before[256], after[256];
  CHECK(getcwd(before, sizeof before) != NULL);
  umask(022);
  CHECK_EQ(pthread_create(&thread, NULL, Folder, NULL), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK(getcwd(after, sizeof after) != NULL);
  CHECK_EQ(strcmp(before, after), 0);
  CHECK_EQ(umask(022), 022);
  CHECK_EQ(unshare(0), 0);
  CHECK_EQ(unshare(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM), 0);
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQ(unshare(CLONE_THREAD), 0);
    CHECK_EQ(unshare(CLONE_VM | CLONE_SIGHAND), 0);
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_FAILS(unshare(1), EINVAL);
  CHECK_FAILS(unshare(CLONE_PARENT), EINVAL);
  return Finish();
}
