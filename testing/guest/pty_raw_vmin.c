// Reads without line mode: VMIN and VTIME in all four combinations, poll's idea of them, O_NONBLOCK.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>

static int master, slave;
static struct termios settings;

static void Set(int vmin, int vtime) {
  settings.c_cc[VMIN] = vmin;
  settings.c_cc[VTIME] = vtime;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
}
static void Type(const char* keys) { CHECK_EQ(write(master, keys, strlen(keys)), strlen(keys)); }
// From another process, later.
static void TypeLater(const char* keys) {
  if (fork() != 0) return;
  usleep(30000);
  Type(keys);
  _exit(0);
}
static int Readable(int timeout) {
  struct pollfd p = {slave, POLLIN, 0};
  int n = poll(&p, 1, timeout);
  CHECK(n >= 0);
  return n;
}

int main(void) {
  char text[300];
  CHECK_EQ(openpty(&master, &slave, NULL, NULL, NULL), 0);
  CHECK_EQ(tcgetattr(slave, &settings), 0);
  cfmakeraw(&settings);

  // At least VMIN bytes; poll agrees.
  Set(3, 0);
  Type("ab");
  CHECK_EQ(Readable(20), 0);
  TypeLater("cd");
  CHECK_EQ(read(slave, text, sizeof text), 4);
  CHECK_EQ(memcmp(text, "abcd", 4), 0);
  // Who asks for less gets less.
  Type("xy");
  CHECK_EQ(read(slave, text, 2), 2);
  // Who does not wait gets what there is.
  Type("z");
  CHECK_EQ(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK), 0);
  CHECK_EQ(read(slave, text, sizeof text), 1);
  CHECK_FAILS(read(slave, text, sizeof text), EAGAIN);
  CHECK_EQ(fcntl(slave, F_SETFL, O_RDWR), 0);

  // Neither: what there is, or nothing, at once and with O_NONBLOCK too.
  Set(0, 0);
  CHECK_EQ(read(slave, text, sizeof text), 0);
  CHECK_EQ(Readable(0), 0);
  Type("q");
  CHECK_EQ(Readable(1000), 1);
  CHECK_EQ(read(slave, text, sizeof text), 1);

  // VTIME alone: one byte, or the time is over.
  Set(0, 1);
  CHECK_EQ(read(slave, text, sizeof text), 0);
  Set(0, 100);
  TypeLater("r");
  CHECK_EQ(read(slave, text, sizeof text), 1);

  // Both: the time between bytes.
  Set(5, 1);
  TypeLater("ab");
  CHECK_EQ(read(slave, text, sizeof text), 2);
  CHECK_EQ(memcmp(text, "ab", 2), 0);
  Set(4, 100);
  Type("a");
  TypeLater("bcd");
  CHECK_EQ(read(slave, text, sizeof text), 4);

  // VMIN beyond 64 is 64 for Linux.
  Set(200, 0);
  memset(text, 'x', 100);
  text[100] = 0;
  Type(text);
  CHECK_EQ(read(slave, text, sizeof text), 64);
  CHECK_EQ(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK), 0);
  CHECK_EQ(read(slave, text, sizeof text), 36);

  // Bytes are bytes.
  Set(1, 0);
  CHECK_EQ(write(master, "\0\3\r\n\377\21\23", 7), 7);
  CHECK_EQ(Readable(1000), 1);
  CHECK_EQ(read(slave, text, sizeof text), 7);
  CHECK_EQ(memcmp(text, "\0\3\r\n\377\21\23", 7), 0);
  while (wait(NULL) > 0) {
  }
  return Finish();
}
