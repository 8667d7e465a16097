// clone3 and clone: sizes and flags that are refused, tids written, exit signals, shared and copied files.
#include "check.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static long Clone3(struct clone_args* args, size_t size) { return syscall(SYS_clone3, args, size); }

int main(void) {
  struct clone_args args = {0};
  CHECK_FAILS(Clone3(&args, 56), EINVAL);
  CHECK_FAILS(Clone3((struct clone_args*)8, sizeof(args)), EFAULT);
  args.flags = CLONE_THREAD;
  CHECK_FAILS(Clone3(&args, sizeof(args)), EINVAL);
  args.flags = CLONE_SIGHAND;
  CHECK_FAILS(Clone3(&args, sizeof(args)), EINVAL);
  args.flags = CLONE_DETACHED;
  CHECK_FAILS(Clone3(&args, sizeof(args)), EINVAL);
  args.flags = 0, args.exit_signal = 65;
  CHECK_FAILS(Clone3(&args, sizeof(args)), EINVAL);
  args.exit_signal = 0, args.stack_size = 4096;
  CHECK_FAILS(Clone3(&args, sizeof(args)), EINVAL);
  CHECK_FAILS(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0), EINVAL);
  CHECK_FAILS(syscall(SYS_clone, CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0), EINVAL);

  // A child as by fork, its number written on both sides.
  int parent_tid = 0;
  static int child_tid;
  args = (struct clone_args){.flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
                             .exit_signal = SIGCHLD,
                             .parent_tid = (uintptr_t)&parent_tid,
                             .child_tid = (uintptr_t)&child_tid};
  long child = Clone3(&args, sizeof(args));
  CHECK(child >= 0);
  if (child == 0) _exit(child_tid == getpid() ? 4 : 5);
  CHECK_EQ(parent_tid, child);
  CHECK_EQ(child_tid, 0);
  int status;
  CHECK_EQ(waitpid((pid_t)child, &status, 0), child);
  CHECK_EQ(status, 4 << 8);

  // Shared descriptors and working directory.
  EnterScratchFolder();
  CHECK_EQ(mkdir("below", 0700), 0);
  args = (struct clone_args){.flags = CLONE_FILES | CLONE_FS, .exit_signal = SIGCHLD};
  child = Clone3(&args, sizeof(args));
  if (child == 0) {
    CHECK_EQ(chdir("below"), 0);
    CHECK_EQ(dup2(1, 50), 50);
    _exit(0);
  }
  CHECK_EQ(waitpid((pid_t)child, &status, 0), child);
  CHECK_EQ(fcntl(50, F_GETFD), 0);
  CHECK_EQ(access("../below", F_OK), 0);

  // No signal at the end: found by __WALL and __WCLONE only.
  args = (struct clone_args){.exit_signal = 0};
  child = Clone3(&args, sizeof(args));
  if (child == 0) _exit(6);
  CHECK_FAILS(waitpid((pid_t)child, &status, 0), ECHILD);
  CHECK_EQ(waitpid((pid_t)child, &status, __WCLONE), child);
  CHECK_EQ(status, 6 << 8);
  return Finish();
}
