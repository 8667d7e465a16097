// Threads use a descriptor while another closes it and puts other files there: each call sees one of the files that
// stood there, whole, or EBADF. Asked of Linux 6.1: nothing else is ever seen.
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

enum { kFd = 50, kFiles = 4, kReaders = 3, kRounds = 4000 };

static volatile int stop;
static ino_t inodes[kFiles];
static long seen[kReaders][kFiles + 1];

static void* Look(void* argument) {
  long self = (long)argument;
  while (!stop) {
    struct stat st;
    if (fstat(kFd, &st) != 0) {
      CHECK_EQ(errno, EBADF);
      ++seen[self][kFiles];
      continue;
    }
    int which = 0;
    while (which < kFiles && inodes[which] != st.st_ino) ++which;
    CHECK(which < kFiles);
    ++seen[self][which];
    // What is read belongs to one file: its letter.
    char bytes[64];
    ssize_t n = pread(kFd, bytes, sizeof bytes, 0);
    if (n < 0) {
      CHECK_EQ(errno, EBADF);
      continue;
    }
    CHECK_EQ(n, sizeof bytes);
    CHECK(bytes[0] >= 'a' && bytes[0] < 'a' + kFiles);
    for (int i = 1; i < n; ++i) CHECK_EQ(bytes[i], bytes[0]);
  }
  return NULL;
}

int main(void) {
  EnterScratchFolder();
  int files[kFiles];
  for (int i = 0; i < kFiles; ++i) {
    char name[] = {'f', (char)('a' + i), 0}, bytes[64];
    struct stat st;
    files[i] = open(name, O_RDWR | O_CREAT, 0600);
    CHECK(files[i] >= 0);
    memset(bytes, 'a' + i, sizeof bytes);
    CHECK_EQ(write(files[i], bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ(fstat(files[i], &st), 0);
    inodes[i] = st.st_ino;
  }
  pthread_t readers[kReaders];
  for (long i = 0; i < kReaders; ++i) CHECK_EQ(pthread_create(&readers[i], NULL, Look, (void*)i), 0);
  for (int round = 0; round < kRounds; ++round) {
    CHECK_EQ(dup2(files[round % kFiles], kFd), kFd);
    CHECK_EQ(dup2(files[(round * 7 + 1) % kFiles], kFd), kFd);
    if (round % 3 == 0) CHECK_EQ(close(kFd), 0);
    // The table grows and is cloned meanwhile.
    if (round % 500 == 0) {
      CHECK_EQ(dup2(files[0], 200 + round / 16), 200 + round / 16);
      CHECK_EQ(close(200 + round / 16), 0);
    }
  }
  stop = 1;
  long all = 0;
  for (int i = 0; i < kReaders; ++i) {
    CHECK_EQ(pthread_join(readers[i], NULL), 0);
    for (int j = 0; j <= kFiles; ++j) all += seen[i][j];
  }
  CHECK(all > 0);
  return Finish();
}
