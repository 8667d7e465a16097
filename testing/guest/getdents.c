// Directories: every name once, types, positions that survive removals, seek and rewind, ENOTDIR, small buffers.
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { kFiles = 500 };

int main(void) {
  EnterScratchFolder();
  char name[32];
  for (int i = 0; i < kFiles; ++i) {
    snprintf(name, sizeof name, "file%d", i);
    close(open(name, O_CREAT | O_WRONLY, 0600));
  }
  CHECK_EQ(mkdir("folder", 0700), 0);
  CHECK_EQ(symlink("nowhere", "link"), 0);
  static char seen[kFiles];
  int dots = 0, others = 0;
  DIR* dir = opendir(".");
  CHECK(dir != NULL);
  struct dirent* entry;
  while ((entry = readdir(dir)) != NULL) {
    int number;
    struct stat st;
    CHECK_EQ(lstat(entry->d_name, &st), 0);
    if (strcmp(entry->d_name, "..") != 0) CHECK_EQ(entry->d_ino, st.st_ino);
    if (sscanf(entry->d_name, "file%d", &number) == 1) {
      CHECK_EQ(seen[number], 0);
      seen[number] = 1;
      CHECK_EQ(entry->d_type, DT_REG);
    } else if (entry->d_name[0] == '.') {
      dots++;
      CHECK_EQ(entry->d_type, DT_DIR);
    } else {
      others++;
      CHECK_EQ(entry->d_type, strcmp(entry->d_name, "link") == 0 ? DT_LNK : DT_DIR);
    }
  }
  CHECK(dots == 2 && others == 2);
  for (int i = 0; i < kFiles; ++i) CHECK_EQ(seen[i], 1);
  // Remove while reading: nothing is met twice, nothing that stays is missed.
  rewinddir(dir);
  int met = 0;
  memset(seen, 0, sizeof seen);
  while ((entry = readdir(dir)) != NULL) {
    int number;
    if (sscanf(entry->d_name, "file%d", &number) != 1) continue;
    CHECK_EQ(seen[number], 0);
    seen[number] = 1;
    met++;
    CHECK_EQ(unlink(entry->d_name), 0);
  }
  CHECK_EQ(met, kFiles);
  closedir(dir);
  char small[8];
  int fd = open(".", O_RDONLY);
  CHECK_FAILS(syscall(SYS_getdents64, fd, small, sizeof small), EINVAL);
  int file = open("plain", O_CREAT | O_RDONLY, 0600);
  char buffer[512];
  CHECK_FAILS(syscall(SYS_getdents64, file, buffer, sizeof buffer), ENOTDIR);
  return Finish();
}
