// FUTEX_WAIT_BITSET and WAKE_BITSET: masks, absolute deadlines on either clock, errors.
#include "check.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

static uint32_t word;
static uint32_t order[2];
static uint32_t num_woken;

static long Futex(int op, uint32_t value, const struct timespec* until, uint32_t mask) {
  return syscall(SYS_futex, &word, op, value, until, NULL, mask);
}

static void* Wait(void* mask) {
  CHECK_EQ(Futex(FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, (uint32_t)(uintptr_t)mask), 0);
  order[__atomic_fetch_add(&num_woken, 1, __ATOMIC_SEQ_CST)] = (uint32_t)(uintptr_t)mask;
  return NULL;
}

static void WakeOne(uint32_t mask) {
  while (Futex(FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, mask) != 1) usleep(1000);
}

int main(void) {
  CHECK_FAILS(Futex(FUTEX_WAIT_BITSET_PRIVATE, 1, NULL, 1), EAGAIN);
  CHECK_FAILS(Futex(FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, 0), EINVAL);
  CHECK_FAILS(Futex(FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, 0), EINVAL);
  struct timespec past = {1, 0}, bad = {0, 1000000000};
  CHECK_FAILS(Futex(FUTEX_WAIT_BITSET_PRIVATE, 0, &past, ~0u), ETIMEDOUT);
  CHECK_FAILS(Futex(FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &past, ~0u), ETIMEDOUT);
  CHECK_FAILS(Futex(FUTEX_WAIT_BITSET_PRIVATE, 0, &bad, ~0u), EINVAL);
  struct timespec soon;
  CHECK_EQ(clock_gettime(CLOCK_REALTIME, &soon), 0);
  soon.tv_nsec += 20000000;
  if (soon.tv_nsec >= 1000000000) ++soon.tv_sec, soon.tv_nsec -= 1000000000;
  CHECK_FAILS(Futex(FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &soon, ~0u), ETIMEDOUT);
  struct timespec now;
  CHECK_EQ(clock_gettime(CLOCK_REALTIME, &now), 0);
  CHECK(now.tv_sec > soon.tv_sec || (now.tv_sec == soon.tv_sec && now.tv_nsec >= soon.tv_nsec));

  pthread_t a, b;
  CHECK_EQ(pthread_create(&a, NULL, Wait, (void*)1), 0);
  CHECK_EQ(pthread_create(&b, NULL, Wait, (void*)6), 0);
  WakeOne(4);
  CHECK_EQ(pthread_join(b, NULL), 0);
  CHECK_EQ(Futex(FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, 8), 0);
  WakeOne(~0u);
  CHECK_EQ(pthread_join(a, NULL), 0);
  CHECK(order[0] == 6 && order[1] == 1);
  return Finish();
}
