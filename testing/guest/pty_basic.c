// A pty pair: names, numbers, modes and settings of a new one; bytes go both ways; the lock; sizes of both ends'
// queues; calls on either end.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

struct kernel_termios {
  unsigned iflag, oflag, cflag, lflag;
  unsigned char line, cc[19];
};

static short Poll(int fd, short events) {
  struct pollfd p = {fd, events, 0};
  CHECK(poll(&p, 1, 0) >= 0);
  return p.revents;
}

int main(void) {
  char name[64], other[64], link[64], text[100];
  int number, value, master = posix_openpt(O_RDWR | O_NOCTTY);
  CHECK(master >= 0);
  struct stat status, by_name;
  CHECK_EQ(fstat(master, &status), 0);
  CHECK(S_ISCHR(status.st_mode));
  CHECK_EQ(major(status.st_rdev), 5);
  CHECK_EQ(minor(status.st_rdev), 2);
  CHECK_EQ(ioctl(master, TIOCGPTN, &number), 0);
  snprintf(name, sizeof name, "/dev/pts/%d", number);
  CHECK_EQ(ptsname_r(master, other, sizeof other), 0);
  CHECK_EQ(strcmp(name, other), 0);
  CHECK_EQ(stat(name, &by_name), 0);
  CHECK_EQ(by_name.st_rdev, makedev(136, number));
  CHECK_EQ(by_name.st_uid, geteuid());
  CHECK_EQ(by_name.st_nlink, 1);
  CHECK_EQ(by_name.st_mode & ~0020u, S_IFCHR | 0600);  // 0620, or 0600 where devpts is mounted so

  // Locked until unlockpt.
  CHECK_FAILS(open(name, O_RDWR | O_NOCTTY), EIO);
  CHECK_EQ(ioctl(master, TIOCGPTLCK, &value), 0);
  CHECK_EQ(value, 1);
  CHECK_EQ(grantpt(master), 0);
  CHECK_EQ(unlockpt(master), 0);
  CHECK_EQ(ioctl(master, TIOCGPTLCK, &value), 0);
  CHECK_EQ(value, 0);

  // A master without a slave is no error.
  CHECK_EQ(Poll(master, POLLIN | POLLOUT), POLLOUT);
  CHECK_EQ(fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK), 0);
  CHECK_FAILS(read(master, text, 1), EAGAIN);

  int slave = open(name, O_RDWR | O_NOCTTY);
  CHECK(slave >= 0);
  CHECK_EQ(isatty(slave), 1);
  CHECK_EQ(isatty(master), 1);
  CHECK_EQ(ttyname_r(slave, other, sizeof other), 0);
  CHECK_EQ(strcmp(name, other), 0);
  snprintf(link, sizeof link, "/proc/self/fd/%d", slave);
  ssize_t n = readlink(link, other, sizeof other - 1);
  CHECK_EQ(n, strlen(name));
  CHECK_EQ(memcmp(name, other, n), 0);
  CHECK_EQ(fstat(slave, &status), 0);
  CHECK_EQ(status.st_ino, by_name.st_ino);
  CHECK_EQ(status.st_dev, by_name.st_dev);
  CHECK_EQ(chmod(name, 0644), 0);
  CHECK_EQ(fstat(slave, &status), 0);
  CHECK_EQ(status.st_mode, S_IFCHR | 0644);

  struct kernel_termios settings, same;
  CHECK_EQ(ioctl(slave, TCGETS, &settings), 0);
  CHECK_EQ(settings.iflag, ICRNL | IXON);
  CHECK_EQ(settings.oflag, OPOST | ONLCR);
  CHECK_EQ(settings.cflag, B38400 | CS8 | CREAD);
  CHECK_EQ(settings.lflag, ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN);
  CHECK_EQ(memcmp(settings.cc, "\3\34\177\25\4\0\1\0\21\23\32\0\22\17\27\26\0\0\0", 19), 0);
  CHECK_EQ(ioctl(master, TCGETS, &same), 0);  // the slave's
  CHECK_EQ(memcmp(&settings, &same, sizeof same), 0);
  settings.lflag &= ~ECHO;
  settings.cflag = B9600 | CS7 | PARENB;  // a pty has eight bits and no parity, and always reads
  CHECK_EQ(ioctl(master, TCSETS, &settings), 0);
  CHECK_EQ(ioctl(slave, TCGETS, &same), 0);
  CHECK_EQ(same.lflag & ECHO, 0);
  CHECK_EQ(same.cflag, B9600 | CS8 | CREAD);

  CHECK_EQ(write(slave, "out\n", 4), 4);
  CHECK_EQ(Poll(master, POLLIN), POLLIN);
  CHECK_EQ(read(master, text, sizeof text), 5);
  CHECK_EQ(memcmp(text, "out\r\n", 5), 0);
  CHECK_EQ(Poll(slave, POLLIN | POLLOUT), POLLOUT);
  CHECK_EQ(write(master, "in\r", 3), 3);
  CHECK_EQ(Poll(slave, POLLIN), POLLIN);
  CHECK_EQ(ioctl(slave, FIONREAD, &value), 0);
  CHECK_EQ(value, 3);
  CHECK_EQ(ioctl(slave, TIOCOUTQ, &value), 0);
  CHECK_EQ(value, 0);
  CHECK_EQ(read(slave, text, sizeof text), 3);
  CHECK_EQ(memcmp(text, "in\n", 3), 0);

  // The other settings calls.
  unsigned char termio[18] = {0}, termios2[44] = {0};
  CHECK_EQ(ioctl(slave, TCGETA, termio), 0);
  CHECK_EQ(termio[0] | termio[1] << 8, ICRNL | IXON);
  CHECK_EQ(ioctl(slave, TCSETA, termio), 0);
  CHECK_EQ(ioctl(slave, 0x802c542a /* TCGETS2 */, termios2), 0);
  CHECK_EQ(*(unsigned*)(termios2 + 36), 9600);
  CHECK_EQ(*(unsigned*)(termios2 + 40), 9600);
  CHECK_EQ(tcdrain(slave), 0);
  CHECK_EQ(tcsendbreak(slave, 0), 0);
  CHECK_EQ(ioctl(slave, TIOCGETD, &value), 0);
  CHECK_EQ(value, 0);
  CHECK_FAILS(ioctl(slave, TIOCGPTN, &value), ENOTTY);
  CHECK_FAILS(ioctl(slave, TIOCSPTLCK, &value), ENOTTY);
  CHECK_FAILS(ioctl(slave, TCGETS, (void*)8), EFAULT);
  CHECK_FAILS(lseek(slave, 0, SEEK_SET), ESPIPE);

  // Unread output fills the line; a writer that does not wait is told.
  CHECK_EQ(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK), 0);
  static char block[65536];
  memset(block, 'x', sizeof block);
  long total = 0;
  for (int i = 0; i < 1000 && (n = write(slave, block, sizeof block)) > 0; usleep(100), ++i) total += n;
  while (write(slave, "x", 1) == 1) ++total;  // the host has some room for a byte where it has none for many
  CHECK_EQ(errno, EAGAIN);
  CHECK(total > 4096 && total < 65536);
  CHECK_EQ(Poll(slave, POLLOUT), 0);
  long got = 0;
  while ((n = read(master, block, sizeof block)) > 0) got += n;
  CHECK_EQ(got, total);
  CHECK_EQ(Poll(slave, POLLOUT), POLLOUT);

  // TIOCGPTPEER, TIOCEXCL, flushing.
  int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  CHECK(peer >= 0);
  CHECK_EQ(fcntl(peer, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(ttyname_r(peer, other, sizeof other), 0);
  CHECK_EQ(strcmp(name, other), 0);
  CHECK_EQ(write(master, "typed\n", 6), 6);
  CHECK_EQ(Poll(peer, POLLIN), POLLIN);
  CHECK_EQ(tcflush(peer, TCIFLUSH), 0);
  CHECK_EQ(Poll(peer, POLLIN), 0);
  CHECK_EQ(ioctl(peer, TIOCEXCL), 0);
  value = 0;
  CHECK_EQ(ioctl(slave, 0x80045440 /* TIOCGEXCL */, &value), 0);
  CHECK_EQ(value, 1);
  CHECK_EQ(ioctl(peer, TIOCNXCL), 0);

  // A second pty has another number; a closed one's name is gone, and its number free again.
  int second = posix_openpt(O_RDWR), second_number;
  CHECK_EQ(ioctl(second, TIOCGPTN, &second_number), 0);
  CHECK(second_number != number);
  close(second);
  snprintf(other, sizeof other, "/dev/pts/%d", second_number);
  CHECK_FAILS(stat(other, &status), ENOENT);
  return Finish();
}
