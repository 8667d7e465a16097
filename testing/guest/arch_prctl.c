// The FS and GS bases: set, read, used by segment overrides, kept across fork, refused when not canonical.
#include "check.h"
#include <asm/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static uint64_t area[4] = {11, 22, 33, 44};

int main(void) {
  uint64_t fs = 0, gs = 1;
  CHECK_EQ(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs), 0);
  CHECK(fs != 0);
  CHECK_EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, area), 0);
  CHECK_EQ(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs), 0);
  CHECK_EQ(gs, (uintptr_t)area);
  uint64_t value;
  __asm__ volatile("mov %%gs:16, %0" : "=r"(value));
  CHECK_EQ(value, 33);
  __asm__ volatile("movq $55, %%gs:24" ::: "memory");
  CHECK_EQ(area[3], 55);
  pid_t child = fork();
  if (child == 0) {
    __asm__ volatile("mov %%gs:8, %0" : "=r"(value));
    _exit((int)value);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(WEXITSTATUS(status), 22);
  CHECK_FAILS(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x8000000000000000), EPERM);
  CHECK_FAILS(syscall(SYS_arch_prctl, 0x9999, 0), EINVAL);
  return Finish();
}
