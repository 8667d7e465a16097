// Condition variables: signal, broadcast, timed waits on both clocks; a bounded queue of four threads.
#include "check.h"

#include <pthread.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, emptied = PTHREAD_COND_INITIALIZER;
static int queue[4], num_queued;

static void* Produce(void* first) {
  for (int i = 0; i < 1000; ++i) {
    pthread_mutex_lock(&mutex);
    while (num_queued == 4) pthread_cond_wait(&emptied, &mutex);
    queue[num_queued++] = (int)(intptr_t)first + i;
    pthread_cond_signal(&filled);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void* Consume(void* unused) {
  (void)unused;
  long sum = 0;
  for (int i = 0; i < 1000; ++i) {
    pthread_mutex_lock(&mutex);
    while (num_queued == 0) pthread_cond_wait(&filled, &mutex);
    sum += queue[--num_queued];
    pthread_cond_broadcast(&emptied);
    pthread_mutex_unlock(&mutex);
  }
  return (void*)sum;
}

static void WaitInVain(clockid_t clock) {
  pthread_cond_t never;
  pthread_condattr_t a;
  CHECK_EQ(pthread_condattr_init(&a), 0);
  CHECK_EQ(pthread_condattr_setclock(&a, clock), 0);
  CHECK_EQ(pthread_cond_init(&never, &a), 0);
  struct timespec until, now;
  CHECK_EQ(clock_gettime(clock, &until), 0);
  until.tv_nsec += 10000000;
  if (until.tv_nsec >= 1000000000) ++until.tv_sec, until.tv_nsec -= 1000000000;
  pthread_mutex_lock(&mutex);
  int result;
  while ((result = pthread_cond_timedwait(&never, &mutex, &until)) == 0) continue;
  CHECK_EQ(result, ETIMEDOUT);
  pthread_mutex_unlock(&mutex);
  CHECK_EQ(clock_gettime(clock, &now), 0);
  CHECK(now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
}

int main(void) {
  pthread_t t[4];
  CHECK_EQ(pthread_create(&t[0], NULL, Produce, (void*)0), 0);
  CHECK_EQ(pthread_create(&t[1], NULL, Produce, (void*)1000), 0);
  CHECK_EQ(pthread_create(&t[2], NULL, Consume, NULL), 0);
  CHECK_EQ(pthread_create(&t[3], NULL, Consume, NULL), 0);
  void *a, *b;
  CHECK_EQ(pthread_join(t[0], NULL), 0);
  CHECK_EQ(pthread_join(t[1], NULL), 0);
  CHECK_EQ(pthread_join(t[2], &a), 0);
  CHECK_EQ(pthread_join(t[3], &b), 0);
  CHECK_EQ((long)a + (long)b, 1999L * 2000 / 2);
  WaitInVain(CLOCK_REALTIME);
  WaitInVain(CLOCK_MONOTONIC);
  return Finish();
}
