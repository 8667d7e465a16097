// chmod, fchmod, chown, umask and what creation makes of them.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

static int Mode(const char* path) {
  struct stat st;
  CHECK_EQ(stat(path, &st), 0);
  return st.st_mode & 07777;
}

int main(void) {
  EnterScratchFolder();
  umask(027);
  CHECK_EQ(umask(022), 027);
  int fd = open("file", O_RDWR | O_CREAT, 0666);
  CHECK_EQ(Mode("file"), 0644);
  umask(077);
  CHECK_EQ(mkdir("folder", 0777), 0);
  CHECK_EQ(Mode("folder"), 0700);
  CHECK_EQ(chmod("file", 04755), 0);
  CHECK_EQ(Mode("file"), 04755);
  CHECK_EQ(fchmod(fd, 0600), 0);
  CHECK_EQ(Mode("file"), 0600);
  CHECK_EQ(fchmodat(AT_FDCWD, "file", 0640, 0), 0);
  CHECK_EQ(Mode("file"), 0640);
  struct stat st;
  CHECK_EQ(chown("file", -1, -1), 0);
  CHECK_EQ(stat("file", &st), 0);
  CHECK_EQ(st.st_uid, geteuid());
  CHECK_FAILS(chmod("missing", 0600), ENOENT);
  CHECK_EQ(symlink("file", "link"), 0);
  CHECK_EQ(chmod("link", 0604), 0);
  CHECK_EQ(Mode("file"), 0604);
  CHECK_EQ(lstat("link", &st), 0);
  CHECK_EQ(st.st_mode, S_IFLNK | 0777);
  if (Privileged()) {
    CHECK_EQ(lchown("link", 1, 2), 0);
    CHECK_EQ(fchown(fd, 3, 4), 0);
    CHECK_EQ(lstat("link", &st), 0);
    CHECK(st.st_uid == 1 && st.st_gid == 2);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK(st.st_uid == 3 && st.st_gid == 4);
  }
  return Finish();
}
