// After fork each side sees its own writes only: data, heap, stack, mmap, across three generations and many pages.
#include "check.h"
#include <sys/mman.h>
#include <sys/wait.h>

enum { kPages = 300 };
static int global = 1;

int main(void) {
  int* heap = malloc(sizeof *heap);
  *heap = 10;
  int stack = 100;
  unsigned char* pages = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < kPages; ++i) pages[i * 4096] = (unsigned char)i;
  for (int generation = 0; generation < 3; ++generation) {
    pid_t child = fork();
    if (child == 0) {
      global += 1, *heap += 10, stack += 100;
      for (int i = 0; i < kPages; i += 2) {
        CHECK_EQ(pages[i * 4096], (unsigned char)(i + generation));
        pages[i * 4096]++;
      }
      for (int i = 1; i < kPages; i += 2) CHECK_EQ(pages[i * 4096], (unsigned char)i);
      continue;
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(global, 1 + generation);
    CHECK_EQ(*heap, 10 + generation * 10);
    CHECK_EQ(stack, 100 + generation * 100);
    for (int i = 0; i < kPages; i += 2) CHECK_EQ(pages[i * 4096], (unsigned char)(i + generation));
    if (generation) _exit(0);
    return Finish();
  }
  _exit(0);
}
