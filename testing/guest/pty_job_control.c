// Job control: controlling terminals, /dev/tty, foreground and background, stops from the keyboard and from background
// reads and writes, orphaned process groups.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>

static int master;
static char name[64];
static int orphan_done[2];

// Fields 5 to 8 of /proc/self/stat: group, session, terminal, foreground group.
static void ReadStat(int* session, int* terminal, int* foreground) {
  int group;
  FILE* file = fopen("/proc/self/stat", "r");
  CHECK(file != NULL);
  CHECK_EQ(fscanf(file, "%*d (%*[^)]) %*c %*d %d %d %d %d", &group, session, terminal, foreground), 4);
  fclose(file);
  CHECK_EQ(group, getpgrp());
}

// A background job that does `act`; how the shell sees it end, or stop.
static int RunInBackground(int slave, void (*act)(int slave)) {
  int status;
  pid_t job = fork();
  CHECK(job >= 0);
  if (job == 0) {
    CHECK_EQ(setpgid(0, 0), 0);
    act(slave);
    _exit(0);
  }
  CHECK_EQ(waitpid(job, &status, WUNTRACED), job);
  if (!WIFSTOPPED(status)) return status;
  int stopped_by = WSTOPSIG(status);
  CHECK_EQ(kill(-job, SIGKILL), 0);
  CHECK_EQ(waitpid(job, &status, 0), job);
  return -stopped_by;
}
static void Read(int slave) {
  char text[10];
  read(slave, text, sizeof text);
}
static void ReadIgnoring(int slave) {
  char text[10];
  signal(SIGTTIN, SIG_IGN);
  CHECK_FAILS(read(slave, text, sizeof text), EIO);
}
static void Write(int slave) { CHECK_EQ(write(slave, "x", 1), 1); }
static void WriteIgnoring(int slave) {
  signal(SIGTTOU, SIG_IGN);
  CHECK_EQ(write(slave, "x", 1), 1);
}
static void ChangeSettings(int slave) {
  struct termios settings;
  CHECK_EQ(tcgetattr(slave, &settings), 0);
  tcsetattr(slave, TCSANOW, &settings);
}
static void TakeForeground(int slave) { tcsetpgrp(slave, getpgrp()); }
// A process group whose members' parents have ended has nobody in the session who could continue it.
static void ReadOrphaned(int slave) {
  char text[10];
  pid_t job = getpid();
  if (fork() != 0) return;
  CHECK_EQ(setpgid(0, 0), 0);
  while (getppid() == job) usleep(1000);
  CHECK_FAILS(read(slave, text, sizeof text), EIO);
  CHECK_EQ(write(slave, "orphan", 6), 6);
  CHECK_EQ(write(orphan_done[1], "x", 1), 1);
  _exit(0);
}

