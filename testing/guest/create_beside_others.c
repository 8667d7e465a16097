// Threads make files in one folder, each under names of its own: what one has made is there, by its path and by its name
// in the working directory, whatever the others make and remove beside it; and once it is removed it is gone.
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

enum { kThreads = 4, kRounds = 3000 };
static char folder[] = "/tmp/create_beside_others.XXXXXX";

static void* Maker(void* number) {
  char name[32], path[96], renamed[32];
  snprintf(name, sizeof(name), "n%d", (int)(long)number);
  snprintf(renamed, sizeof(renamed), "m%d", (int)(long)number);
  snprintf(path, sizeof(path), "%s/%s", folder, name);
  for (int i = 0; i < kRounds; ++i) {
    struct stat status;
    CHECK_FAILS(stat(name, &status), ENOENT);
    const int file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    CHECK(file >= 0);
    CHECK_EQ(close(file), 0);
    CHECK_EQ(stat(name, &status), 0);
    // Not only for who asks whether it is there yet.
    const int again = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK(again >= 0);
    CHECK_EQ(close(again), 0);
    CHECK_EQ(rename(name, renamed), 0);
    CHECK_FAILS(stat(path, &status), ENOENT);
    CHECK_EQ(stat(renamed, &status), 0);
    CHECK_EQ(unlink(renamed), 0);
    CHECK_FAILS(unlink(renamed), ENOENT);
  }
  return NULL;
}

int main(void) {
  CHECK(mkdtemp(folder) != NULL);
  CHECK_EQ(chdir(folder), 0);
  pthread_t threads[kThreads];
  for (long i = 0; i < kThreads; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Maker, (void*)i), 0);
  for (int i = 0; i < kThreads; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(rmdir(folder), 0);
  return Finish();
}
