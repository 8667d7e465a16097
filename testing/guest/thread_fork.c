// fork and pthread_atfork in a process with threads: the child has one thread, and may make more.
#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/wait.h>

static int prepared, in_parent, in_child, stop;
static void Prepare(void) { ++prepared; }
static void Parent(void) { ++in_parent; }
static void Child(void) { ++in_child; }

static void* Churn(void* unused) {
  (void)unused;
  while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) free(malloc(100));
  return NULL;
}
static void* Answer(void* unused) {
  (void)unused;
  return (void*)42;
}

static int NumThreads(void) {
  DIR* tasks = opendir("/proc/self/task");
  CHECK(tasks != NULL);
  int n = 0;
  for (struct dirent* e; (e = readdir(tasks)) != NULL;) n += e->d_name[0] != '.';
  CHECK_EQ(closedir(tasks), 0);
  return n;
}

int main(void) {
  CHECK_EQ(pthread_atfork(Prepare, Parent, Child), 0);
  pthread_t t[3];
  for (int i = 0; i < 3; ++i) CHECK_EQ(pthread_create(&t[i], NULL, Churn, NULL), 0);
  CHECK_EQ(NumThreads(), 4);
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      CHECK_EQ(NumThreads(), 1);
      CHECK_EQ(in_child, 1);
      free(malloc(1000));
      pthread_t mine;
      void* answer;
      CHECK_EQ(pthread_create(&mine, NULL, Answer, NULL), 0);
      CHECK_EQ(pthread_join(mine, &answer), 0);
      _exit((int)(intptr_t)answer);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 42 << 8);
  }
  CHECK(prepared == 20 && in_parent == 20 && in_child == 0);
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < 3; ++i) CHECK_EQ(pthread_join(t[i], NULL), 0);
  return Finish();
}
