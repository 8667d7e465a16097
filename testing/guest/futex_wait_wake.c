// Futexes at their door: expected value, wake counts, relative and absolute time-outs on the clock named, bitsets, requeue, errors.
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

static uint32_t word, other;
static int awake;

static long Futex(uint32_t* address, int op, uint32_t value, const void* timeout, uint32_t* address2, uint32_t value3) {
  return syscall(SYS_futex, address, op, value, timeout, address2, value3);
}

static void* Wait(void* bitset) {
  CHECK_EQ(Futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, (uint32_t)(uintptr_t)bitset), 0);
  __atomic_fetch_add(&awake, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static void WakeUntil(int op, uint32_t bitset, uint32_t* address, int wanted) {
  int woken = 0;
  while (woken < wanted) {
    long n = Futex(address, op, 1, NULL, NULL, bitset);
    CHECK(n >= 0 && n <= 1);
    woken += (int)n;
    if (n == 0) usleep(500);
  }
}

int main(void) {
  CHECK_FAILS(Futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0), EAGAIN);
  CHECK_EQ(Futex(&word, FUTEX_WAKE, 10, NULL, NULL, 0), 0);
  struct timespec soon = {0, 10000000}, before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  CHECK_FAILS(Futex(&word, FUTEX_WAIT, 0, &soon, NULL, 0), ETIMEDOUT);
  clock_gettime(CLOCK_MONOTONIC, &after);
  CHECK((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec >= 10000000);
  struct timespec absolute = {after.tv_sec, after.tv_nsec};
  CHECK_FAILS(Futex(&word, FUTEX_WAIT_BITSET, 0, &absolute, NULL, ~0u), ETIMEDOUT);
  clock_gettime(CLOCK_REALTIME, &absolute);
  CHECK_FAILS(Futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &absolute, NULL, ~0u), ETIMEDOUT);
  CHECK_FAILS(Futex(&word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0), EINVAL);
  CHECK_FAILS(Futex((uint32_t*)((char*)&word + 1), FUTEX_WAIT, 0, NULL, NULL, 0), EINVAL);
  CHECK_FAILS(Futex((uint32_t*)8, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
  CHECK_FAILS(Futex(&word, 99, 0, NULL, NULL, 0), ENOSYS);

  pthread_t threads[4];
  for (uintptr_t i = 0; i < 4; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Wait, (void*)(uintptr_t)(i < 2 ? 1 : 2)), 0);
  WakeUntil(FUTEX_WAKE_BITSET_PRIVATE, 2, &word, 2);
  while (__atomic_load_n(&awake, __ATOMIC_SEQ_CST) < 2) usleep(100);
  CHECK_EQ(Futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 2), 0);
  // The other two move to another word and are woken there.
  int moved = 0;
  while (moved < 2) {
    long n = Futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void*)10, &other, 0);
    CHECK(n >= 0);
    moved += (int)n;
    usleep(100);
  }
  CHECK_FAILS(Futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void*)10, &other, 1), EAGAIN);
  CHECK_EQ(Futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0), 0);
  CHECK_EQ(Futex(&other, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0), 2);
  for (int i = 0; i < 4; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(awake, 4);
  return Finish();
}
