// Files and credentials in messages: sendmsg, recvmsg, what is cut, what is dropped, sockets inside sockets.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

static long SendFiles(int socket, const char* text, const int* fds, int num_fds) {
  char control[CMSG_SPACE(260 * sizeof(int))] = {0};
  struct iovec iov = {(void*)text, strlen(text)};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
  m.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
  memcpy(CMSG_DATA(c), fds, num_fds * sizeof(int));
  return sendmsg(socket, &m, 0);
}

// Receives up to length bytes and room for num_fds files; the number of files that came.
static int ReceiveFiles(int socket, char* text, int length, int* fds, int num_fds, int flags, int* message_flags) {
  char control[CMSG_SPACE(260 * sizeof(int))];
  struct iovec iov = {text, length};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
  m.msg_controllen = num_fds ? CMSG_LEN(num_fds * sizeof(int)) : 0;
  memset(text, 0, length);
  CHECK(recvmsg(socket, &m, flags) >= 0);
  *message_flags = m.msg_flags;
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (!c) return 0;
  CHECK_EQ(c->cmsg_level, SOL_SOCKET);
  CHECK_EQ(c->cmsg_type, SCM_RIGHTS);
  int n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  memcpy(fds, CMSG_DATA(c), n * sizeof(int));
  return n;
}

static void TestFiles(int type) {
  int s[2], ends[2], got[4] = {-1, -1, -1, -1}, flags;
  char b[100];
  CHECK_EQ(socketpair(AF_UNIX, type, 0, s), 0);
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(SendFiles(s[0], "take", ends, 2), 4);
  // Peeked files are files too.
  CHECK_EQ(ReceiveFiles(s[1], b, 100, got, 2, MSG_PEEK, &flags), 2);
  CHECK_EQ(close(got[0]), 0);
  CHECK_EQ(close(got[1]), 0);
  // In a message they live on.
  CHECK_EQ(close(ends[0]), 0);
  CHECK_EQ(close(ends[1]), 0);
  CHECK_EQ(ReceiveFiles(s[1], b, 100, got, 2, MSG_CMSG_CLOEXEC, &flags), 2);
  CHECK_EQ(flags, MSG_CMSG_CLOEXEC);
  CHECK(strcmp(b, "take") == 0);
  CHECK_EQ(fcntl(got[0], F_GETFD), FD_CLOEXEC);
  CHECK_EQ(write(got[1], "through", 7), 7);
  CHECK_EQ(read(got[0], b, 100), 7);

  // Room for one of two: the other is closed.
  CHECK_EQ(SendFiles(s[0], "x", got, 2), 1);
  CHECK_EQ(close(got[1]), 0);
  CHECK_EQ(ReceiveFiles(s[1], b, 100, got + 2, 1, 0, &flags), 1);
  CHECK_EQ(flags & MSG_CTRUNC, MSG_CTRUNC);
  CHECK_EQ(fcntl(got[2], F_GETFD), 0);
  CHECK_EQ(read(got[0], b, 100), 0);  // no writer is left
  close(got[2]);
  // No room at all, and a plain read.
  CHECK_EQ(SendFiles(s[0], "x", got, 1), 1);
  CHECK_EQ(ReceiveFiles(s[1], b, 100, got + 2, 0, 0, &flags), 0);
  CHECK_EQ(flags & MSG_CTRUNC, MSG_CTRUNC);
  CHECK_EQ(SendFiles(s[0], "y", got, 1), 1);
  CHECK_EQ(read(s[1], b, 100), 1);

  int bad = 0x7fff;
  CHECK_FAILS(SendFiles(s[0], "x", &bad, 1), EBADF);
  int many[254];
  for (int i = 0; i < 254; i++) many[i] = got[0];
  CHECK_FAILS(SendFiles(s[0], "x", many, 254), EINVAL);
  CHECK_EQ(SendFiles(s[0], "x", many, 253), 1);
  // Closed with files inside.
  close(got[0]);
  close(s[0]);
  close(s[1]);
}

