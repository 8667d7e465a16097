// Datagrams between named sockets: who sent, boundaries, a full queue, connect and disconnect, a receiver that is gone.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static socklen_t Address(struct sockaddr_un* a, const char* name) {
  memset(a, 0, sizeof *a);
  a->sun_family = AF_UNIX;
  strcpy(a->sun_path, name);
  return offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1;
}

static int Ready(int fd) {
  struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
  CHECK(poll(&p, 1, 0) >= 0);
  return p.revents;
}

int main(void) {
  EnterScratchFolder();
  struct sockaddr_un server, client, from;
  socklen_t server_length = Address(&server, "server"), client_length = Address(&client, "client"), from_length;
  char b[100];
  int s = socket(AF_UNIX, SOCK_DGRAM, 0), c = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK_EQ(bind(s, (struct sockaddr*)&server, server_length), 0);
  CHECK_EQ(Ready(s), POLLOUT);

  // Without a name of its own a sender is nobody.
  CHECK_FAILS(send(c, "x", 1, 0), ENOTCONN);
  CHECK_EQ(sendto(c, "one", 3, 0, (struct sockaddr*)&server, server_length), 3);
  from_length = sizeof from;
  CHECK_EQ(recvfrom(s, b, 100, 0, (struct sockaddr*)&from, &from_length), 3);
  CHECK_EQ(from_length, 0);

  CHECK_EQ(bind(c, (struct sockaddr*)&client, client_length), 0);
  CHECK_EQ(sendto(c, "two", 3, 0, (struct sockaddr*)&server, server_length), 3);
  CHECK_EQ(sendto(c, "", 0, 0, (struct sockaddr*)&server, server_length), 0);
  CHECK_EQ(sendto(c, "longer one", 10, 0, (struct sockaddr*)&server, server_length), 10);
  from_length = sizeof from;
  CHECK_EQ(recvfrom(s, b, 100, 0, (struct sockaddr*)&from, &from_length), 3);
  CHECK_EQ(from_length, client_length);
  CHECK(strcmp(from.sun_path, "client") == 0);
  CHECK_EQ(recv(s, b, 100, 0), 0);
  CHECK_EQ(recv(s, b, 4, 0), 4);
  CHECK_FAILS(recv(s, b, 4, MSG_DONTWAIT), EAGAIN);
  // An answer goes to where the question came from.
  CHECK_EQ(sendto(s, "answer", 6, 0, (struct sockaddr*)&from, from_length), 6);
  CHECK_EQ(read(c, b, 100), 6);

  // Connected one way: only ten and one may wait.
  CHECK_EQ(connect(c, (struct sockaddr*)&server, server_length), 0);
  from_length = sizeof from;
  CHECK_EQ(getpeername(c, (struct sockaddr*)&from, &from_length), 0);
  CHECK(strcmp(from.sun_path, "server") == 0);
  int n = 0;
  while (send(c, "x", 1, MSG_DONTWAIT) == 1) n++;
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(n, 11);
  CHECK_EQ(Ready(c), 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK_EQ(write(c, "late", 4), 4);  // waits for room
    struct pollfd p = {c, POLLOUT, 0};
    CHECK_EQ(poll(&p, 1, 10000), 1);
    _exit(0);
  }
  usleep(20000);
  for (int i = 0; i < 11; i++) CHECK_EQ(read(s, b, 100), 1);
  CHECK_EQ(read(s, b, 100), 4);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(Ready(c), POLLOUT);

  // A server with a peer of its own takes nothing from others.
  CHECK_EQ(connect(s, (struct sockaddr*)&client, client_length), 0);
  int third = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK_FAILS(sendto(third, "x", 1, 0, (struct sockaddr*)&server, server_length), EPERM);
  CHECK_FAILS(connect(third, (struct sockaddr*)&server, server_length), EPERM);
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  CHECK_EQ(connect(s, &none, sizeof none), 0);
  CHECK_EQ(sendto(third, "x", 1, 0, (struct sockaddr*)&server, server_length), 1);
  CHECK_EQ(read(s, b, 100), 1);

  // Gone: told once, then there is no peer.
  CHECK_EQ(close(s), 0);
  CHECK_FAILS(send(c, "x", 1, 0), ECONNREFUSED);
  CHECK_FAILS(send(c, "x", 1, 0), ENOTCONN);
  CHECK_FAILS(sendto(c, "x", 1, 0, (struct sockaddr*)&server, server_length), ECONNREFUSED);
  CHECK_EQ(unlink("server"), 0);
  CHECK_FAILS(sendto(c, "x", 1, 0, (struct sockaddr*)&server, server_length), ENOENT);
  CHECK_EQ(shutdown(c, SHUT_RD), 0);
  CHECK_EQ(recv(c, b, 1, 0), 0);
  return Finish();
}
