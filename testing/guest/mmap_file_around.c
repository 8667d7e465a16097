// What the kernel may bring along when one page of a file mapping is touched shows nowhere: rights, ends of the mapping
// and of the file, truncation, growth, holes, writes through another view, and copies after fork.
#include "check.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { kPages = 40 };
static sigjmp_buf back;
static void Handler(int signal) { siglongjmp(back, signal); }

// The signal that reading the byte raises, or 0.
static int Touch(volatile char* p) {
  int signal = sigsetjmp(back, 1);
  if (signal == 0) (void)*p;
  return signal;
}

int main(void) {
  EnterScratchFolder();
  signal(SIGBUS, Handler);
  signal(SIGSEGV, Handler);
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  for (int i = 0; i < kPages; ++i) {
    char page[4096];
    memset(page, 1 + i, sizeof page);
    CHECK_EQ(write(fd, page, sizeof page), (long)sizeof page);
  }
  char* code = mmap(NULL, kPages * 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  char* view = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* copy = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(code != MAP_FAILED && view != MAP_FAILED && copy != MAP_FAILED);
  for (int i = 0; i < kPages; ++i) CHECK_EQ(code[i * 4096 + 4095], 1 + i);
  for (int i = kPages; i-- > 0;) CHECK_EQ(view[i * 4096], 1 + i);
  // Neighbours keep the rights of their own.
  char* mixed = mmap(NULL, 8 * 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  CHECK_EQ(mprotect(mixed + 2 * 4096, 4096, PROT_NONE), 0);
  CHECK_EQ(munmap(mixed + 5 * 4096, 4096), 0);
  CHECK_EQ(mixed[3 * 4096], 4);
  CHECK_EQ(Touch(mixed + 2 * 4096), SIGSEGV);
  CHECK_EQ(Touch(mixed + 5 * 4096), SIGSEGV);
  CHECK_EQ(mixed[6 * 4096], 7);
  // A page that came along is copied when it is written, also in a child, and the file keeps what it has.
  CHECK_EQ(copy[4096], 2);
  copy[2 * 4096] = 'C';
  pid_t child = fork();
  if (child == 0) {
    CHECK_EQ(copy[3 * 4096], 4);
    copy[3 * 4096] = 'D';
    CHECK_EQ(mprotect(code, kPages * 4096, PROT_READ | PROT_WRITE), 0);
    code[4 * 4096] = 'E';
    CHECK(copy[2 * 4096] == 'C' && view[2 * 4096] == 3 && view[3 * 4096] == 4 && view[4 * 4096] == 5);
    view[5 * 4096] = 'V';
    _exit(0);
  }
  int status = -1;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK(copy[3 * 4096] == 4 && code[4 * 4096] == 5 && code[5 * 4096] == 'V');
  // What came along goes with the end of the file, and comes back as zeros.
  CHECK_EQ(ftruncate(fd, 20 * 4096 + 100), 0);
  CHECK(code[20 * 4096 + 99] == 21 && code[20 * 4096 + 100] == 0);
  CHECK_EQ(Touch(code + 21 * 4096), SIGBUS);
  CHECK_EQ(Touch(view + 30 * 4096), SIGBUS);
  CHECK_EQ(code[19 * 4096], 20);
  CHECK_EQ(ftruncate(fd, kPages * 4096), 0);
  CHECK_EQ(code[20 * 4096 + 100], 0);
  CHECK_EQ(pwrite(fd, "w", 1, 25 * 4096), 1);
  for (int i = 21; i < kPages; ++i) CHECK_EQ(code[i * 4096], i == 25 ? 'w' : 0);
  CHECK_EQ(pwrite(fd, "x", 1, 26 * 4096), 1);
  CHECK(code[26 * 4096] == 'x' && view[26 * 4096] == 'x');
  // So it is where the mapping may be written, whatever is said of the file, which is no program.
  char* data = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_DENYWRITE, fd, 0);
  CHECK(data != MAP_FAILED && data[4 * 4096] == 5 && data[5 * 4096] == 'V');
  data[7 * 4096] = 'd';
  CHECK_EQ(pwrite(fd, "four", 4, 4 * 4096), 4);
  CHECK_EQ(pwrite(fd, "six", 3, 6 * 4096), 3);
  CHECK_EQ(pwrite(fd, "seven", 5, 7 * 4096), 5);
  CHECK(data[4 * 4096] == 'f' && data[6 * 4096] == 's' && data[7 * 4096] == 'd');
  CHECK_EQ(ftruncate(fd, 5 * 4096 + 10), 0);
  CHECK_EQ(Touch(data + 7 * 4096), SIGBUS);
  CHECK(data[5 * 4096] == 'V' && data[5 * 4096 + 10] == 0);
  return Finish();
}
