// Thread-local variables: values of each thread, alignment, large ones, and FS of each thread.
#include "check.h"

#include <pthread.h>

static __thread int counter = 5;
static __thread char zeroed[5000];
static __thread struct {
  _Alignas(64) char bytes[64];
} aligned = {{1, 2, 3}};

static void* Run(void* result) {
  CHECK_EQ(counter, 5);
  CHECK_EQ((uintptr_t)&aligned % 64, 0);
  CHECK(aligned.bytes[0] == 1 && aligned.bytes[2] == 3 && aligned.bytes[3] == 0);
  for (unsigned i = 0; i < sizeof(zeroed); ++i) CHECK_EQ(zeroed[i], 0);
  for (int i = 0; i < 10000; ++i) ++counter;
  memset(zeroed, 1, sizeof(zeroed));
  errno = 77;
  uintptr_t self;
  __asm__("movq %%fs:0, %0" : "=r"(self));
  *(uintptr_t*)result = self;
  CHECK_EQ(errno, 77);
  return (void*)(intptr_t)counter;
}

int main(void) {
  pthread_t t[8];
  uintptr_t bases[8];
  for (int i = 0; i < 8; ++i) CHECK_EQ(pthread_create(&t[i], NULL, Run, &bases[i]), 0);
  for (int i = 0; i < 8; ++i) {
    void* result;
    CHECK_EQ(pthread_join(t[i], &result), 0);
    CHECK_EQ((intptr_t)result, 10005);
    CHECK_EQ(bases[i], (uintptr_t)t[i]);  // glibc: a thread's handle is its block
  }
  CHECK_EQ(counter, 5);
  return Finish();
}
