// pthreads: create, join, mutex, condition variable, thread-local storage, many at once.
#include "check.h"
#include <pthread.h>
#include <sys/syscall.h>

enum { kThreads = 8, kRounds = 3000 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int counter, turn;
static __thread int mine = 5;

static void* Work(void* argument) {
  int id = (int)(intptr_t)argument;
  CHECK_EQ(mine, 5);
  mine = id;
  for (int i = 0; i < kRounds; ++i) {
    pthread_mutex_lock(&mutex);
    counter++;
    pthread_mutex_unlock(&mutex);
  }
  for (int i = 0; i < 20; ++i) {
    pthread_mutex_lock(&mutex);
    while (turn % kThreads != id) pthread_cond_wait(&condition, &mutex);
    turn++;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
  }
  CHECK_EQ(mine, id);
  CHECK(syscall(SYS_gettid) != getpid());
  return (void*)(intptr_t)(id * 3);
}

int main(void) {
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Work, (void*)i), 0);
  for (intptr_t i = 0; i < kThreads; ++i) {
    void* result;
    CHECK_EQ(pthread_join(threads[i], &result), 0);
    CHECK_EQ((intptr_t)result, i * 3);
  }
  CHECK_EQ(counter, kThreads * kRounds);
  CHECK_EQ(turn, kThreads * 20);
  CHECK_EQ(mine, 5);
  for (int i = 0; i < 100; ++i) {
    pthread_t thread;
    turn = 0;
    CHECK_EQ(pthread_create(&thread, NULL, (void* (*)(void*))(void*)getpid, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
  }
  return Finish();
}
