// waitid: P_PID, P_PGID, P_ALL; WNOWAIT, WNOHANG, stopped and continued children; what siginfo tells.
#include "check.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int main(void) {
  siginfo_t info;
  CHECK_FAILS(waitid(P_ALL, 0, &info, WEXITED), ECHILD);
  CHECK_FAILS(waitid(P_ALL, 0, &info, 0), EINVAL);
  CHECK_FAILS(waitid(P_ALL, 0, &info, WEXITED | 0x10000000 | 0x100), EINVAL);
  CHECK_FAILS(waitid(P_PID, 0, &info, WEXITED), EINVAL);
  CHECK_FAILS(waitid((idtype_t)9, 0, &info, WEXITED), EINVAL);

  pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  memset(&info, 0xff, sizeof(info));
  CHECK_EQ(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG), 0);
  CHECK(info.si_pid == 0 && info.si_signo == 0);
  CHECK_EQ(kill(child, SIGSTOP), 0);
  CHECK_EQ(waitid(P_PID, (id_t)child, &info, WSTOPPED | WNOWAIT), 0);
  CHECK(info.si_signo == SIGCHLD && info.si_code == CLD_STOPPED && info.si_status == SIGSTOP && info.si_pid == child);
  CHECK_EQ(waitid(P_ALL, 0, &info, WSTOPPED), 0);
  CHECK_EQ(waitid(P_ALL, 0, &info, WSTOPPED | WNOHANG), 0);
  CHECK_EQ(info.si_pid, 0);
  CHECK_EQ(kill(child, SIGCONT), 0);
  CHECK_EQ(waitid(P_PGID, (id_t)getpgrp(), &info, WCONTINUED), 0);
  CHECK(info.si_code == CLD_CONTINUED && info.si_status == SIGCONT);
  CHECK_EQ(kill(child, SIGTERM), 0);
  CHECK_EQ(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
  CHECK(info.si_code == CLD_KILLED && info.si_status == SIGTERM && info.si_uid == getuid());
  struct rusage usage;
  memset(&usage, 0xff, sizeof(usage));
  CHECK_EQ(syscall(SYS_waitid, P_PID, child, &info, WEXITED, &usage), 0);
  CHECK(usage.ru_utime.tv_sec >= 0 && usage.ru_utime.tv_usec < 1000000 && usage.ru_maxrss >= 0);
  CHECK_FAILS(waitid(P_PID, (id_t)child, &info, WEXITED), ECHILD);

  child = fork();
  if (child == 0) _exit(300);
  CHECK_EQ(waitid(P_PGID, 0, &info, WEXITED), 0);
  CHECK(info.si_code == CLD_EXITED && info.si_status == (300 & 0xff));
  CHECK_EQ(syscall(SYS_waitid, P_ALL, 0, NULL, WEXITED | WNOHANG, NULL), -1);
  CHECK_EQ(errno, ECHILD);
  return Finish();
}
