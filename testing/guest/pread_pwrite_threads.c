// Threads that read and write one file at their own positions do not disturb each other.
#include "check.h"
#include <fcntl.h>
#include <pthread.h>

enum { kThreads = 4, kRounds = 500, kBlock = 1000 };
static int fd;

static void* Work(void* argument) {
  int id = (int)(intptr_t)argument;
  char out[kBlock], in[kBlock];
  for (int i = 0; i < kRounds; ++i) {
    memset(out, id * 50 + i % 50, kBlock);
    off_t at = (off_t)id * kBlock + (off_t)(i % 7) * kThreads * kBlock;
    CHECK_EQ(pwrite(fd, out, kBlock, at), kBlock);
    CHECK_EQ(pread(fd, in, kBlock, at), kBlock);
    CHECK(memcmp(in, out, kBlock) == 0);
  }
  return NULL;
}

int main(void) {
  EnterScratchFolder();
  fd = open("file", O_RDWR | O_CREAT, 0600);
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Work, (void*)i), 0);
  for (int i = 0; i < kThreads; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
  return Finish();
}
