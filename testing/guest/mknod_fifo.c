// Named pipes: mkfifo, two processes meet, O_NONBLOCK opens, data passes, EOF.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

int main(void) {
  EnterScratchFolder();
  CHECK_EQ(mkfifo("fifo", 0600), 0);
  CHECK_FAILS(mkfifo("fifo", 0600), EEXIST);
  struct stat st;
  CHECK_EQ(stat("fifo", &st), 0);
  CHECK(S_ISFIFO(st.st_mode));
  CHECK_FAILS(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
  int reader = open("fifo", O_RDONLY | O_NONBLOCK);
  CHECK(reader >= 0);
  char buffer[16];
  CHECK_EQ(read(reader, buffer, 16), 0);  // no writer: end of file
  int writer = open("fifo", O_WRONLY | O_NONBLOCK);
  CHECK(writer >= 0);
  CHECK_FAILS(read(reader, buffer, 16), EAGAIN);
  close(reader);
  close(writer);
  pid_t child = fork();
  if (child == 0) {
    usleep(10000);
    int fd = open("fifo", O_WRONLY);
    CHECK_EQ(write(fd, "through", 7), 7);
    _exit(0);
  }
  int fd = open("fifo", O_RDONLY);  // waits for the child
  CHECK(fd >= 0);
  CHECK_EQ(read(fd, buffer, 16), 7);
  CHECK(memcmp(buffer, "through", 7) == 0);
  CHECK_EQ(read(fd, buffer, 16), 0);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(mknod("plain", S_IFREG | 0600, 0), 0);
  CHECK_EQ(stat("plain", &st), 0);
  CHECK(S_ISREG(st.st_mode));
  return Finish();
}
