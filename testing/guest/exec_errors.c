// What execve refuses, and that the caller lives on.
#include "check.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

int main(void) {
  EnterScratchFolder();
  char* args[] = {"x", NULL};
  CHECK_FAILS(execv("./missing", args), ENOENT);
  CHECK_FAILS(execv("", args), ENOENT);
  CHECK_FAILS(execv(".", args), EACCES);
  close(open("plain", O_WRONLY | O_CREAT, 0644));
  CHECK_FAILS(execv("./plain", args), EACCES);
  close(open("empty", O_WRONLY | O_CREAT, 0755));
  CHECK_FAILS(execv("./empty", args), ENOEXEC);
  CHECK_FAILS(execv("./plain/below", args), ENOTDIR);
  int fd = open("short", O_WRONLY | O_CREAT, 0755);
  CHECK_EQ(write(fd, "\177ELF\2\1\1", 7), 7);
  close(fd);
  CHECK_FAILS(execv("./short", args), ENOEXEC);
  CHECK_FAILS(execv((char*)8, args), EFAULT);
  CHECK_FAILS(execv("./empty", (char**)8), EFAULT);
  char* huge = malloc(200000);
  memset(huge, 'h', 199999);
  huge[199999] = 0;
  char* huge_args[] = {"x", huge, NULL};
  CHECK_FAILS(execv("/proc/self/exe", huge_args), E2BIG);
  return Finish();
}
