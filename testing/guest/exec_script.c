// #! scripts: the interpreter gets its one argument, the script's path, then the rest; scripts may name scripts, five deep.
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char self[4096];

static void WriteFile(const char* name, const char* first_line) {
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);
  CHECK(fd >= 0);
  CHECK_EQ(write(fd, first_line, strlen(first_line)), strlen(first_line));
  close(fd);
}

static int Run(const char* path, char** args) {
  pid_t child = fork();
  if (child == 0) {
    execv(path, args);
    _exit(errno);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

int main(int argc, char** argv) {
  if (argc > 2 && strcmp(argv[1], "-one argument") == 0) {
    // self, "-one argument", "./script", "a", "b"
    CHECK_EQ(argc, 5);
    CHECK(strcmp(argv[2], "./script") == 0 && strcmp(argv[3], "a") == 0 && strcmp(argv[4], "b") == 0);
    return 55;
  }
  if (argc > 1 && strncmp(argv[1], "./level", 7) == 0) {
    CHECK_EQ(argc, 6);  // self ./level1 ./level2 ./level3 ./level4 x
    CHECK(strcmp(argv[1], "./level1") == 0 && strcmp(argv[4], "./level4") == 0 && strcmp(argv[5], "x") == 0);
    return 56;
  }
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  CHECK(n > 0 && n < 200);
  EnterScratchFolder();
  char line[5000];
  snprintf(line, sizeof line, "#! %s -one argument  \nrest\n", self);
  WriteFile("script", line);
  char* args[] = {"ignored", "a", "b", NULL};
  CHECK_EQ(Run("./script", args), 55);
  snprintf(line, sizeof line, "#!%s\n", self);
  WriteFile("level1", line);
  WriteFile("level2", "#!./level1\n");
  WriteFile("level3", "#!./level2\n");
  WriteFile("level4", "#!./level3");
  char* level_args[] = {"ignored", "x", NULL};
  CHECK_EQ(Run("./level4", level_args), 56);
  WriteFile("level5", "#!./level4\n");
  WriteFile("level6", "#!./level5\n");
  WriteFile("level7", "#!./level6\n");
  CHECK_EQ(Run("./level7", level_args), ELOOP);
  WriteFile("missing", "#!/no/such/interpreter\n");
  CHECK_EQ(Run("./missing", level_args), ENOENT);
  WriteFile("empty", "#!\n");
  CHECK_EQ(Run("./empty", level_args), ENOEXEC);
  WriteFile("text", "no magic\n");
  CHECK_EQ(Run("./text", level_args), ENOEXEC);
  return Finish();
}
