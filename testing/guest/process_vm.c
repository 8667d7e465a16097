// process_vm_readv and process_vm_writev: another process's memory, several pieces, where they stop, what they refuse.
#include "check.h"
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

static char area[3 * 4096];

int main(void) {
  int ready[2], go[2];
  CHECK_EQ(pipe(ready), 0);
  CHECK_EQ(pipe(go), 0);
  for (int i = 0; i < (int)sizeof area; ++i) area[i] = (char)(i % 100);
  // A page that nobody may read.
  char* fenced = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(fenced != MAP_FAILED);
  memset(fenced, 'f', 8192);
  CHECK_EQ(munmap(fenced + 4096, 4096), 0);
  pid_t child = fork();
  char byte = 0;
  if (child == 0) {
    memset(area, 'c', 4096);
    CHECK_EQ(write(ready[1], "x", 1), 1);
    CHECK_EQ(read(go[0], &byte, 1), 1);
    CHECK(area[10] == 'p' && area[11] == 'p' && area[12] == 'c' && area[8192] == 'q');
    _exit(0);
  }
  CHECK_EQ(read(ready[0], &byte, 1), 1);
  char a[5000], b[5000];
  struct iovec local[2] = {{a, 3000}, {b, 5000}};
  struct iovec remote[2] = {{area, 4096}, {area + 4196, 1000}};
  CHECK_EQ(process_vm_readv(child, local, 2, remote, 2, 0), 5096);
  CHECK(a[0] == 'c' && a[2999] == 'c' && b[1095] == 'c' && b[1096] == 4196 % 100 && b[2095] == 5195 % 100);
  CHECK_EQ(area[0], 0);  // ours
  local[0] = (struct iovec){"ppq", 3};
  remote[0] = (struct iovec){area + 10, 2};
  remote[1] = (struct iovec){area + 8192, 1};
  CHECK_EQ(process_vm_writev(child, local, 1, remote, 2, 0), 3);
  // It stops at the first page that is not there.
  local[0] = (struct iovec){a, 5000};
  remote[0] = (struct iovec){fenced + 4000, 1000};
  CHECK_EQ(process_vm_readv(child, local, 1, remote, 1, 0), 96);
  CHECK_EQ(a[95], 'f');
  remote[0] = (struct iovec){(void*)16, 8};
  CHECK_FAILS(process_vm_readv(child, local, 1, remote, 1, 0), EFAULT);
  CHECK_EQ(process_vm_readv(child, local, 0, remote, 1, 0), 0);
  CHECK_FAILS(process_vm_readv(child, local, 1, remote, 1, 1), EINVAL);
  CHECK_FAILS(process_vm_readv(child, local, 1, remote, 1025, 0), EINVAL);
  CHECK_FAILS(process_vm_readv(1 << 22, local, 1, remote, 1, 0), ESRCH);
  CHECK_EQ(write(go[1], "x", 1), 1);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  // Oneself.
  local[0] = (struct iovec){a, 10};
  remote[0] = (struct iovec){area + 90, 10};
  CHECK_EQ(process_vm_readv(getpid(), local, 1, remote, 1, 0), 10);
  CHECK_EQ(a[9], 99);
  return Finish();
}
