// The window's size: both ends share it, and a change tells the foreground group.
#include "check.h"
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <utmp.h>

static volatile sig_atomic_t num_changes;
static void Count(int signal) { num_changes += signal == SIGWINCH; }

int main(void) {
  int master, slave, ready[2], status;
  char byte;
  struct winsize size = {24, 80, 640, 480}, got = {0};
  CHECK_EQ(openpty(&master, &slave, NULL, NULL, NULL), 0);
  CHECK_EQ(ioctl(slave, TIOCGWINSZ, &got), 0);
  CHECK_EQ(got.ws_row | got.ws_col, 0);
  CHECK_EQ(ioctl(master, TIOCSWINSZ, &size), 0);
  CHECK_EQ(ioctl(slave, TIOCGWINSZ, &got), 0);
  CHECK_EQ(memcmp(&size, &got, sizeof got), 0);
  size.ws_col = 132;
  CHECK_EQ(ioctl(slave, TIOCSWINSZ, &size), 0);
  CHECK_EQ(ioctl(master, TIOCGWINSZ, &got), 0);
  CHECK_EQ(got.ws_col, 132);
  CHECK_FAILS(ioctl(slave, TIOCSWINSZ, (void*)8), EFAULT);

  CHECK_EQ(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQ(login_tty(slave), 0);
    signal(SIGWINCH, Count);
    CHECK_EQ(write(ready[1], "x", 1), 1);
    for (int i = 0; i < 10000 && num_changes == 0; ++i) usleep(1000);
    CHECK_EQ(num_changes, 1);
    CHECK_EQ(ioctl(0, TIOCGWINSZ, &got), 0);
    CHECK_EQ(got.ws_row, 50);
    // The same once more is no change; the slave's own end signals too.
    CHECK_EQ(ioctl(0, TIOCSWINSZ, &got), 0);
    CHECK_EQ(num_changes, 1);
    got.ws_row = 51;
    CHECK_EQ(ioctl(0, TIOCSWINSZ, &got), 0);
    for (int i = 0; i < 10000 && num_changes == 1; ++i) usleep(1000);
    CHECK_EQ(num_changes, 2);
    _exit(0);
  }
  CHECK_EQ(read(ready[0], &byte, 1), 1);
  size.ws_row = 50;
  CHECK_EQ(ioctl(master, TIOCSWINSZ, &size), 0);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  return Finish();
}
