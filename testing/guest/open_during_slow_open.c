// While one thread's open(2) waits inside the kernel, others open, look at and close files of the same directory.
//
// Without arguments the open is that of a FIFO that nobody writes to: the host keeps it waiting, all else goes on
// (asked on Linux 6.x), and the waiting open answers once a writer comes. With a folder (testing/slow_fs mounted by
// remora_slow_fs) it is that of FOLDER/slow1, whose open hook waits until the test lifts its gate; so is its look-up
// and its stat.
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "check.h"

static const char* slow_name = "fifo";
static atomic_int started, done;
static int result = -1;

static void* OpenSlow(void* stat_only) {
  atomic_store(&started, 1);
  struct stat st;
  result = stat_only ? stat(slow_name, &st) : open(slow_name, O_RDONLY);
  atomic_store(&done, 1);
  return NULL;
}

static void OpenOthers(int num_files) {
  char name[32];
  struct stat st;
  for (int i = 0; i < num_files; ++i) {
    snprintf(name, sizeof name, "%d", i);
    int fd = open(name, O_CREAT | O_RDWR, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(stat(name, &st), 0);
    CHECK_EQ(close(fd), 0);
  }
}

// What the control file says of a hook.
static int NumWaiting(const char* hook) {
  char text[256] = {0};
  int fd = open("control", O_RDONLY);
  CHECK(fd >= 0);
  CHECK(read(fd, text, sizeof text - 1) > 0);
  close(fd);
  const char* line = strstr(text, hook);
  CHECK(line != NULL);
  return atoi(line + strlen(hook));
}
static void Control(const char* verb, const char* hook) {
  char text[64];
  int length = snprintf(text, sizeof text, "%s %s", verb, hook);
  int fd = open("control", O_WRONLY);
  CHECK(fd >= 0);
  CHECK_EQ(write(fd, text, (size_t)length), length);
  close(fd);
}

static void TestFifo(void) {
  pthread_t thread;
  CHECK_EQ(mkfifo("fifo", 0600), 0);
  CHECK_EQ(pthread_create(&thread, NULL, OpenSlow, NULL), 0);
  while (!atomic_load(&started)) usleep(1000);
  usleep(20000);
  OpenOthers(300);
  struct stat st;
  CHECK_EQ(stat("fifo", &st), 0);  // the name itself is not busy
  CHECK_EQ(atomic_load(&done), 0);
  int writer = open("fifo", O_WRONLY);
  CHECK(writer >= 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK(result >= 0);
  CHECK_EQ(write(writer, "x", 1), 1);
  char c = 0;
  CHECK(read(result, &c, 1) == 1 && c == 'x');
}

// `file`: one that nobody has looked up yet.
static void TestHook(const char* hook, const char* file) {
  pthread_t thread;
  slow_name = file;
  atomic_store(&done, 0);
  Control("shut", hook);
  CHECK_EQ(pthread_create(&thread, NULL, OpenSlow, strcmp(hook, "stat") == 0 ? (void*)hook : NULL), 0);
  while (NumWaiting(hook) == 0) usleep(1000);
  OpenOthers(300);
  CHECK_EQ(atomic_load(&done), 0);
  CHECK_EQ(NumWaiting(hook), 1);
  Control("lift", hook);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK(result >= 0);
  if (result > 0) close(result);
}

int main(int argc, char** argv) {
  if (argc < 2) {
    EnterScratchFolder();
    TestFifo();
  } else {
    CHECK_EQ(chdir(argv[1]), 0);
    TestHook("open", "slow1");
    TestHook("lookup", "slow2");
    TestHook("stat", "slow3");
  }
  return Finish();
}
