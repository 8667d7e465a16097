// A thread reads into a page while another one forks and writes to the same page: every byte that read has told is there.
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { kBytes = 2048, kForks = 3000 };
static unsigned char* page;
static int stop, pipes[2];

static void* Reader(void* unused) {
  (void)unused;
  unsigned char sent[kBytes];
  for (unsigned n = 0; !__atomic_load_n(&stop, __ATOMIC_SEQ_CST); ++n) {
    memset(sent, (int)(n % 251 + 1), sizeof(sent));
    CHECK_EQ(write(pipes[1], sent, sizeof(sent)), kBytes);
    memset(page, 0, kBytes);
    CHECK_EQ(read(pipes[0], page, kBytes), kBytes);
    CHECK_EQ(memcmp(page, sent, kBytes), 0);
  }
  return NULL;
}

// Ends at once: clearing its thread's number is a store of the kernel's, too, and join waits for that.
static void* Short(void* unused) { return unused; }

int main(void) {
  CHECK_EQ(pipe(pipes), 0);
  page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  pthread_t reader;
  CHECK_EQ(pthread_create(&reader, NULL, Reader, NULL), 0);
  for (int i = 0; i < kForks; ++i) {
    pthread_t other;
    if (i % 8 == 0) CHECK_EQ(pthread_create(&other, NULL, Short, NULL), 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(0);
    for (int k = 0; k < 200; ++k) ++((volatile unsigned char*)page)[3000];
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    if (i % 8 == 0) CHECK_EQ(pthread_join(other, NULL), 0);
  }
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  CHECK_EQ(pthread_join(reader, NULL), 0);
  return Finish();
}
