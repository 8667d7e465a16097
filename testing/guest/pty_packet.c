// TIOCPKT: a byte in front of data, and events instead of them.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;

// The events that come until none has come for a moment, joined.
static int Events(void) {
  unsigned char text[100];
  int events = 0;
  struct pollfd p = {master, POLLIN | POLLPRI, 0};
  while (poll(&p, 1, 50) == 1 && (p.revents & POLLPRI)) {
    CHECK(p.revents & POLLIN);
    CHECK_EQ(read(master, text, sizeof text), 1);
    events |= text[0];
  }
  return events;
}

int main(void) {
  unsigned char text[100];
  int on = 1, off = 0;
  struct termios settings;
  CHECK_EQ(openpty(&master, &slave, NULL, NULL, NULL), 0);
  CHECK_FAILS(ioctl(slave, TIOCPKT, &on), ENOTTY);
  CHECK_EQ(ioctl(master, TIOCPKT, &on), 0);
  int value = 0;
  CHECK_EQ(ioctl(master, 0x80045438 /* TIOCGPKT */, &value), 0);
  CHECK_EQ(value, 1);

  CHECK_EQ(write(slave, "data", 4), 4);
  CHECK_EQ(read(master, text, sizeof text), 5);
  CHECK_EQ(memcmp(text, "\0data", 5), 0);
  CHECK_EQ(write(slave, "two parts", 9), 9);
  CHECK_EQ(read(master, text, 4), 4);
  CHECK_EQ(memcmp(text, "\0two", 4), 0);
  CHECK_EQ(read(master, text, sizeof text), 7);
  CHECK_EQ(memcmp(text, "\0 parts", 7), 0);

  CHECK_EQ(tcflush(slave, TCIFLUSH), 0);
  CHECK_EQ(Events(), TIOCPKT_FLUSHREAD);
  CHECK_EQ(tcflush(slave, TCOFLUSH), 0);
  CHECK_EQ(Events(), TIOCPKT_FLUSHWRITE);
  CHECK_EQ(tcflow(slave, TCOOFF), 0);
  CHECK_EQ(Events(), TIOCPKT_STOP);
  CHECK_EQ(tcflow(slave, TCOON), 0);
  CHECK_EQ(Events(), TIOCPKT_START);

  CHECK_EQ(tcgetattr(slave, &settings), 0);
  settings.c_iflag &= ~IXON;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  CHECK_EQ(Events(), TIOCPKT_NOSTOP);
  settings.c_iflag |= IXON;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  CHECK_EQ(Events(), TIOCPKT_DOSTOP);
  settings.c_lflag |= EXTPROC;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  CHECK_EQ(Events(), TIOCPKT_IOCTL);
  settings.c_lflag &= ~EXTPROC;
  CHECK_EQ(tcsetattr(slave, TCSANOW, &settings), 0);
  CHECK_EQ(Events(), TIOCPKT_IOCTL);

  CHECK_EQ(ioctl(master, TIOCPKT, &off), 0);
  CHECK_EQ(tcflush(slave, TCIFLUSH), 0);
  CHECK_EQ(write(slave, "plain", 5), 5);
  CHECK_EQ(read(master, text, sizeof text), 5);
  return Finish();
}
