// File mappings: private copies, shared writes, offsets, what lies behind the end, coherence with read and write, truncation under a mapping.
#include "check.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static sigjmp_buf back;
static void Handler(int signal) { (void)signal, siglongjmp(back, 1); }

int main(void) {
  EnterScratchFolder();
  char buffer[8];
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  for (int i = 0; i < 3; ++i) {
    static char block[4096];
    memset(block, 'a' + i, sizeof block);
    CHECK_EQ(write(fd, block, 4096), 4096);
  }
  char* private_map = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  char* shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
  CHECK(private_map != MAP_FAILED && shared != MAP_FAILED);
  CHECK(private_map[0] == 'a' && private_map[4096] == 'b' && shared[0] == 'b' && shared[4096] == 'c');
  private_map[4096] = 'P';
  CHECK_EQ(shared[0], 'b');
  shared[1] = 'S';
  CHECK_EQ(private_map[4097], 'b');  // already a copy
  CHECK_EQ(pread(fd, buffer, 2, 4096), 2);
  CHECK(memcmp(buffer, "bS", 2) == 0);
  CHECK_EQ(pwrite(fd, "W", 1, 8192), 1);
  CHECK_EQ(shared[4096], 'W');
  CHECK_EQ(private_map[8192], 'W');  // not copied yet: sees the file
  CHECK_EQ(msync(shared, 8192, MS_SYNC), 0);
  CHECK_EQ(close(fd), 0);
  shared[2] = 'T';
  fd = open("file", O_RDONLY);
  CHECK_EQ(pread(fd, buffer, 1, 4098), 1);
  CHECK_EQ(buffer[0], 'T');
  CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  CHECK_EQ(errno, EACCES);
  char* readable = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  CHECK_FAILS(mprotect(readable, 4096, PROT_READ | PROT_WRITE), EACCES);
  CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 100) == MAP_FAILED);
  CHECK_EQ(errno, EINVAL);
  int folder = open(".", O_RDONLY);
  CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, folder, 0) == MAP_FAILED);
  CHECK_EQ(errno, ENODEV);
  // Truncation takes pages away from those who map them; private copies beyond it go too, as Linux has it.
  signal(SIGBUS, Handler);
  CHECK_EQ(truncate("file", 5000), 0);
  CHECK_EQ(shared[0], 'b');
  CHECK_EQ(shared[904], 0);
  volatile int reached = 0;
  if (sigsetjmp(back, 1) == 0) {
    reached = shared[4096];
    CHECK(!"read behind the end");
  }
  if (sigsetjmp(back, 1) == 0) {
    reached = private_map[8192];
    CHECK(!"read behind the end");
  }
  (void)reached;
  CHECK_EQ(private_map[4096], 'P');
  return Finish();
}
