// Cancellation: in a blocking call, at a cancellation point, asynchronously; cleanup handlers; detached threads.
#include "check.h"

#include <pthread.h>
#include <time.h>

static int num_cleaned, is_running;
static void Clean(void* p) { num_cleaned += *(int*)p; }

static void* InRead(void* fd) {
  int one = 1;
  pthread_cleanup_push(Clean, &one);
  char c;
  __atomic_store_n(&is_running, 1, __ATOMIC_SEQ_CST);
  read(*(int*)fd, &c, 1);
  pthread_cleanup_pop(0);
  return NULL;
}

static void* Spinning(void* how) {
  int ten = 10;
  int old;
  pthread_cleanup_push(Clean, &ten);
  CHECK_EQ(pthread_setcanceltype(*(int*)how, &old), 0);
  __atomic_store_n(&is_running, 1, __ATOMIC_SEQ_CST);
  if (*(int*)how == PTHREAD_CANCEL_ASYNCHRONOUS)
    for (;;) continue;
  for (;;) pthread_testcancel();
  pthread_cleanup_pop(0);
  return NULL;
}

static void* Disabled(void* unused) {
  (void)unused;
  int old;
  CHECK_EQ(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old), 0);
  __atomic_store_n(&is_running, 1, __ATOMIC_SEQ_CST);
  usleep(20000);
  return (void*)5;
}

static void* CancelOne(void* (*run)(void*), void* argument) {
  pthread_t t;
  void* result;
  is_running = 0;
  CHECK_EQ(pthread_create(&t, NULL, run, argument), 0);
  while (!__atomic_load_n(&is_running, __ATOMIC_SEQ_CST)) usleep(500);
  usleep(2000);
  CHECK_EQ(pthread_cancel(t), 0);
  CHECK_EQ(pthread_join(t, &result), 0);
  return result;
}

int main(void) {
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  CHECK(CancelOne(InRead, &fds[0]) == PTHREAD_CANCELED);
  CHECK_EQ(num_cleaned, 1);
  int how = PTHREAD_CANCEL_DEFERRED;
  CHECK(CancelOne(Spinning, &how) == PTHREAD_CANCELED);
  how = PTHREAD_CANCEL_ASYNCHRONOUS;
  CHECK(CancelOne(Spinning, &how) == PTHREAD_CANCELED);
  CHECK_EQ(num_cleaned, 21);
  CHECK(CancelOne(Disabled, NULL) == (void*)5);
  return Finish();
}
