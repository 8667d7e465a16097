// Keys that signal: ^C, ^\ and ^Z reach the foreground process group, and only that; what they flush; TIOCSIG; a
// waiting read is interrupted or goes on.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

static int master, slave;
static volatile sig_atomic_t counts[65];
static void Count(int signal) { ++counts[signal]; }
static void Await(int signal, int count) {
  for (int i = 0; i < 10000 && counts[signal] < count; ++i) usleep(1000);
  CHECK_EQ(counts[signal], count);
}
static void Type(const char* keys) { CHECK_EQ(write(master, keys, strlen(keys)), strlen(keys)); }

static void OnTerminal(void) {
  char text[100];
  struct termios settings;
  struct sigaction action = {.sa_handler = Count};
  CHECK(setsid() > 0);
  CHECK_EQ(ioctl(slave, TIOCSCTTY, 0), 0);
  CHECK_EQ(tcgetpgrp(slave), getpid());
  for (int signal = 1; signal < 32; ++signal) sigaction(signal, &action, NULL);

  Type("\003");
  Await(SIGINT, 1);
  Type("\034");
  Await(SIGQUIT, 1);
  Type("\032");
  Await(SIGTSTP, 1);
  Type("lost\003");
  Await(SIGINT, 2);
  Type("kept\n");
  CHECK_EQ(read(slave, text, sizeof text), 5);  // and not "lostkept"

  // Without flushing.
  CHECK_EQ(tcgetattr(slave, &settings), 0);
  settings.c_lflag |= NOFLSH;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  Type("not lost\003\n");
  Await(SIGINT, 3);
  CHECK_EQ(read(slave, text, sizeof text), 9);

  // A read that waits is interrupted, or begins again.
  pid_t typist = fork();
  if (typist == 0) {
    usleep(50000);
    Type("\003");
    _exit(0);
  }
  CHECK_FAILS(read(slave, text, sizeof text), EINTR);
  CHECK_EQ(counts[SIGINT], 4);
  CHECK_EQ(waitpid(typist, NULL, 0), typist);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, NULL);
  typist = fork();
  if (typist == 0) {
    signal(SIGINT, SIG_IGN);
    usleep(50000);
    Type("\003");
    usleep(50000);
    Type("line\n");
    _exit(0);
  }
  CHECK_EQ(read(slave, text, sizeof text), 5);
  CHECK_EQ(counts[SIGINT], 5);
  CHECK_EQ(waitpid(typist, NULL, 0), typist);

  // Another group in the foreground: it alone is signalled.
  pid_t job = fork();
  if (job == 0) {
    counts[SIGINT] = 0;
    CHECK_EQ(setpgid(0, 0), 0);
    signal(SIGTTOU, SIG_IGN);
    CHECK_EQ(tcsetpgrp(slave, getpid()), 0);
    Type("\003");
    Await(SIGINT, 1);
    int group;
    CHECK_EQ(ioctl(master, TIOCGPGRP, &group), 0);
    CHECK_EQ(group, getpid());
    CHECK_EQ(ioctl(master, TIOCSIG, SIGQUIT), 0);
    Await(SIGQUIT, 2);
    CHECK_FAILS(ioctl(master, TIOCSIG, SIGUSR1), EINVAL);
    _exit(0);
  }
  int status;
  while (waitpid(job, &status, 0) < 0) CHECK_EQ(errno, EINTR);
  CHECK_EQ(status, 0);
  CHECK_EQ(counts[SIGINT], 5);
  CHECK_EQ(counts[SIGQUIT], 1);
  _exit(0);
}

int main(void) {
  int status;
  char text[1000];
  CHECK_EQ(openpty(&master, &slave, NULL, NULL, NULL), 0);
  // Nobody's terminal: a key is a key.
  Type("\003");
  CHECK_FAILS(tcgetsid(slave), ENOTTY);
  CHECK_FAILS(tcgetpgrp(slave), ENOTTY);
  pid_t child = fork();
  if (child == 0) OnTerminal();
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  ssize_t n = read(master, text, sizeof text);
  CHECK(n >= 2);  // a later key may have flushed an earlier one's echo
  CHECK_EQ(memcmp(text, "^C", 2), 0);
  return Finish();
}
