// A futex in shared memory works between processes; a private one does not see the other's word.
#include "check.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct Shared {
  pthread_mutex_t mutex;
  pthread_cond_t condition;
  int value;
};

int main(void) {
  struct Shared* shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_t mutex_attributes;
  pthread_mutexattr_init(&mutex_attributes);
  pthread_mutexattr_setpshared(&mutex_attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&shared->mutex, &mutex_attributes);
  pthread_condattr_t condition_attributes;
  pthread_condattr_init(&condition_attributes);
  pthread_condattr_setpshared(&condition_attributes, PTHREAD_PROCESS_SHARED);
  pthread_cond_init(&shared->condition, &condition_attributes);
  for (int i = 0; i < 3; ++i)
    if (fork() == 0) {
      for (int n = 0; n < 200; ++n) {
        pthread_mutex_lock(&shared->mutex);
        while (shared->value % 4 != i + 1) pthread_cond_wait(&shared->condition, &shared->mutex);
        shared->value++;
        pthread_cond_broadcast(&shared->condition);
        pthread_mutex_unlock(&shared->mutex);
      }
      _exit(0);
    }
  for (int n = 0; n < 200; ++n) {
    pthread_mutex_lock(&shared->mutex);
    while (shared->value % 4 != 0) pthread_cond_wait(&shared->condition, &shared->mutex);
    shared->value++;
    pthread_cond_broadcast(&shared->condition);
    pthread_mutex_unlock(&shared->mutex);
  }
  int status;
  while (wait(&status) > 0) CHECK_EQ(status, 0);
  CHECK_EQ(shared->value, 800);
  return Finish();
}
