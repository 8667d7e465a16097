// A thread reads into 64 pages at once while another one forks and writes to the rest of each: every byte that readv has
// told is there, and none that was not told is changed.
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { kPages = 64, kRead = 4000, kForks = 800 };
static unsigned char (*pages)[4096];
static unsigned char wanted[kPages * kRead];
static int stop, file;

static void* Reader(void* unused) {
  (void)unused;
  struct iovec pieces[kPages];
  for (int i = 0; i < kPages; ++i) pieces[i] = (struct iovec){pages[i], kRead};
  while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
    for (int i = 0; i < kPages; ++i) memset(pages[i], 0xee, kRead);
    CHECK_EQ(preadv(file, pieces, kPages, 0), kPages * kRead);
    for (int i = 0; i < kPages; ++i) CHECK_EQ(memcmp(pages[i], wanted + i * kRead, kRead), 0);
  }
  return NULL;
}

int main(void) {
  // A file of the host's, this program itself: what is read lies there one after the other.
  file = open("/proc/self/exe", O_RDONLY);
  CHECK(file >= 0);
  if (pread(file, wanted, sizeof(wanted), 0) != (ssize_t)sizeof(wanted)) {
    CHECK_EQ(close(file), 0);
    file = open("/bin/bash", O_RDONLY);
    CHECK_EQ(pread(file, wanted, sizeof(wanted), 0), (ssize_t)sizeof(wanted));
  }
  pages = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED);
  pthread_t reader;
  CHECK_EQ(pthread_create(&reader, NULL, Reader, NULL), 0);
  for (int i = 0; i < kForks; ++i) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(0);
    for (int k = 0; k < kPages; ++k) pages[k][kRead + 10] = (unsigned char)i;
    for (int k = 0; k < kPages; ++k) CHECK_EQ(pages[k][kRead + 10], (unsigned char)i);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
  }
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  CHECK_EQ(pthread_join(reader, NULL), 0);
  return Finish();
}
