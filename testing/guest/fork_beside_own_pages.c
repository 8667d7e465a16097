// After a fork one side makes pages its own again, and then writes, from the same instruction, to those on both sides
// that are shared yet: at each place where something larger than a page may end.
#include "check.h"
#include <sys/mman.h>
#include <sys/wait.h>

enum { kLarge = 2 << 20, kPage = 4096, kLarges = 4, kPages = kLarges * kLarge / kPage };

static __attribute__((noinline)) void Write(volatile long* at, long value) { *at = value; }

static void Exchange(int to_write, int to_read) {
  char token = 'x';
  CHECK_EQ(write(to_write, &token, 1), 1);
  CHECK_EQ(read(to_read, &token, 1), 1);
}

// One side writes the page behind, or before, a boundary of 2 MiB, which is the other's alone then; that one (the child
// if `child_writes`) writes it often, and all others once.
static void Try(char* pages, int boundary, int last, int child_writes) {
  const int own = boundary * (kLarge / kPage) - (last ? 1 : 0);
  for (int i = 0; i < kPages; ++i) Write((long*)(pages + (long)i * kPage), 1);
  int to_child[2], to_parent[2];
  CHECK_EQ(pipe(to_child), 0);
  CHECK_EQ(pipe(to_parent), 0);
  const pid_t child = fork();
  CHECK(child >= 0);
  const int is_child = child == 0;
  const int out = is_child ? to_parent[1] : to_child[1], in = is_child ? to_child[0] : to_parent[0];
  if (is_child != child_writes) Write((long*)(pages + (long)own * kPage), 2);
  Exchange(out, in);
  if (is_child == child_writes) {
    for (int i = 0; i < 1000; ++i) Write((long*)(pages + (long)own * kPage), 3);
    for (int i = 0; i < kPages; ++i) Write((long*)(pages + (long)i * kPage), 4);
  }
  Exchange(out, in);
  for (int i = 0; i < kPages; ++i) {
    const long expected = is_child == child_writes ? 4 : i == own ? 2 : 1;
    CHECK_EQ(*(volatile long*)(pages + (long)i * kPage), expected);
  }
  if (is_child) _exit(0);
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  for (int i = 0; i < 2; ++i) CHECK(close(to_child[i]) == 0 && close(to_parent[i]) == 0);
}

int main(void) {
  char* mapped = mmap(NULL, (kLarges + 1) * kLarge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mapped != MAP_FAILED);
  char* pages = (char*)(((uintptr_t)mapped + kLarge - 1) & ~(uintptr_t)(kLarge - 1));
  for (int boundary = 1; boundary < kLarges; ++boundary)
    for (int last = 0; last < 2; ++last)
      for (int child_writes = 0; child_writes < 2; ++child_writes) Try(pages, boundary, last, child_writes);
  return Finish();
}
