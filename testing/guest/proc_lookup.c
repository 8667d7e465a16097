// /proc/PID comes and goes with its process; readdir shows live ones once; zombies stay until they are reaped. Names
// that are no decimal numbers of a process are not there. Asked of Linux 6.1: a thread's number is found though not
// listed. Of a process that was reaped, an open file fails with ESRCH, a look-up in an open directory with ESRCH, a
// listing of it with ENOENT; fstat answers.
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int Listed(pid_t pid) {
  DIR* dir = opendir("/proc");
  int count = 0;
  for (struct dirent* e; (e = readdir(dir)) != NULL;) count += atoi(e->d_name) == pid;
  closedir(dir);
  return count;
}

static int ends_of_thread[2];
static volatile pid_t tid;

static void* Thread(void* unused) {
  char byte;
  (void)unused;
  tid = (pid_t)syscall(SYS_gettid);
  read(ends_of_thread[0], &byte, 1);
  return NULL;
}

static int StatNumber(const char* format, long number) {
  char path[64];
  struct stat st;
  snprintf(path, sizeof path, format, number);
  return stat(path, &st);
}

int main(void) {
  int ends[2];
  char path[64], byte, text[512];
  struct stat st;
  CHECK_EQ(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    close(ends[1]);
    read(ends[0], &byte, 1);
    _exit(0);
  }
  snprintf(path, sizeof path, "/proc/%d", child);
  // Often, so that it is found both anew and again.
  for (int i = 0; i < 100; ++i) CHECK_EQ(stat(path, &st), 0);
  CHECK_EQ(Listed(child), 1);
  CHECK_EQ(Listed(getpid()), 1);
  CHECK_FAILS(StatNumber("/proc/0%ld", child), ENOENT);
  CHECK_FAILS(StatNumber("/proc/+%ld", child), ENOENT);
  CHECK_FAILS(StatNumber("/proc/%ldx", child), ENOENT);
  CHECK_FAILS(StatNumber("/proc/%ld", 0), ENOENT);
  CHECK_FAILS(StatNumber("/proc/%ld", -1), ENOENT);
  CHECK_FAILS(StatNumber("/proc/%ld", 4194305), ENOENT);
  CHECK_FAILS(StatNumber("/proc/%ld", 4294967296 + child), ENOENT);
  CHECK_FAILS(stat("/proc/nothing", &st), ENOENT);

  int directory = open(path, O_RDONLY | O_DIRECTORY);
  CHECK(directory >= 0);
  int file = openat(directory, "stat", O_RDONLY);
  CHECK(file >= 0);
  CHECK(read(file, text, sizeof text) > 0);
  CHECK_EQ(atoi(text), child);
  for (int i = 0; i < 100; ++i) CHECK_EQ(fstatat(directory, "status", &st, 0), 0);
  CHECK_FAILS(fstatat(directory, "nothing", &st, 0), ENOENT);

  close(ends[1]);
  siginfo_t info;
  CHECK_EQ(waitid(P_PID, child, &info, WEXITED | WNOWAIT), 0);
  CHECK_EQ(stat(path, &st), 0);
  CHECK_EQ(fstatat(directory, "status", &st, 0), 0);
  CHECK_EQ(waitpid(child, NULL, 0), child);
  CHECK_FAILS(stat(path, &st), ENOENT);
  CHECK_EQ(Listed(child), 0);
  CHECK_EQ(lseek(file, 0, SEEK_SET), 0);
  CHECK_FAILS(read(file, text, sizeof text), ESRCH);
  CHECK_FAILS(fstatat(directory, "status", &st, 0), ESRCH);
  CHECK_FAILS(fstatat(directory, "nothing", &st, 0), ESRCH);
  CHECK_FAILS(syscall(SYS_getdents64, directory, text, sizeof text), ENOENT);
  CHECK_EQ(fstat(directory, &st), 0);
  close(directory);
  close(file);

  pthread_t thread;
  CHECK_EQ(pipe(ends_of_thread), 0);
  CHECK_EQ(pthread_create(&thread, NULL, Thread, NULL), 0);
  while (tid == 0) usleep(100);
  CHECK_EQ(StatNumber("/proc/%ld", tid), 0);
  CHECK_EQ(StatNumber("/proc/self/task/%ld", tid), 0);
  CHECK_EQ(Listed(tid), 0);
  close(ends_of_thread[1]);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  // pthread_join returns before the kernel has let go of the number.
  while (StatNumber("/proc/self/task/%ld", tid) == 0) usleep(100);
  CHECK_FAILS(StatNumber("/proc/%ld", tid), ENOENT);
  return Finish();
}
