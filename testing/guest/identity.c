// User and group ids agree with each other; changes are refused or kept as for the caller's privilege.
#include "check.h"
#include <grp.h>
#include <sys/wait.h>

int main(void) {
  uid_t r, e, s;
  gid_t gr, ge, gs;
  CHECK_EQ(getresuid(&r, &e, &s), 0);
  CHECK_EQ(getresgid(&gr, &ge, &gs), 0);
  CHECK(r == getuid() && e == geteuid() && gr == getgid() && ge == getegid());
  gid_t groups[256];
  int n = getgroups(0, NULL);
  CHECK(n >= 0 && n <= 256);
  CHECK_EQ(getgroups(256, groups), n);
  if (n > 1) CHECK_FAILS(getgroups(1, groups), EINVAL);
  CHECK_EQ(setuid(getuid()), 0);
  pid_t child = fork();
  if (child == 0) {
    if (Privileged()) {
      gid_t list[2] = {7, 9};
      CHECK_EQ(setgroups(2, list), 0);
      CHECK_EQ(getgroups(256, groups), 2);
      CHECK_EQ(setresgid(10, 11, 12), 0);
      CHECK_EQ(setresuid(20, 21, 22), 0);
      CHECK_EQ(getresuid(&r, &e, &s), 0);
      CHECK(r == 20 && e == 21 && s == 22);
      CHECK_EQ(seteuid(20), 0);
      CHECK_EQ(geteuid(), 20);
    }
    if (geteuid() != 0) {
      CHECK_FAILS(setuid(12345), EPERM);
      CHECK_FAILS(setgroups(0, NULL), EPERM);
    }
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  return Finish();
}
