// splice, tee and vmsplice: between pipes, files and sockets; what waits, what is refused, nothing lost.
#include "check.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

int main(void) {
  EnterScratchFolder();
  signal(SIGPIPE, SIG_IGN);
  int a[2], b[2];
  CHECK_EQ(pipe(a), 0);
  CHECK_EQ(pipe(b), 0);
  char text[70000], back[70000];
  for (int i = 0; i < (int)sizeof text; ++i) text[i] = (char)(i * 7);
  int file = open("data", O_RDWR | O_CREAT, 0644);
  CHECK_EQ(write(file, text, sizeof text), sizeof text);

  // From a file, at an offset and at the position.
  off_t offset = 100;
  CHECK_EQ(splice(file, &offset, a[1], NULL, 1000, 0), 1000);
  CHECK_EQ(offset, 1100);
  CHECK_EQ(lseek(file, 0, SEEK_CUR), sizeof text);
  CHECK_EQ(read(a[0], back, sizeof back), 1000);
  CHECK_EQ(memcmp(back, text + 100, 1000), 0);
  lseek(file, 500, SEEK_SET);
  CHECK_EQ(splice(file, NULL, a[1], NULL, 3000, 0), 3000);
  CHECK_EQ(lseek(file, 0, SEEK_CUR), 3500);
  // From pipe to pipe, and doubled by tee.
  CHECK_EQ(tee(a[0], b[1], 2000, 0), 2000);
  CHECK_EQ(read(b[0], back, sizeof back), 2000);
  CHECK_EQ(memcmp(back, text + 500, 2000), 0);
  CHECK_EQ(splice(a[0], NULL, b[1], NULL, 100000, 0), 3000);
  CHECK_EQ(read(b[0], back, sizeof back), 3000);
  CHECK_EQ(memcmp(back, text + 500, 3000), 0);
  // Into a file.
  CHECK_EQ(write(a[1], "0123456789", 10), 10);
  offset = 5;
  CHECK_EQ(splice(a[0], NULL, file, &offset, 4, 0), 4);
  CHECK_EQ(offset, 9);
  CHECK_EQ(pread(file, back, 4, 5), 4);
  CHECK_EQ(memcmp(back, "0123", 4), 0);
  CHECK_EQ(splice(a[0], NULL, file, NULL, 100, SPLICE_F_MOVE | SPLICE_F_MORE), 6);
  CHECK_EQ(pread(file, back, 6, 3500), 6);
  CHECK_EQ(memcmp(back, "456789", 6), 0);

  // An empty pipe: the end, or later.
  CHECK_FAILS(splice(a[0], NULL, file, NULL, 10, SPLICE_F_NONBLOCK), EAGAIN);
  CHECK_FAILS(tee(a[0], b[1], 10, SPLICE_F_NONBLOCK), EAGAIN);
  CHECK_EQ(splice(a[0], NULL, file, NULL, 0, 0), 0);
  pid_t child = fork();
  if (child == 0) {
    usleep(20000);
    _exit(write(a[1], "late", 4) != 4);
  }
  CHECK_EQ(splice(a[0], NULL, b[1], NULL, 100, 0), 4);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  CHECK_EQ(read(b[0], back, 100), 4);
  CHECK_EQ(splice(file, &(off_t){1000000}, a[1], NULL, 10, 0), 0);

  // A full pipe takes no more, and what did not fit is still in the other one.
  int size = fcntl(b[1], F_GETPIPE_SZ);
  memset(back, 'f', (size_t)size);
  CHECK_EQ(write(b[1], back, (size_t)size), size);
  CHECK_EQ(write(a[1], "kept", 4), 4);
  CHECK_FAILS(splice(a[0], NULL, b[1], NULL, 4, SPLICE_F_NONBLOCK), EAGAIN);
  CHECK_EQ(read(a[0], back, 100), 4);
  CHECK_EQ(memcmp(back, "kept", 4), 0);
  for (int left = size; left > 0; left -= (int)read(b[0], back, sizeof back)) {
  }

  // A socket on either side.
  int pair[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  CHECK_EQ(write(a[1], "to socket", 9), 9);
  CHECK_EQ(splice(a[0], NULL, pair[0], NULL, 100, 0), 9);
  CHECK_EQ(read(pair[1], back, 100), 9);
  CHECK_EQ(write(pair[1], "from socket", 11), 11);
  CHECK_EQ(splice(pair[0], NULL, a[1], NULL, 100, 0), 11);
  CHECK_EQ(read(a[0], back, 100), 11);
  CHECK_EQ(memcmp(back, "from socket", 11), 0);

  // A large transfer through a pipe, with a reader beside it.
  CHECK_EQ(pwrite(file, text, sizeof text, 0), sizeof text);
  child = fork();
  if (child == 0) {
    close(a[1]);
    size_t got = 0;
    for (ssize_t n; got < sizeof text && (n = read(a[0], back + got, sizeof back - got)) > 0;) got += (size_t)n;
    _exit(got != sizeof text || memcmp(back, text, sizeof text) != 0);
  }
  offset = 0;
  while (offset < (off_t)sizeof text) CHECK(splice(file, &offset, a[1], NULL, sizeof text, 0) > 0);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);

  // vmsplice: memory into a pipe and out of it.
  struct iovec iov[2] = {{"vm", 2}, {"splice", 6}};
  CHECK_EQ(vmsplice(a[1], iov, 2, 0), 8);
  char left[3] = {0}, right[10] = {0};
  iov[0] = (struct iovec){left, 2};
  iov[1] = (struct iovec){right, 9};
  CHECK_EQ(vmsplice(a[0], iov, 2, 0), 8);
  CHECK(strcmp(left, "vm") == 0 && strcmp(right, "splice") == 0);
  CHECK_FAILS(vmsplice(a[0], iov, 2, SPLICE_F_NONBLOCK), EAGAIN);
  CHECK_FAILS(vmsplice(file, iov, 2, 0), EBADF);

  CHECK_FAILS(splice(file, NULL, file, NULL, 10, 0), EINVAL);
  CHECK_FAILS(splice(a[0], NULL, a[1], NULL, 10, 0), EINVAL);
  CHECK_FAILS(splice(a[0], &offset, b[1], NULL, 10, 0), ESPIPE);
  CHECK_FAILS(splice(a[1], NULL, b[1], NULL, 10, 0), EBADF);
  CHECK_FAILS(splice(a[0], NULL, b[0], NULL, 10, 0), EBADF);
  CHECK_FAILS(splice(a[0], NULL, b[1], NULL, 10, 0x100), EINVAL);
  CHECK_FAILS(splice(99, NULL, b[1], NULL, 10, 0), EBADF);
  CHECK_FAILS(tee(a[0], file, 10, 0), EINVAL);
  CHECK_FAILS(tee(a[0], a[1], 10, 0), EINVAL);
  int append = open("data", O_WRONLY | O_APPEND);
  CHECK_EQ(write(a[1], "x", 1), 1);
  CHECK_FAILS(splice(a[0], NULL, append, NULL, 1, 0), EINVAL);
  CHECK_EQ(close(b[0]), 0);
  CHECK_FAILS(splice(a[0], NULL, b[1], NULL, 1, 0), EPIPE);
  CHECK_EQ(read(a[0], back, 10), 1);
  return Finish();
}