static void Shell(void) {
  int session, terminal, foreground, status, value;
  struct termios settings;
  struct stat info;
  close(master);
  CHECK(setsid() > 0);
  CHECK_FAILS(open("/dev/tty", O_RDWR), ENXIO);
  ReadStat(&session, &terminal, &foreground);
  CHECK_EQ(session, getpid());
  CHECK_EQ(terminal, 0);
  CHECK_EQ(foreground, -1);

  // O_NOCTTY, and a file that cannot be read, do not make it ours. A plain open does.
  int slave = open(name, O_RDWR | O_NOCTTY);
  CHECK_FAILS(tcgetpgrp(slave), ENOTTY);
  CHECK_FAILS(ioctl(slave, TIOCNOTTY), ENOTTY);
  close(open(name, O_WRONLY));
  CHECK_FAILS(tcgetpgrp(slave), ENOTTY);
  close(open(name, O_RDONLY));
  CHECK_EQ(tcgetpgrp(slave), getpid());
  CHECK_EQ(tcgetsid(slave), getpid());
  CHECK_EQ(ioctl(slave, TIOCSCTTY, 0), 0);  // once more is no error
  int tty = open("/dev/tty", O_RDWR);
  CHECK(tty >= 0);
  CHECK_EQ(tcgetpgrp(tty), getpid());
  CHECK_EQ(fstat(tty, &info), 0);
  CHECK_EQ(info.st_rdev, makedev(5, 0));
  close(tty);
  ReadStat(&session, &terminal, &foreground);
  CHECK_EQ(terminal, (int)makedev(136, atoi(name + 9)));
  CHECK_EQ(foreground, getpid());

  // A second terminal is not to be had.
  int other_master, other;
  CHECK_EQ(openpty(&other_master, &other, NULL, NULL, NULL), 0);
  CHECK_FAILS(ioctl(other, TIOCSCTTY, 0), EPERM);
  CHECK_FAILS(tcsetpgrp(other, getpgrp()), ENOTTY);

  // Which groups may come to the foreground.
  value = 999999;
  CHECK_FAILS(ioctl(slave, TIOCSPGRP, &value), ESRCH);
  value = -1;
  CHECK_FAILS(ioctl(slave, TIOCSPGRP, &value), EINVAL);
  value = getppid();
  CHECK_FAILS(ioctl(slave, TIOCSPGRP, &value), EPERM);
  CHECK_FAILS(ioctl(slave, TIOCSPGRP, (void*)8), EFAULT);

  // The background.
  CHECK_EQ(RunInBackground(slave, Read), -SIGTTIN);
  CHECK_EQ(RunInBackground(slave, ReadIgnoring), 0);
  CHECK_EQ(RunInBackground(slave, Write), 0);
  CHECK_EQ(RunInBackground(slave, ChangeSettings), -SIGTTOU);
  CHECK_EQ(RunInBackground(slave, TakeForeground), -SIGTTOU);
  CHECK_EQ(tcgetpgrp(slave), getpid());
  CHECK_EQ(tcgetattr(slave, &settings), 0);
  settings.c_lflag |= TOSTOP;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  CHECK_EQ(RunInBackground(slave, Write), -SIGTTOU);
  CHECK_EQ(RunInBackground(slave, WriteIgnoring), 0);
  settings.c_lflag &= ~TOSTOP;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  CHECK_EQ(pipe(orphan_done), 0);
  CHECK_EQ(RunInBackground(slave, ReadOrphaned), 0);
  CHECK_EQ(read(orphan_done[0], &value, 1), 1);

  // A job in the foreground stops at ^Z, goes on with fg, reads, ends at ^C.
  CHECK_EQ(write(slave, "ready\n", 6), 6);
  pid_t job = fork();
  if (job == 0) {
    char text[100];
    CHECK_EQ(setpgid(0, 0), 0);
    signal(SIGTTOU, SIG_IGN);
    CHECK_EQ(tcsetpgrp(slave, getpid()), 0);
    signal(SIGTTOU, SIG_DFL);
    CHECK_EQ(write(slave, "job\n", 4), 4);
    CHECK_EQ(read(slave, text, sizeof text), 6);
    CHECK_EQ(write(slave, "heard\n", 6), 6);
    for (;;) pause();
  }
  CHECK_EQ(waitpid(job, &status, WUNTRACED), job);
  CHECK(WIFSTOPPED(status));
  CHECK_EQ(WSTOPSIG(status), SIGTSTP);
  signal(SIGTTOU, SIG_IGN);
  CHECK_EQ(tcsetpgrp(slave, getpid()), 0);
  CHECK_EQ(write(slave, "stopped\n", 8), 8);
  CHECK_EQ(tcsetpgrp(slave, job), 0);
  CHECK_EQ(kill(-job, SIGCONT), 0);
  CHECK_EQ(waitpid(job, &status, WUNTRACED), job);
  CHECK(WIFSIGNALED(status));
  CHECK_EQ(WTERMSIG(status), SIGINT);
  CHECK_EQ(tcsetpgrp(slave, getpid()), 0);

  // Giving the terminal up.
  signal(SIGHUP, SIG_IGN);
  CHECK_EQ(ioctl(slave, TIOCNOTTY), 0);
  CHECK_FAILS(open("/dev/tty", O_RDWR), ENXIO);
  CHECK_FAILS(tcgetpgrp(slave), ENOTTY);
  CHECK_EQ(ioctl(slave, TIOCSCTTY, 0), 0);
  CHECK_EQ(tcgetpgrp(slave), getpid());
  CHECK_EQ(write(slave, "done\n", 5), 5);
  _exit(0);
}

// Reads until `text` has come.
static void Expect(const char* text) {
  static char seen[10000];
  static size_t length;
  while (strstr(seen, text) == NULL) {
    struct pollfd p = {master, POLLIN, 0};
    CHECK_EQ(poll(&p, 1, 60000), 1);
    ssize_t n = read(master, seen + length, sizeof seen - 1 - length);
    CHECK(n > 0);
    length += n;
  }
}

int main(void) {
  int status;
  master = posix_openpt(O_RDWR | O_NOCTTY);
  CHECK(master >= 0);
  CHECK_EQ(grantpt(master), 0);
  CHECK_EQ(unlockpt(master), 0);
  CHECK_EQ(ptsname_r(master, name, sizeof name), 0);
  pid_t shell = fork();
  if (shell == 0) Shell();
  Expect("ready");
  Expect("job");
  CHECK_EQ(write(master, "\032", 1), 1);
  Expect("stopped");
  CHECK_EQ(write(master, "hello\n", 6), 6);
  Expect("heard");
  CHECK_EQ(write(master, "\003", 1), 1);
  Expect("done");
  CHECK_EQ(waitpid(shell, &status, 0), shell);
  CHECK_EQ(status, 0);
  Expect("orphan");
  return Finish();
}
