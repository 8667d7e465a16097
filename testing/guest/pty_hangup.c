// What the two ends of a pty see when the other one is closed.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

static short Poll(int fd) {
  struct pollfd p = {fd, POLLIN | POLLOUT, 0};
  CHECK(poll(&p, 1, 0) >= 0);
  return p.revents;
}
static int OpenMaster(char* name, size_t size) {
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  CHECK(master >= 0);
  CHECK_EQ(grantpt(master), 0);
  CHECK_EQ(unlockpt(master), 0);
  CHECK_EQ(ptsname_r(master, name, size), 0);
  return master;
}
static volatile sig_atomic_t num_hangups, num_continues;
static void Count(int signal) { *(signal == SIGHUP ? &num_hangups : &num_continues) += 1; }

int main(void) {
  char name[64], text[100];
  int status, ready[2];
  struct termios settings;

  // The last slave closes: the master reads what is left, then EIO; it may go on writing, and a slave may come back.
  int master = OpenMaster(name, sizeof name);
  int slave = open(name, O_RDWR | O_NOCTTY), second = dup(slave);
  CHECK_EQ(write(slave, "left", 4), 4);
  close(slave);
  CHECK_EQ(Poll(master) & POLLHUP, 0);
  close(second);
  CHECK_EQ(Poll(master), POLLIN | POLLOUT | POLLHUP);
  CHECK_EQ(read(master, text, sizeof text), 4);
  CHECK_FAILS(read(master, text, sizeof text), EIO);
  CHECK_EQ(Poll(master), POLLOUT | POLLHUP);
  CHECK_EQ(write(master, "kept\n", 5), 5);
  slave = open(name, O_RDWR | O_NOCTTY);
  CHECK(slave >= 0);
  CHECK_EQ(Poll(master) & POLLHUP, 0);
  CHECK_EQ(read(slave, text, sizeof text), 5);

  // The master closes: end of file, EIO, and the name is gone.
  CHECK_EQ(write(master, "lost\n", 5), 5);
  close(master);
  CHECK_EQ(read(slave, text, sizeof text), 0);
  CHECK_FAILS(write(slave, "x", 1), EIO);
  CHECK_FAILS(tcgetattr(slave, &settings), EIO);
  CHECK_EQ(isatty(slave), 0);
  CHECK_EQ(Poll(slave), POLLIN | POLLOUT | POLLERR | POLLHUP);
  CHECK_FAILS(open(name, O_RDWR | O_NOCTTY), ENOENT);
  struct stat gone;
  CHECK_EQ(fstat(slave, &gone), 0);
  CHECK_EQ(gone.st_nlink, 0);
  close(slave);

  // A reader that waits is told EIO once.
  master = OpenMaster(name, sizeof name);
  slave = open(name, O_RDWR | O_NOCTTY);
  if (fork() == 0) {
    close(master);
    CHECK_FAILS(read(slave, text, sizeof text), EIO);
    CHECK_EQ(read(slave, text, sizeof text), 0);
    _exit(0);
  }
  usleep(50000);
  close(master);
  CHECK(wait(&status) > 0);
  CHECK_EQ(status, 0);
  close(slave);

  // So is one of the master, when the last slave closes.
  master = OpenMaster(name, sizeof name);
  pid_t child = fork();
  if (child == 0) {
    slave = open(name, O_RDWR | O_NOCTTY);
    CHECK_EQ(write(slave, "x", 1), 1);
    usleep(50000);
    _exit(0);
  }
  CHECK_EQ(read(master, text, sizeof text), 1);
  CHECK_FAILS(read(master, text, sizeof text), EIO);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  close(master);

  // The session leader hears SIGHUP and SIGCONT, and has no terminal then.
  CHECK_EQ(pipe(ready), 0);
  master = OpenMaster(name, sizeof name);
  child = fork();
  if (child == 0) {
    signal(SIGHUP, Count);
    signal(SIGCONT, Count);
    close(master);
    CHECK(setsid() > 0);
    slave = open(name, O_RDWR);  // becomes the controlling terminal
    CHECK_EQ(tcgetsid(slave), getpid());
    CHECK_EQ(write(ready[1], "x", 1), 1);
    for (int i = 0; i < 10000 && (!num_hangups || !num_continues); ++i) usleep(1000);
    CHECK_EQ(num_hangups, 1);
    CHECK_EQ(num_continues, 1);
    CHECK_FAILS(open("/dev/tty", O_RDWR), ENXIO);
    _exit(0);
  }
  CHECK_EQ(read(ready[0], text, 1), 1);
  close(master);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);

  // The foreground group hears SIGHUP when the session leader ends.
  master = OpenMaster(name, sizeof name);
  child = fork();
  if (child == 0) {
    CHECK(setsid() > 0);
    slave = open(name, O_RDWR);
    pid_t job = fork();
    if (job == 0) {
      CHECK_EQ(setpgid(0, 0), 0);
      signal(SIGTTOU, SIG_IGN);
      CHECK_EQ(tcsetpgrp(slave, getpid()), 0);
      signal(SIGHUP, Count);
      CHECK_EQ(write(ready[1], "x", 1), 1);
      for (int i = 0; i < 10000 && !num_hangups; ++i) usleep(1000);
      CHECK_EQ(num_hangups, 1);
      // The line is nobody's terminal now: its next user may be another session.
      CHECK_FAILS(open("/dev/tty", O_RDWR), ENXIO);
      CHECK_EQ(write(ready[1], "y", 1), 1);
      _exit(0);
    }
    CHECK_EQ(read(ready[0], text, 1), 1);
    _exit(0);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(read(ready[0], text, 1), 1);
  CHECK_EQ(text[0], 'y');
  return Finish();
}
