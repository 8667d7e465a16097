// Mutexes: recursive, error-checking, timed, try; and one that the dead owner leaves (robust).
#include "check.h"

#include <pthread.h>
#include <time.h>

static pthread_mutex_t MakeMutex(int kind, int robust) {
  pthread_mutex_t m;
  pthread_mutexattr_t a;
  CHECK_EQ(pthread_mutexattr_init(&a), 0);
  CHECK_EQ(pthread_mutexattr_settype(&a, kind), 0);
  CHECK_EQ(pthread_mutexattr_setrobust(&a, robust), 0);
  CHECK_EQ(pthread_mutex_init(&m, &a), 0);
  return m;
}

static void* TryIt(void* m) { return (void*)(intptr_t)pthread_mutex_trylock(m); }
static void* TimeIt(void* m) {
  struct timespec until;
  CHECK_EQ(clock_gettime(CLOCK_REALTIME, &until), 0);
  until.tv_nsec += 10000000;
  if (until.tv_nsec >= 1000000000) ++until.tv_sec, until.tv_nsec -= 1000000000;
  return (void*)(intptr_t)pthread_mutex_timedlock(m, &until);
}
static void* LockAndDie(void* m) { return (void*)(intptr_t)pthread_mutex_lock(m); }

static int InThread(void* (*run)(void*), void* m) {
  pthread_t t;
  void* result;
  CHECK_EQ(pthread_create(&t, NULL, run, m), 0);
  CHECK_EQ(pthread_join(t, &result), 0);
  return (int)(intptr_t)result;
}

int main(void) {
  static pthread_mutex_t m;
  m = MakeMutex(PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED);
  CHECK_EQ(pthread_mutex_lock(&m), 0);
  CHECK_EQ(pthread_mutex_lock(&m), 0);
  CHECK_EQ(pthread_mutex_unlock(&m), 0);
  CHECK_EQ(InThread(TryIt, &m), EBUSY);
  CHECK_EQ(InThread(TimeIt, &m), ETIMEDOUT);
  CHECK_EQ(pthread_mutex_unlock(&m), 0);
  CHECK_EQ(InThread(TryIt, &m), 0);

  m = MakeMutex(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED);
  CHECK_EQ(pthread_mutex_unlock(&m), EPERM);
  CHECK_EQ(pthread_mutex_lock(&m), 0);
  CHECK_EQ(pthread_mutex_lock(&m), EDEADLK);

  m = MakeMutex(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST);
  CHECK_EQ(InThread(LockAndDie, &m), 0);
  CHECK_EQ(pthread_mutex_lock(&m), EOWNERDEAD);
  CHECK_EQ(pthread_mutex_consistent(&m), 0);
  CHECK_EQ(pthread_mutex_unlock(&m), 0);
  CHECK_EQ(InThread(LockAndDie, &m), 0);
  CHECK_EQ(pthread_mutex_lock(&m), EOWNERDEAD);
  CHECK_EQ(pthread_mutex_unlock(&m), 0);
  CHECK_EQ(pthread_mutex_lock(&m), ENOTRECOVERABLE);
  return Finish();
}
