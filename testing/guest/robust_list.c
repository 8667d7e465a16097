// A robust mutex whose owner dies is handed on with EOWNERDEAD.
#include "check.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

static void* LockAndLeave(void* mutex) {
  CHECK_EQ(pthread_mutex_lock(mutex), 0);
  return NULL;
}

int main(void) {
  pthread_mutex_t* mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  CHECK_EQ(pthread_mutex_init(mutex, &attributes), 0);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, LockAndLeave, mutex), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  CHECK_EQ(pthread_mutex_consistent(mutex), 0);
  CHECK_EQ(pthread_mutex_unlock(mutex), 0);
  pid_t child = fork();
  if (child == 0) {
    pthread_mutex_lock(mutex);
    _exit(0);
  }
  CHECK_EQ(waitpid(child, NULL, 0), child);
  CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  return Finish();
}
