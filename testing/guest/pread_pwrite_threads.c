// Threads that read and write one file at their own positions do not disturb each other, nor those that share the
// file's position: each record is read once, whoever takes it, and preadv2 with offset -1 takes the next one too.
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>

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

enum { kRecords = 3000, kRecord = 64 };
static int records;
static int takers = 2;

static void* Take(void* argument) {
  char* taken = argument;
  int32_t record[kRecord / 4];
  struct iovec piece = {record, kRecord};
  for (int i = 0;; ++i) {
    ssize_t n = i % 2 ? read(records, record, kRecord) : preadv2(records, &piece, 1, -1, 0);
    CHECK(n == 0 || n == kRecord);
    if (n == 0) break;
    CHECK(record[0] >= 0 && record[0] < kRecords);
    CHECK_EQ(record[kRecord / 4 - 1], ~record[0]);
    taken[record[0]]++;
  }
  __atomic_sub_fetch(&takers, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static void* Look(void* argument) {
  (void)argument;
  int32_t record[kRecord / 4];
  for (int i = 0; __atomic_load_n(&takers, __ATOMIC_SEQ_CST) != 0; i = (i + 37) % kRecords) {
    CHECK_EQ(pread(records, record, kRecord, (off_t)i * kRecord), kRecord);
    CHECK_EQ(record[0], i);
    CHECK_EQ(pwrite(records, record, kRecord, (off_t)i * kRecord), kRecord);
  }
  return NULL;
}

static void SharePosition(void) {
  static char taken[2][kRecords];
  records = open("records", O_RDWR | O_CREAT, 0600);
  for (int i = 0; i < kRecords; ++i) {
    int32_t record[kRecord / 4] = {i};
    record[kRecord / 4 - 1] = ~i;
    CHECK_EQ(write(records, record, kRecord), kRecord);
  }
  CHECK_EQ(lseek(records, 0, SEEK_SET), 0);
  pthread_t threads[4];
  for (int i = 0; i < 2; ++i) {
    CHECK_EQ(pthread_create(&threads[i], NULL, Take, taken[i]), 0);
    CHECK_EQ(pthread_create(&threads[2 + i], NULL, Look, NULL), 0);
  }
  for (int i = 0; i < 4; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  for (int i = 0; i < kRecords; ++i) CHECK_EQ(taken[0][i] + taken[1][i], 1);
  CHECK_EQ(lseek(records, 0, SEEK_CUR), kRecords * kRecord);
}

int main(void) {
  EnterScratchFolder();
  fd = open("file", O_RDWR | O_CREAT, 0600);
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Work, (void*)i), 0);
  for (int i = 0; i < kThreads; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);
  SharePosition();
  return Finish();
}
