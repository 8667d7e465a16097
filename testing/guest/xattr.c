// Extended attributes that are not there: a file system may have none at all (EOPNOTSUPP) or just not this one
// (ENODATA). Natively it is the one or the other; a file that is missing, a bad descriptor and a bad name are the same
// everywhere.
#include "check.h"
#include <fcntl.h>
#include <sys/xattr.h>

static int Absent(ssize_t result) { return result == -1 && (errno == EOPNOTSUPP || errno == ENODATA); }

int main(void) {
  EnterScratchFolder();
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  char value[64], name[300];
  CHECK(Absent(getxattr("file", "user.nothing", value, sizeof value)));
  CHECK(Absent(fgetxattr(fd, "user.nothing", value, sizeof value)));
  CHECK(Absent(lgetxattr("file", "security.selinux", value, sizeof value)));
  CHECK(Absent(removexattr("file", "user.nothing")));
  CHECK_FAILS(getxattr("missing", "user.nothing", value, sizeof value), ENOENT);
  CHECK_FAILS(listxattr("missing", value, sizeof value), ENOENT);
  CHECK_FAILS(fgetxattr(99, "user.nothing", value, sizeof value), EBADF);
  CHECK_FAILS(setxattr("file", "user.x", "1", 1, 64), EINVAL);
  CHECK_FAILS(getxattr("file", "", value, sizeof value), ERANGE);
  memset(name, 'a', sizeof name - 1), name[sizeof name - 1] = 0;
  CHECK_FAILS(getxattr("file", name, value, sizeof value), ERANGE);
  CHECK(flistxattr(fd, value, sizeof value) >= 0);
  return Finish();
}
