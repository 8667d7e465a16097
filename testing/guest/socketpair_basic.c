// socketpair: both ways, end, EPIPE and SIGPIPE, boundaries, readiness, how full it becomes, shutdown, options.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

static volatile int num_sigpipes;
static void OnSigpipe(int signal) {
  (void)signal;
  num_sigpipes++;
}

static int Ready(int fd) {
  struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
  CHECK(poll(&p, 1, 0) >= 0);
  return p.revents;
}

static int Option(int fd, int option) {
  int value = -1;
  socklen_t length = sizeof value;
  CHECK_EQ(getsockopt(fd, SOL_SOCKET, option, &value, &length), 0);
  CHECK_EQ(length, 4);
  return value;
}

static void TestStream(void) {
  int s[2];
  char b[100];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  struct stat st;
  CHECK_EQ(fstat(s[0], &st), 0);
  CHECK(S_ISSOCK(st.st_mode));
  char link[64], target[64] = {0}, expected[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", s[0]);
  CHECK(readlink(link, target, sizeof target - 1) > 0);
  snprintf(expected, sizeof expected, "socket:[%llu]", (unsigned long long)st.st_ino);
  CHECK(strcmp(target, expected) == 0);
  CHECK_FAILS(lseek(s[0], 0, SEEK_SET), ESPIPE);

  CHECK_EQ(Ready(s[1]), POLLOUT);
  CHECK_EQ(write(s[0], "hello ", 6), 6);
  CHECK_EQ(send(s[0], "world", 5, 0), 5);
  CHECK_EQ(Ready(s[1]), POLLIN | POLLOUT);
  int available = 0;
  CHECK_EQ(ioctl(s[1], FIONREAD, &available), 0);
  CHECK_EQ(available, 11);
  CHECK_EQ(recv(s[1], b, 8, MSG_PEEK), 8);
  CHECK_EQ(read(s[1], b, 8), 8);
  CHECK(memcmp(b, "hello wo", 8) == 0);
  CHECK_EQ(read(s[1], b, 100), 3);
  CHECK_FAILS(recv(s[1], b, 100, MSG_DONTWAIT), EAGAIN);
  struct iovec iov[2] = {{"ab", 2}, {"cde", 3}};
  CHECK_EQ(writev(s[1], iov, 2), 5);
  CHECK_EQ(read(s[0], b, 100), 5);

  // The end comes behind what was written.
  CHECK_EQ(write(s[0], "x", 1), 1);
  CHECK_EQ(close(s[0]), 0);
  CHECK_EQ(Ready(s[1]), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  CHECK_EQ(read(s[1], b, 100), 1);
  CHECK_EQ(read(s[1], b, 100), 0);
  num_sigpipes = 0;
  CHECK_FAILS(write(s[1], "y", 1), EPIPE);
  CHECK_EQ(num_sigpipes, 1);
  CHECK_FAILS(send(s[1], "y", 1, 0), EPIPE);
  CHECK_EQ(num_sigpipes, 2);
  CHECK_FAILS(send(s[1], "y", 1, MSG_NOSIGNAL), EPIPE);
  CHECK_EQ(num_sigpipes, 2);
  CHECK_EQ(close(s[1]), 0);

  // Closed with something unread: the peer is reset, once.
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  CHECK_EQ(write(s[0], "x", 1), 1);
  CHECK_EQ(close(s[1]), 0);
  CHECK(Ready(s[0]) & POLLERR);
  CHECK_FAILS(read(s[0], b, 1), ECONNRESET);
  CHECK_EQ(read(s[0], b, 1), 0);
  CHECK_EQ(close(s[0]), 0);
}

static void TestShutdown(void) {
  int s[2];
  char b[10];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  CHECK_FAILS(shutdown(s[0], 3), EINVAL);
  CHECK_FAILS(shutdown(0x7fff, 1), EBADF);
  CHECK_EQ(write(s[0], "x", 1), 1);
  CHECK_EQ(shutdown(s[0], SHUT_WR), 0);
  CHECK_EQ(Ready(s[0]), POLLOUT);
  CHECK_EQ(Ready(s[1]), POLLIN | POLLOUT | POLLRDHUP);
  CHECK_FAILS(send(s[0], "y", 1, MSG_NOSIGNAL), EPIPE);
  CHECK_EQ(read(s[1], b, 10), 1);
  CHECK_EQ(read(s[1], b, 10), 0);
  CHECK_EQ(write(s[1], "back", 4), 4);
  CHECK_EQ(read(s[0], b, 10), 4);
  CHECK_EQ(shutdown(s[0], SHUT_RD), 0);
  CHECK_EQ(Ready(s[1]), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  CHECK_FAILS(send(s[1], "y", 1, MSG_NOSIGNAL), EPIPE);
  close(s[0]);
  close(s[1]);
}

static void TestPackets(int type) {
  int s[2];
  char b[100];
  static char big[212992];
  CHECK_EQ(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s), 0);
  CHECK_EQ(fcntl(s[0], F_GETFD), FD_CLOEXEC);
  CHECK(fcntl(s[0], F_GETFL) & O_NONBLOCK);
  CHECK_EQ(Option(s[0], SO_TYPE), type);
  CHECK_EQ(write(s[0], "one", 3), 3);
  CHECK_EQ(write(s[0], "", 0), 0);
  CHECK_EQ(write(s[0], "three", 5), 5);
  CHECK_EQ(read(s[1], b, 100), 3);
  CHECK_EQ(recv(s[1], b, 100, 0), 0);
  CHECK_EQ(read(s[1], b, 2), 2);
  CHECK_FAILS(read(s[1], b, 100), EAGAIN);
  CHECK_EQ(send(s[0], "12345", 5, 0), 5);
  CHECK_EQ(recv(s[1], b, 2, MSG_PEEK | MSG_TRUNC), 5);
  CHECK_EQ(recv(s[1], b, 2, MSG_TRUNC), 5);
  CHECK_FAILS(write(s[0], big, 212992 - 31), EMSGSIZE);
  CHECK_EQ(write(s[0], big, 212992 - 32), 212992 - 32);
  CHECK_FAILS(write(s[0], "x", 1), EAGAIN);
  CHECK_EQ(Ready(s[0]), 0);
  CHECK_EQ(read(s[1], big, sizeof big), 212992 - 32);
  CHECK_EQ(Ready(s[0]), POLLOUT);
  // A fault takes the packet away.
  CHECK_EQ(write(s[0], "lost", 4), 4);
  CHECK_FAILS(read(s[1], (void*)8, 4), EFAULT);
  CHECK_FAILS(read(s[1], b, 4), EAGAIN);
  num_sigpipes = 0;
  CHECK_EQ(close(s[1]), 0);
  CHECK_FAILS(write(s[0], "x", 1), type == SOCK_DGRAM ? ECONNREFUSED : EPIPE);
  CHECK_EQ(num_sigpipes, 0);
  CHECK_EQ(close(s[0]), 0);
}

// How much goes in does not matter to programs, but small writes must not be without bound.
static void TestFull(void) {
  int s[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
  int num_writes = 0;
  while (write(s[0], "x", 1) == 1) num_writes++;
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(num_writes, 278);
  CHECK_EQ(Ready(s[0]), 0);
  char b[300];
  CHECK_EQ(read(s[1], b, 300), 278);
  CHECK_EQ(Ready(s[0]), POLLOUT);
  close(s[0]);
  close(s[1]);
}

// More than fits, both sides blocking, in two processes; MSG_WAITALL gathers.
static void TestBlocking(void) {
  int s[2];
  enum { kBytes = 1000000 };
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    close(s[0]);
    unsigned char* bytes = malloc(kBytes);
    for (int i = 0; i < kBytes; i++) bytes[i] = (unsigned char)(i * 7 >> 3);
    CHECK_EQ(write(s[1], bytes, kBytes), kBytes);
    CHECK_EQ(send(s[1], bytes, kBytes, 0), kBytes);
    _exit(0);
  }
  close(s[1]);
  unsigned char* bytes = malloc(kBytes);
  CHECK_EQ(recv(s[0], bytes, kBytes, MSG_WAITALL), kBytes);
  for (int i = 0; i < kBytes; i++) CHECK_EQ(bytes[i], (unsigned char)(i * 7 >> 3));
  int total = 0, n;
  while ((n = read(s[0], bytes, 777)) > 0) total += n;
  CHECK_EQ(n, 0);
  CHECK_EQ(total, kBytes);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  close(s[0]);
}

static void TestOptions(void) {
  int s[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  CHECK_EQ(Option(s[0], SO_TYPE), SOCK_STREAM);
  CHECK_EQ(Option(s[0], SO_DOMAIN), AF_UNIX);
  CHECK_EQ(Option(s[0], SO_ERROR), 0);
  CHECK_EQ(Option(s[0], SO_ACCEPTCONN), 0);
  CHECK_EQ(Option(s[0], SO_SNDBUF), 212992);
  CHECK_EQ(Option(s[0], SO_RCVBUF), 212992);
  int value = 10000;
  CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &value, sizeof value), 0);
  CHECK_EQ(Option(s[0], SO_SNDBUF), 20000);
  value = 1;
  CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &value, sizeof value), 0);
  CHECK_EQ(Option(s[0], SO_SNDBUF), 4608);
  CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_RCVBUF, &value, sizeof value), 0);
  CHECK_EQ(Option(s[0], SO_RCVBUF), 2304);
  CHECK_EQ(Option(s[0], SO_REUSEADDR), 0);
  CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_REUSEADDR, &value, sizeof value), 0);
  CHECK_EQ(Option(s[0], SO_REUSEADDR), 1);
  CHECK_FAILS(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &value, 2), EINVAL);
  CHECK_FAILS(setsockopt(s[0], SOL_SOCKET, 9999, &value, 4), ENOPROTOOPT);
  struct ucred peer;
  socklen_t length = sizeof peer;
  CHECK_EQ(getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &peer, &length), 0);
  CHECK_EQ(peer.pid, getpid());
  CHECK_EQ(peer.uid, geteuid());
  CHECK_EQ(peer.gid, getegid());
  char name[4] = {0};
  length = 2;
  CHECK_EQ(getsockopt(s[0], SOL_SOCKET, SO_TYPE, name, &length), 0);
  CHECK_EQ(length, 2);
  CHECK_EQ(name[0], SOCK_STREAM);
  close(s[0]);
  close(s[1]);
}

int main(void) {
  struct sigaction action = {.sa_handler = OnSigpipe};
  CHECK_EQ(sigaction(SIGPIPE, &action, NULL), 0);
  int s[2];
  CHECK_FAILS(socketpair(AF_UNIX, 77, 0, s), EINVAL);
  CHECK_FAILS(socketpair(AF_UNIX, SOCK_RDM, 0, s), ESOCKTNOSUPPORT);
  CHECK_FAILS(socketpair(AF_UNIX, SOCK_STREAM, 5, s), EPROTONOSUPPORT);
  CHECK_FAILS(socketpair(99, SOCK_STREAM, 0, s), EAFNOSUPPORT);
  CHECK_FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, (int*)8), EFAULT);
  CHECK_FAILS(shutdown(1, SHUT_WR), ENOTSOCK);
  CHECK_EQ(pipe(s), 0);
  char b[1];
  CHECK_FAILS(recv(s[0], b, 1, 0), ENOTSOCK);
  CHECK_FAILS(send(s[1], b, 1, 0), ENOTSOCK);
  TestStream();
  TestShutdown();
  TestPackets(SOCK_DGRAM);
  TestPackets(SOCK_SEQPACKET);
  TestFull();
  TestBlocking();
  TestOptions();
  return Finish();
}
