// Stream sockets with names: bind, listen, accept, connect, credentials, refusals, a full backlog, autobind.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static socklen_t Address(struct sockaddr_un* a, const char* name, int length) {
  memset(a, 0, sizeof *a);
  a->sun_family = AF_UNIX;
  memcpy(a->sun_path, name, length);
  return offsetof(struct sockaddr_un, sun_path) + length;
}

static int Ready(int fd) {
  struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
  CHECK(poll(&p, 1, 0) >= 0);
  return p.revents;
}

static void TestByName(const char* name, int length, int type) {
  struct sockaddr_un a, told;
  socklen_t n = Address(&a, name, length), told_length;
  int listener = socket(AF_UNIX, type, 0);
  CHECK(listener >= 0);
  CHECK_EQ(Ready(listener), POLLOUT | POLLHUP);
  CHECK_FAILS(listen(listener, 5), EINVAL);
  CHECK_EQ(bind(listener, (struct sockaddr*)&a, n), 0);
  struct sockaddr_un second;
  socklen_t second_length = Address(&second, "elsewhere", 9);
  CHECK_FAILS(bind(listener, (struct sockaddr*)&second, second_length), EINVAL);
  int other = socket(AF_UNIX, type, 0);
  CHECK_FAILS(bind(other, (struct sockaddr*)&a, n), EADDRINUSE);
  CHECK_FAILS(connect(other, (struct sockaddr*)&a, n), ECONNREFUSED);
  CHECK_EQ(listen(listener, 5), 0);
  CHECK_EQ(Ready(listener), 0);
  CHECK_FAILS(accept4(listener, NULL, NULL, 1), EINVAL);
  int wrong = socket(AF_UNIX, SOCK_DGRAM, 0);
  // Abstract names are told apart by their type too.
  CHECK_FAILS(connect(wrong, (struct sockaddr*)&a, n), name[0] ? EPROTOTYPE : ECONNREFUSED);
  CHECK_FAILS(accept(wrong, NULL, NULL), EOPNOTSUPP);
  CHECK_FAILS(listen(wrong, 1), EOPNOTSUPP);
  close(wrong);

  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK_EQ(connect(other, (struct sockaddr*)&a, n), 0);
    CHECK_FAILS(connect(other, (struct sockaddr*)&a, n), EISCONN);
    CHECK_EQ(write(other, "question", 8), 8);
    char b[20];
    CHECK_EQ(read(other, b, 20), 6);
    CHECK(memcmp(b, "answer", 6) == 0);
    struct ucred peer;
    socklen_t peer_length = sizeof peer;
    CHECK_EQ(getsockopt(other, SOL_SOCKET, SO_PEERCRED, &peer, &peer_length), 0);
    CHECK_EQ(peer.pid, getppid());
    _exit(0);
  }
  close(other);
  told_length = sizeof told;
  int fd = accept4(listener, (struct sockaddr*)&told, &told_length, SOCK_CLOEXEC);
  CHECK(fd >= 0);
  CHECK_EQ(told_length, 2);  // the client has no name
  CHECK_EQ(told.sun_family, AF_UNIX);
  CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  struct ucred peer;
  socklen_t peer_length = sizeof peer;
  CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_length), 0);
  CHECK_EQ(peer.pid, child);
  told_length = sizeof told;
  CHECK_EQ(getsockname(fd, (struct sockaddr*)&told, &told_length), 0);
  // A path is told with its NUL.
  CHECK_EQ(told_length, name[0] == 0 ? n : n + 1);
  CHECK(memcmp(told.sun_path, name, length) == 0);
  char b[20];
  CHECK_EQ(read(fd, b, 20), 8);
  CHECK_EQ(write(fd, "answer", 6), 6);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(read(fd, b, 20), 0);
  close(fd);
  CHECK_FAILS(read(listener, b, 1), type == SOCK_STREAM ? EINVAL : ENOTCONN);
  close(listener);
  other = socket(AF_UNIX, type, 0);
  CHECK_FAILS(connect(other, (struct sockaddr*)&a, n), ECONNREFUSED);
  told_length = sizeof told;
  CHECK_EQ(getsockname(other, (struct sockaddr*)&told, &told_length), 0);
  CHECK_EQ(told_length, 2);
  CHECK_FAILS(getpeername(other, (struct sockaddr*)&told, &told_length), ENOTCONN);
  close(other);
}

