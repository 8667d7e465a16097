// memfd_create: a file without a name: reading, mapping, reopening, and what each seal forbids.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

int main(void) {
  int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  CHECK(fd >= 0);
  CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  char name[64] = {0}, link[64], buffer[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  CHECK(readlink(link, name, sizeof name - 1) > 0);
  CHECK_EQ(strcmp(name, "/memfd:test (deleted)"), 0);
  struct stat st;
  CHECK_EQ(fstat(fd, &st), 0);
  CHECK(S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0777 && st.st_size == 0 && st.st_nlink == 0);
  CHECK_EQ(write(fd, "hello world", 11), 11);
  CHECK_EQ(pread(fd, buffer, 64, 6), 5);
  CHECK_EQ(memcmp(buffer, "world", 5), 0);
  CHECK_EQ(ftruncate(fd, 8192), 0);
  CHECK_EQ(lseek(fd, 0, SEEK_END), 8192);
  char* map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED);
  map[4096] = 'x';
  CHECK_EQ(pread(fd, buffer, 1, 4096), 1);
  CHECK_EQ(buffer[0], 'x');

  // Through /proc it is opened again, with a position of its own; a child shares the memory.
  int again = open(link, O_RDWR);
  CHECK(again >= 0);
  CHECK_EQ(read(again, buffer, 5), 5);
  CHECK_EQ(memcmp(buffer, "hello", 5), 0);
  pid_t child = fork();
  if (child == 0) {
    map[0] = 'j';
    _exit(0);
  }
  CHECK_EQ(waitpid(child, NULL, 0), child);
  CHECK_EQ(map[0], 'j');
  int read_only = open(link, O_RDONLY);
  CHECK(read_only >= 0);

  // Seals.
  CHECK_EQ(fcntl(fd, F_GET_SEALS), 0);
  CHECK_FAILS(fcntl(fd, F_ADD_SEALS, 0x1000), EINVAL);
  CHECK_FAILS(fcntl(read_only, F_ADD_SEALS, F_SEAL_SHRINK), EPERM);
  CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  CHECK_EQ(fcntl(again, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
  CHECK_FAILS(ftruncate(fd, 4096), EPERM);
  CHECK_FAILS(ftruncate(fd, 12288), EPERM);
  CHECK_EQ(ftruncate(fd, 8192), 0);
  CHECK_FAILS(pwrite(fd, "y", 1, 8192), EPERM);
  CHECK_FAILS(fallocate(fd, 0, 8192, 10), EPERM);
  CHECK_EQ(pwrite(fd, "y", 1, 8191), 1);
  // Not while it may be written through a mapping.
  CHECK_FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
  CHECK_EQ(munmap(map, 8192), 0);
  CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
  CHECK_FAILS(pwrite(fd, "z", 1, 0), EPERM);
  CHECK_FAILS(write(again, "z", 1), EPERM);
  CHECK_FAILS((intptr_t)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
  CHECK_FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), EPERM);
  map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(map != MAP_FAILED);
  map[0] = 'p';
  CHECK_EQ(pread(fd, buffer, 1, 0), 1);
  CHECK_EQ(buffer[0], 'j');
  CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
  CHECK_FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), EPERM);
  CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);

  // Without leave to seal it is sealed against that.
  int plain = memfd_create("", 0);
  CHECK_EQ(fcntl(plain, F_GETFD), 0);
  CHECK_EQ(fcntl(plain, F_GET_SEALS), F_SEAL_SEAL);
  CHECK_FAILS(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW), EPERM);
  CHECK_EQ(fallocate(plain, 0, 0, 5000), 0);
  CHECK_EQ(lseek(plain, 0, SEEK_END), 5000);
  int pipes[2];
  CHECK_EQ(pipe(pipes), 0);
  CHECK_FAILS(fcntl(pipes[0], F_GET_SEALS), EINVAL);
  CHECK_FAILS(fcntl(pipes[1], F_ADD_SEALS, 0), EINVAL);

  char longest[260];
  memset(longest, 'n', sizeof longest);
  longest[249] = 0;
  CHECK(memfd_create(longest, 0) >= 0);
  longest[249] = 'n';
  longest[250] = 0;
  CHECK_FAILS(memfd_create(longest, 0), EINVAL);
  CHECK_FAILS(memfd_create("x", 0x40000000), EINVAL);
  CHECK_FAILS(memfd_create((char*)16, 0), EFAULT);
  return Finish();
}
