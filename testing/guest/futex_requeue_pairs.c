// FUTEX_CMP_REQUEUE, FUTEX_REQUEUE and FUTEX_WAKE_OP between pairs of words, both directions at once, from threads and
// processes: two buckets are locked for each, and one order for all of them keeps that from a deadlock.
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { kWords = 8, kMovers = 3, kWaiters = 4, kProcesses = 2, kRounds = 300 };

struct Shared {
  uint32_t words[kWords][16];  // each on a line of its own
  uint32_t stop;
  uint32_t waits_done;
};
static struct Shared* shared;
static int private_flag;  // 0: between processes

static long Futex(uint32_t* word, int op, uint32_t value, uint64_t value2, uint32_t* word2, uint32_t value3) {
  return syscall(SYS_futex, word, op | private_flag, value, value2, word2, value3);
}

// Moves and wakes between words a and b, in the direction that its number says.
static void* Mover(void* argument) {
  const int number = (int)(intptr_t)argument;
  for (unsigned i = 0; !__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE); ++i) {
    int first = (int)((i * 5 + (unsigned)number) % kWords), second = (int)((i * 3 + 1) % kWords);
    if (number % 2 == 1) {
      int swap = first;
      first = second, second = swap;
    }
    uint32_t* a = shared->words[first];
    uint32_t* b = shared->words[second];
    switch (i % 3) {
      case 0: {
        long moved = Futex(a, FUTEX_CMP_REQUEUE, 1, 2, b, __atomic_load_n(a, __ATOMIC_RELAXED));
        CHECK(moved >= 0 || errno == EAGAIN);
        break;
      }
      case 1:
        CHECK(Futex(a, FUTEX_REQUEUE, 0, 1, b, 0) >= 0);
        break;
      default:
        CHECK(Futex(a, FUTEX_WAKE_OP, 1, 1, b, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_GE, 0)) >= 0);
    }
    sched_yield();
  }
  return NULL;
}

static void* Waiter(void* argument) {
  uint32_t* word = shared->words[(intptr_t)argument % kWords];
  for (int i = 0; i < kRounds; ++i) {
    struct timespec short_time = {0, 3000000};
    long result = Futex(word, FUTEX_WAIT, __atomic_load_n(word, __ATOMIC_RELAXED), (uint64_t)&short_time, NULL, 0);
    CHECK(result == 0 || errno == EAGAIN || errno == ETIMEDOUT);
  }
  __atomic_fetch_add(&shared->waits_done, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static void RunThreads(void) {
  pthread_t movers[kMovers], waiters[kWaiters];
  for (intptr_t i = 0; i < kMovers; ++i) CHECK_EQ(pthread_create(&movers[i], NULL, Mover, (void*)i), 0);
  for (intptr_t i = 0; i < kWaiters; ++i) CHECK_EQ(pthread_create(&waiters[i], NULL, Waiter, (void*)(i * 3)), 0);
  for (int i = 0; i < kWaiters; ++i) pthread_join(waiters[i], NULL);
  if (private_flag != 0) __atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
  while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE)) sched_yield();
  for (int i = 0; i < kMovers; ++i) pthread_join(movers[i], NULL);
}

// --- who is woken, who is moved ---

static uint32_t ready, returned;
static uint32_t *from, *to;
static void* WaitOnFrom(void* argument) {
  (void)argument;
  __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
  CHECK_EQ(Futex(from, FUTEX_WAIT, 0, 0, NULL, 0), 0);
  __atomic_fetch_add(&returned, 1, __ATOMIC_SEQ_CST);
  return NULL;
}
static void AwaitReturned(uint32_t n) {
  while (__atomic_load_n(&returned, __ATOMIC_SEQ_CST) < n) sched_yield();
  usleep(2000);
  CHECK_EQ(__atomic_load_n(&returned, __ATOMIC_SEQ_CST), n);
}

static void Counts(void) {
  pthread_t threads[5];
  private_flag = FUTEX_PRIVATE_FLAG;
  from = shared->words[0], to = shared->words[1];
  *from = *to = 0;
  for (int i = 0; i < 5; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, WaitOnFrom, NULL), 0);
  while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < 5) sched_yield();
  usleep(20000);
  CHECK_FAILS(Futex(from, FUTEX_CMP_REQUEUE, 1, 2, to, 7), EAGAIN);
  CHECK_FAILS(Futex(from, FUTEX_CMP_REQUEUE, (uint32_t)-1, 2, to, 0), EINVAL);
  // Words that are the same word: counted, not moved.
  CHECK_EQ(Futex(from, FUTEX_CMP_REQUEUE, 0, 3, from, 0), 3);
  CHECK_EQ(Futex(from, FUTEX_CMP_REQUEUE, 1, 2, to, 0), 3);
  AwaitReturned(1);
  CHECK_EQ(Futex(to, FUTEX_WAKE, 10, 0, NULL, 0), 2);
  AwaitReturned(3);
  CHECK_EQ(Futex(from, FUTEX_REQUEUE, 0, 1, to, 0), 1);
  // One waits on each. The operation sets `to` to 5, whose old value 0 does not exceed 3.
  CHECK_EQ(Futex(from, FUTEX_WAKE_OP, 0, 1, to, FUTEX_OP(FUTEX_OP_SET, 5, FUTEX_OP_CMP_GT, 3)), 1);
  CHECK_EQ(*to, 5);
  AwaitReturned(4);
  CHECK_EQ(Futex(from, FUTEX_WAKE_OP, 1, 1, to, FUTEX_OP(FUTEX_OP_ANDN, 1, FUTEX_OP_CMP_GT, 3)), 1);
  CHECK_EQ(*to, 4);
  AwaitReturned(5);
  for (int i = 0; i < 5; ++i) pthread_join(threads[i], NULL);
  CHECK_FAILS(Futex(from, FUTEX_WAKE_OP, 1, 1, to, FUTEX_OP(6, 1, FUTEX_OP_CMP_GT, 3)), ENOSYS);
}

int main(void) {
  shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  Counts();
  private_flag = FUTEX_PRIVATE_FLAG;
  RunThreads();
  memset(shared, 0, sizeof *shared);
  private_flag = 0;
  pid_t children[kProcesses];
  for (int i = 0; i < kProcesses; ++i) {
    children[i] = fork();
    if (children[i] == 0) {
      RunThreads();
      _exit(0);
    }
  }
  while (__atomic_load_n(&shared->waits_done, __ATOMIC_SEQ_CST) < kProcesses * kWaiters) usleep(1000);
  __atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
  for (int i = 0; i < kProcesses; ++i) {
    int status;
    CHECK_EQ(waitpid(children[i], &status, 0), children[i]);
    CHECK_EQ(status, 0);
  }
  return Finish();
}
