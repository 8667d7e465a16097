// FUTEX_WAKE_OP: the operation on the second word, the comparison with what it was, and who is woken.
#include "check.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

static uint32_t first, second;
static int awake;

static long Futex(uint32_t* word, int op, uint32_t value, unsigned long value2, uint32_t* word2, uint32_t value3) {
  return syscall(SYS_futex, word, op, value, value2, word2, value3);
}

static void* Wait(void* word) {
  while (Futex(word, FUTEX_WAIT_PRIVATE, 0, 0, NULL, 0) != 0 && errno == EINTR) continue;
  __atomic_add_fetch(&awake, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

// The word after `operation`, without waiters.
static uint32_t After(uint32_t before, int operation) {
  second = before;
  CHECK_EQ(Futex(&first, FUTEX_WAKE_OP_PRIVATE, 1, 1, &second, (uint32_t)operation), 0);
  return second;
}

int main(void) {
  CHECK_EQ(After(5, FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 0)), 7);
  CHECK_EQ(After(5, FUTEX_OP(FUTEX_OP_ADD, 7, FUTEX_OP_CMP_EQ, 0)), 12);
  CHECK_EQ(After(5, FUTEX_OP(FUTEX_OP_OR, 10, FUTEX_OP_CMP_EQ, 0)), 15);
  CHECK_EQ(After(15, FUTEX_OP(FUTEX_OP_ANDN, 5, FUTEX_OP_CMP_EQ, 0)), 10);
  CHECK_EQ(After(5, FUTEX_OP(FUTEX_OP_XOR, 6, FUTEX_OP_CMP_EQ, 0)), 3);
  CHECK_EQ(After(5, FUTEX_OP(FUTEX_OP_ADD, 0xfff, FUTEX_OP_CMP_EQ, 0)), 4);  // twelve bits, signed
  CHECK_EQ(After(0, FUTEX_OP((FUTEX_OP_SET | FUTEX_OP_OPARG_SHIFT), 4, FUTEX_OP_CMP_EQ, 0)), 16);
  CHECK_FAILS(Futex(&first, FUTEX_WAKE_OP_PRIVATE, 1, 1, &second, 7u << 28), ENOSYS);
  CHECK_FAILS(Futex(&first, FUTEX_WAKE_OP_PRIVATE, 1, 1, (uint32_t*)4, 0), EFAULT);

  // Waiters on both words: the second's are woken only if the comparison holds.
  first = second = 0;
  pthread_t a, b;
  CHECK_EQ(pthread_create(&a, NULL, Wait, &first), 0);
  CHECK_EQ(pthread_create(&b, NULL, Wait, &second), 0);
  long woken = 0;
  while (woken == 0) {
    woken = Futex(&first, FUTEX_WAKE_OP_PRIVATE, 1, 1, &second, FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_GT, 0));
    CHECK(woken >= 0);
    usleep(1000);
  }
  CHECK_EQ(woken, 1);
  CHECK_EQ(pthread_join(a, NULL), 0);
  CHECK_EQ(awake, 1);
  woken = 0;
  while (woken == 0) {
    woken = Futex(&first, FUTEX_WAKE_OP_PRIVATE, 1, 1, &second, FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_LE, 0));
    usleep(1000);
  }
  CHECK_EQ(woken, 1);
  CHECK_EQ(pthread_join(b, NULL), 0);
  return Finish();
}