// On a stream, a read ends behind the bytes that came with files.
static void TestStreamStops(void) {
  int s[2], got[2], flags;
  char b[100];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  int fd = dup(1);
  CHECK_EQ(write(s[0], "before ", 7), 7);
  CHECK_EQ(SendFiles(s[0], "with ", &fd, 1), 5);
  CHECK_EQ(write(s[0], "behind", 6), 6);
  CHECK_EQ(ReceiveFiles(s[1], b, 100, got, 1, 0, &flags), 1);
  CHECK(strcmp(b, "before with ") == 0);
  CHECK_EQ(read(s[1], b, 100), 6);
  close(got[0]);
  close(fd);
  close(s[0]);
  close(s[1]);
}

static void TestCredentials(void) {
  int s[2], on = 1;
  CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, s), 0);
  CHECK_EQ(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK_EQ(send(s[0], "me", 2, 0), 2);
    _exit(0);
  }
  char b[10], control[CMSG_SPACE(sizeof(struct ucred))];
  struct iovec iov = {b, sizeof b};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  CHECK_EQ(recvmsg(s[1], &m, 0), 2);
  CHECK_EQ(m.msg_flags, 0);
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  CHECK(c != NULL);
  CHECK_EQ(c->cmsg_type, SCM_CREDENTIALS);
  CHECK_EQ(c->cmsg_len, CMSG_LEN(sizeof(struct ucred)));
  struct ucred who;
  memcpy(&who, CMSG_DATA(c), sizeof who);
  CHECK_EQ(who.pid, child);
  CHECK_EQ(who.uid, getuid());
  CHECK_EQ(waitpid(child, NULL, 0), child);

  // Said in so many words.
  who.pid = getpid();
  who.uid = getuid();
  who.gid = getgid();
  m.msg_controllen = sizeof control;
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_CREDENTIALS;
  c->cmsg_len = CMSG_LEN(sizeof who);
  memcpy(CMSG_DATA(c), &who, sizeof who);
  iov.iov_len = 1;
  CHECK_EQ(sendmsg(s[0], &m, 0), 1);
  c->cmsg_len = CMSG_LEN(4);
  CHECK_FAILS(sendmsg(s[0], &m, 0), EINVAL);
  c->cmsg_len = 5;
  CHECK_FAILS(sendmsg(s[0], &m, 0), EINVAL);
  memset(control, 0, sizeof control);
  m.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(s[1], &m, 0), 1);
  memcpy(&who, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof who);
  CHECK_EQ(who.pid, getpid());
  close(s[0]);
  close(s[1]);
}

// A long chain of sockets, each in a message to the next, falls when the last is closed.
static void TestChain(void) {
  int ends[2], previous[2];
  char b;
  CHECK_EQ(pipe(ends), 0);
  int carried = ends[1];
  for (int i = 0; i < 1000; i++) {
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, previous), 0);
    CHECK_EQ(SendFiles(previous[0], "x", &carried, 1), 1);
    CHECK_EQ(close(carried), 0);
    CHECK_EQ(close(previous[0]), 0);
    carried = previous[1];
  }
  struct pollfd p = {ends[0], POLLIN, 0};
  CHECK_EQ(poll(&p, 1, 0), 0);
  CHECK_EQ(close(carried), 0);
  CHECK_EQ(poll(&p, 1, 10000), 1);
  CHECK_EQ(read(ends[0], &b, 1), 0);
}

int main(void) {
  TestFiles(SOCK_STREAM);
  TestFiles(SOCK_DGRAM);
  TestFiles(SOCK_SEQPACKET);
  TestStreamStops();
  TestCredentials();
  TestChain();
  struct msghdr m = {.msg_iovlen = 2000};
  int s[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  CHECK_FAILS(sendmsg(s[0], &m, 0), EMSGSIZE);
  CHECK_FAILS(recvmsg(s[0], &m, 0), EMSGSIZE);
  CHECK_FAILS(sendmsg(s[0], (struct msghdr*)8, 0), EFAULT);
  return Finish();
}
