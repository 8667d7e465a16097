// Read-write locks, barriers, spin locks, semaphores, once, and keys with destructors.
#include "check.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

enum { kThreads = 4, kRounds = 50 };
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_spinlock_t spin;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static sem_t semaphore;
static int value, serial, num_once, num_destroyed, spun;

static void Once(void) { ++num_once; }
static void Destroy(void* p) {
  CHECK(p != NULL);
  __atomic_add_fetch(&num_destroyed, 1, __ATOMIC_SEQ_CST);
}

static void* Run(void* self) {
  CHECK_EQ(pthread_once(&once, Once), 0);
  CHECK_EQ(pthread_setspecific(key, self), 0);
  for (int i = 0; i < kRounds; ++i) {
    CHECK_EQ(pthread_rwlock_wrlock(&lock), 0);
    ++value;
    CHECK_EQ(pthread_rwlock_unlock(&lock), 0);
    const int arrived = pthread_barrier_wait(&barrier);
    if (arrived == PTHREAD_BARRIER_SERIAL_THREAD) ++serial;
    CHECK_EQ(pthread_rwlock_rdlock(&lock), 0);
    CHECK_EQ(value, (i + 1) * kThreads);
    CHECK_EQ(pthread_rwlock_unlock(&lock), 0);
    pthread_spin_lock(&spin);
    ++spun;
    pthread_spin_unlock(&spin);
    pthread_barrier_wait(&barrier);
  }
  CHECK_EQ(sem_post(&semaphore), 0);
  CHECK(pthread_getspecific(key) == self);
  return NULL;
}

int main(void) {
  CHECK_EQ(pthread_barrier_init(&barrier, NULL, kThreads), 0);
  CHECK_EQ(pthread_spin_init(&spin, 0), 0);
  CHECK_EQ(pthread_key_create(&key, Destroy), 0);
  CHECK_EQ(sem_init(&semaphore, 0, 0), 0);
  pthread_t t[kThreads];
  for (int i = 0; i < kThreads; ++i) CHECK_EQ(pthread_create(&t[i], NULL, Run, (void*)(intptr_t)(i + 1)), 0);
  for (int i = 0; i < kThreads; ++i) CHECK_EQ(sem_wait(&semaphore), 0);
  CHECK_FAILS(sem_trywait(&semaphore), EAGAIN);
  struct timespec past = {1, 0};
  CHECK_FAILS(sem_timedwait(&semaphore, &past), ETIMEDOUT);
  for (int i = 0; i < kThreads; ++i) CHECK_EQ(pthread_join(t[i], NULL), 0);
  CHECK_EQ(serial, kRounds);
  CHECK_EQ(spun, kThreads * kRounds);
  CHECK_EQ(num_once, 1);
  CHECK_EQ(num_destroyed, kThreads);
  CHECK_EQ(pthread_rwlock_rdlock(&lock), 0);
  CHECK_EQ(pthread_rwlock_trywrlock(&lock), EBUSY);
  return Finish();
}
