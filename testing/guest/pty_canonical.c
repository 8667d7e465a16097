// Lines: editing, ends of file, echo, what a read of part of a line leaves; what changes when the mode does; output
// processing.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;

static void Type(const char* keys) { CHECK_EQ(write(master, keys, strlen(keys)), strlen(keys)); }
// All that the master has to read, once there is that much; then no more.
static void ExpectShown(const char* expected) {
  char text[1000];
  size_t length = 0;
  while (length < strlen(expected)) {
    struct pollfd p = {master, POLLIN, 0};
    if (poll(&p, 1, 5000) != 1) break;
    ssize_t n = read(master, text + length, sizeof text - 1 - length);
    CHECK(n > 0);
    length += n;
  }
  text[length] = 0;
  if (strcmp(text, expected) != 0) {
    dprintf(2, "shown is \"%s\", not \"%s\"\n", text, expected);
    CHECK(0);
  }
}
static void ExpectRead(size_t max, const char* expected) {
  char text[1000];
  ssize_t n = read(slave, text, max);
  CHECK_EQ(n, strlen(expected));
  CHECK_EQ(memcmp(text, expected, n), 0);
}
static int Readable(void) {
  struct pollfd p = {slave, POLLIN, 0};
  CHECK(poll(&p, 1, 0) >= 0);
  return p.revents & POLLIN;
}

int main(void) {
  struct termios settings, changed;
  CHECK_EQ(openpty(&master, &slave, NULL, NULL, NULL), 0);
  CHECK_EQ(tcgetattr(slave, &settings), 0);

  Type("hullo\177\177\177\177ello");
  ExpectShown("hullo\b \b\b \b\b \b\b \bello");
  CHECK(!Readable());
  Type("\r");
  ExpectShown("\r\n");
  CHECK(Readable());
  ExpectRead(3, "hel");
  ExpectRead(100, "lo\n");

  Type("wrong line\025two words\027things\n");
  ExpectRead(100, "two things\n");
  Type("\026\003\026\004 is a byte\n");
  ExpectRead(100, "\003\004 is a byte\n");
  tcflush(master, TCIFLUSH);

  // Ends of file: of the line, and of the file.
  Type("no newline\004\004");
  ExpectRead(100, "no newline");
  ExpectRead(100, "");
  Type("one\ntwo\nthree\n");
  ExpectRead(100, "one\n");
  ExpectRead(100, "two\n");
  int count = 0;
  CHECK_EQ(ioctl(slave, FIONREAD, &count), 0);
  CHECK_EQ(count, 6);
  ExpectRead(100, "three\n");
  usleep(1000);
  tcflush(master, TCIFLUSH);

  // What is half typed becomes readable when the line mode ends.
  Type("half");
  CHECK(!Readable());
  changed = settings;
  changed.c_lflag &= ~ICANON;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &changed), 0);
  CHECK(Readable());
  ExpectRead(100, "half");
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  ExpectShown("half");

  // TCSAFLUSH throws away what nobody has read.
  Type("gone\n");
  ExpectShown("gone\r\n");
  changed = settings;
  changed.c_cc[VEOL] = ';';
  changed.c_iflag |= IUTF8;
  CHECK_EQ(tcsetattr(slave, TCSAFLUSH, &changed), 0);
  CHECK(!Readable());
  Type("a;\303\251\177b\n");
  ExpectRead(100, "a;");
  ExpectRead(100, "b\n");
  ExpectShown("a;\303\251\b \bb\r\n");

  // No echo but for the newline.
  changed.c_lflag = (changed.c_lflag & ~ECHO) | ECHONL;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &changed), 0);
  Type("secret\n");
  ExpectShown("\r\n");
  ExpectRead(100, "secret\n");

  // Output.
  CHECK_EQ(write(slave, "a\tb\nc\r", 6), 6);
  ExpectShown("a\tb\r\nc\r");
  changed.c_oflag = OPOST | OCRNL | XTABS | OLCUC;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &changed), 0);
  CHECK_EQ(write(slave, "\ra\tb", 4), 4);
  ExpectShown("\nA       B");
  changed.c_oflag = 0;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &changed), 0);
  CHECK_EQ(write(slave, "a\n\r", 3), 3);
  ExpectShown("a\n\r");

  // ^S stops the output, ^Q starts it.
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  CHECK_EQ(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK), 0);
  Type("\023");
  for (int i = 0; i < 1000; ++i) {  // the host needs a moment
    struct pollfd p = {slave, POLLOUT, 0};
    CHECK(poll(&p, 1, 0) >= 0);
    if (!p.revents) break;
    usleep(1000);
  }
  CHECK_FAILS(write(slave, "x", 1), EAGAIN);
  Type("\021");
  struct pollfd p = {slave, POLLOUT, 0};
  CHECK_EQ(poll(&p, 1, 5000), 1);
  CHECK_EQ(write(slave, "y", 1), 1);
  ExpectShown("y");
  CHECK_EQ(tcflow(slave, TCOOFF), 0);
  CHECK_FAILS(write(slave, "x", 1), EAGAIN);
  CHECK_EQ(tcflow(slave, TCOON), 0);
  CHECK_EQ(tcflow(slave, TCIOFF), 0);
  ExpectShown("\023");
  CHECK_FAILS(tcflow(slave, 99), EINVAL);
  CHECK_FAILS(tcflush(slave, 99), EINVAL);
  return Finish();
}
