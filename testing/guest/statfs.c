// statfs and fstatfs give plausible figures.
#include "check.h"
#include <fcntl.h>
#include <sys/vfs.h>

int main(void) {
  EnterScratchFolder();
  struct statfs a, b;
  CHECK_EQ(statfs(".", &a), 0);
  CHECK(a.f_bsize >= 512 && a.f_namelen == 255 && a.f_blocks >= a.f_bfree);
  CHECK_EQ(fstatfs(open(".", O_RDONLY), &b), 0);
  CHECK_EQ(a.f_type, b.f_type);
  CHECK_EQ(statfs("/proc", &a), 0);
  CHECK_EQ(a.f_type, 0x9fa0);
  CHECK_FAILS(statfs("missing", &a), ENOENT);
  CHECK_FAILS(fstatfs(99, &a), EBADF);
  return Finish();
}
