// What a system call has written to memory that mremap moves meanwhile is there afterwards, at the new address: read(2)
// in another thread, process_vm_writev(2) of another process.
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { kPage = 4096, kPages = 64, kRounds = 300, kOld = 0x22, kNew = 0x11 };

// Memory that cannot grow where it is.
static char* MapWithoutRoom(size_t pages) {
  char* range = mmap(NULL, (pages + 1) * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(range != MAP_FAILED);
  CHECK_EQ(mprotect(range, pages * kPage, PROT_READ | PROT_WRITE), 0);
  return range;
}

static char* Grow(char* from, size_t pages) {
  char* to = mremap(from, pages * kPage, 2 * pages * kPage, MREMAP_MAYMOVE);
  CHECK(to != MAP_FAILED && to != from);
  CHECK_EQ(munmap(from + pages * kPage, kPage), 0);
  return to;
}

static void Spend(int loops) {
  for (volatile int i = loops; i > 0; --i) continue;
}

static int file;
static char* buffer;
static _Atomic int asked, ready, answered;
static ssize_t delivered;

static void* ReadWhenAsked(void* unused) {
  for (int round = 1; round <= kRounds; ++round) {
    while (asked != round) continue;
    for (size_t i = 0; i < kPages; ++i) ((volatile char*)buffer)[i * kPage] = kOld;
    ready = round;
    delivered = pread(file, buffer, kPages * kPage, 0);
    answered = round;
  }
  return unused;
}

static void TestRead(void) {
  static char content[kPages * kPage];
  memset(content, kNew, sizeof content);
  file = memfd_create("content", 0);
  CHECK_EQ(write(file, content, sizeof content), (ssize_t)sizeof content);
  pthread_t reader;
  CHECK_EQ(pthread_create(&reader, NULL, ReadWhenAsked, NULL), 0);
  for (int round = 1; round <= kRounds; ++round) {
    buffer = MapWithoutRoom(kPages);
    memset(buffer, kOld, kPages * kPage);
    asked = round;
    while (ready != round) continue;
    Spend(rand() % 8000);
    char* moved = Grow(buffer, kPages);
    while (answered != round) continue;
    for (ssize_t i = 0; i < delivered; ++i) CHECK_EQ(moved[i], kNew);
    CHECK_EQ(munmap(moved, 2 * kPages * kPage), 0);
  }
  CHECK_EQ(pthread_join(reader, NULL), 0);
  close(file);
}

struct Shared {
  char* _Atomic target;
  _Atomic int asked, ready, answered, last;
};

// Writes one number after the other all over a page, until it is gone.
static void WriteFromOutside(pid_t to, struct Shared* shared) {
  static int numbers[kPage / sizeof(int)];
  int number = 0;
  for (int round = 1; round <= kRounds; ++round) {
    while (shared->asked != round)
      if (getppid() != to) _exit(1);
    struct iovec from = {numbers, kPage}, there = {shared->target, kPage};
    while (1) {
      ++number;
      for (size_t i = 0; i < kPage / sizeof(int); ++i) numbers[i] = number;
      if (process_vm_writev(to, &from, 1, &there, 1, 0) != kPage) break;
      shared->last = number;
      shared->ready = round;
    }
    shared->answered = round;
  }
  _exit(0);
}

static void TestRemoteWrite(void) {
  enum { kFew = 8 };
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  struct Shared* shared = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  pid_t self = getpid(), writer = fork();
  if (writer == 0) WriteFromOutside(self, shared);
  CHECK(writer > 0);
  for (int round = 1; round <= kRounds; ++round) {
    char* old = MapWithoutRoom(kFew);
    memset(old, 0, kFew * kPage);
    shared->target = old;
    shared->asked = round;
    while (shared->ready != round) continue;
    Spend(rand() % 3000);
    char* moved = Grow(old, kFew);
    while (shared->answered != round) continue;
    // The last one may have been refused in the middle.
    for (size_t i = 0; i < kPage / sizeof(int); ++i) {
      int number = ((int*)moved)[i];
      CHECK(number == shared->last || number == shared->last + 1);
    }
    CHECK_EQ(munmap(moved, 2 * kFew * kPage), 0);
  }
  CHECK_EQ(waitpid(writer, NULL, 0), writer);
}

int main(void) {
  TestRead();
  TestRemoteWrite();
  return Finish();
}