static void TestBacklog(void) {
  struct sockaddr_un a;
  sa_family_t family = AF_UNIX;
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_EQ(bind(listener, (struct sockaddr*)&family, sizeof family), 0);
  socklen_t n = sizeof a;
  CHECK_EQ(getsockname(listener, (struct sockaddr*)&a, &n), 0);
  CHECK_EQ(n, 8);  // NUL and five digits
  CHECK_EQ(a.sun_path[0], 0);
  CHECK_EQ(listen(listener, 0), 0);
  int first = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), second = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  CHECK_EQ(connect(first, (struct sockaddr*)&a, n), 0);
  CHECK_EQ(Ready(listener), POLLIN);
  CHECK_FAILS(connect(second, (struct sockaddr*)&a, n), EAGAIN);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    close(listener);
    // Waits until there is room.
    CHECK_EQ(fcntl(second, F_SETFL, 0), 0);
    CHECK_EQ(connect(second, (struct sockaddr*)&a, n), 0);
    CHECK_EQ(write(second, "2", 1), 1);
    char b;
    CHECK_EQ(read(second, &b, 1), 1);
    _exit(0);
  }
  usleep(20000);
  // What a client writes before it is accepted is there afterwards.
  CHECK_EQ(write(first, "1", 1), 1);
  char b = 0;
  int fd = accept(listener, NULL, NULL);
  CHECK(fd >= 0);
  CHECK_EQ(read(fd, &b, 1), 1);
  CHECK_EQ(b, '1');
  int fd2 = accept(listener, NULL, NULL);
  CHECK(fd2 >= 0);
  CHECK_EQ(read(fd2, &b, 1), 1);
  CHECK_EQ(b, '2');
  CHECK_EQ(write(fd2, "x", 1), 1);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
  CHECK_FAILS(accept(listener, NULL, NULL), EAGAIN);
  // Connections that nobody accepted are reset by the listener's end.
  int third = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_EQ(connect(third, (struct sockaddr*)&a, n), 0);
  close(listener);
  CHECK_FAILS(read(third, &b, 1), ECONNRESET);
  CHECK_EQ(read(third, &b, 1), 0);
  close(third);
  close(first);
  close(second);
}

int main(void) {
  EnterScratchFolder();
  struct sockaddr_un a;
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(s >= 0);
  char b[10];
  CHECK_FAILS(read(s, b, 10), EINVAL);
  CHECK_FAILS(send(s, b, 10, MSG_NOSIGNAL), ENOTCONN);
  CHECK_FAILS(connect(s, (struct sockaddr*)&a, Address(&a, "absent", 6)), ENOENT);
  CHECK_FAILS(connect(s, (struct sockaddr*)&a, Address(&a, "\0absent", 7)), ECONNREFUSED);
  CHECK_FAILS(connect(s, (struct sockaddr*)&a, 1), EINVAL);
  CHECK_FAILS(bind(s, (struct sockaddr*)&a, 111), EINVAL);
  CHECK_FAILS(bind(s, (struct sockaddr*)&a, -1), EINVAL);
  CHECK_FAILS(bind(s, (struct sockaddr*)8, 10), EFAULT);
  CHECK_FAILS(bind(s, (struct sockaddr*)&a, Address(&a, "absent/name", 11)), ENOENT);
  int file = open("plain", O_CREAT | O_WRONLY, 0600);
  close(file);
  CHECK_FAILS(connect(s, (struct sockaddr*)&a, Address(&a, "plain", 5)), ECONNREFUSED);
  CHECK_FAILS(bind(s, (struct sockaddr*)&a, Address(&a, "plain", 5)), EADDRINUSE);
  close(s);

  umask(027);
  TestByName("name", 4, SOCK_STREAM);
  struct stat st;
  CHECK_EQ(stat("name", &st), 0);
  CHECK_EQ(st.st_mode, S_IFSOCK | 0750);
  CHECK_FAILS(open("name", O_RDWR), ENXIO);
  CHECK_EQ(unlink("name"), 0);
  TestByName("packets", 7, SOCK_SEQPACKET);
  CHECK_EQ(unlink("packets"), 0);
  char abstract[30];
  int n = snprintf(abstract, sizeof abstract, "%cremora-guest-%d", 0, getpid());
  TestByName(abstract, n, SOCK_STREAM);
  TestBacklog();
  return Finish();
}
