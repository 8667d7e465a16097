// getrusage, wait4's usage and times: CPU time, memory, faults, switches; of oneself, a thread, children.
#include "check.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/times.h>
#include <sys/wait.h>

static double Seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static void Burn(double seconds) {
  struct rusage usage;
  CHECK_EQ(getrusage(RUSAGE_THREAD, &usage), 0);
  double until = Seconds(usage.ru_utime) + Seconds(usage.ru_stime) + seconds;
  do {
    for (volatile int i = 0; i < 10000; ++i) {
    }
    getrusage(RUSAGE_THREAD, &usage);
  } while (Seconds(usage.ru_utime) + Seconds(usage.ru_stime) < until);
}

static void* OfThread(void* unused) {
  struct rusage usage;
  CHECK_EQ(getrusage(RUSAGE_THREAD, &usage), 0);
  CHECK(Seconds(usage.ru_utime) + Seconds(usage.ru_stime) < 0.04);
  Burn(0.02);
  return unused;
}

int main(void) {
  struct rusage usage, before;
  Burn(0.05);
  CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  CHECK(Seconds(usage.ru_utime) + Seconds(usage.ru_stime) >= 0.05);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, OfThread, NULL), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  CHECK(Seconds(usage.ru_utime) + Seconds(usage.ru_stime) >= 0.07);

  // Touching pages is a fault each, and makes the process larger.
  const size_t kPages = 2000;
  CHECK_EQ(getrusage(RUSAGE_SELF, &before), 0);
  char* memory = mmap(NULL, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  madvise(memory, kPages * 4096, MADV_NOHUGEPAGE);
  for (size_t i = 0; i < kPages; ++i) memory[i * 4096] = 1;
  CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  CHECK(usage.ru_minflt - before.ru_minflt >= 2000);
  CHECK(usage.ru_maxrss >= 8000);
  usleep(1000);
  CHECK_EQ(getrusage(RUSAGE_SELF, &before), 0);
  CHECK(before.ru_nvcsw > 0);

  CHECK_EQ(getrusage(RUSAGE_CHILDREN, &usage), 0);
  CHECK(usage.ru_maxrss == 0 && usage.ru_minflt == 0);
  pid_t child = fork();
  if (child == 0) {
    Burn(0.05);
    for (size_t i = 0; i < 1000; ++i) memory[i * 4096] = 2;
    _exit(0);
  }
  struct rusage waited;
  CHECK_EQ(wait4(child, NULL, 0, &waited), child);
  CHECK(Seconds(waited.ru_utime) + Seconds(waited.ru_stime) >= 0.05);
  CHECK(waited.ru_maxrss >= 8000);
  CHECK(waited.ru_minflt >= 1000);
  CHECK_EQ(getrusage(RUSAGE_CHILDREN, &usage), 0);
  CHECK_EQ(usage.ru_minflt, waited.ru_minflt);
  CHECK_EQ(usage.ru_maxrss, waited.ru_maxrss);
  struct tms now;
  CHECK(times(&now) != (clock_t)-1);
  CHECK(now.tms_cutime + now.tms_cstime >= 4);
  CHECK(now.tms_utime + now.tms_stime >= 6);
  CHECK_FAILS(getrusage(5, &usage), EINVAL);
  CHECK_FAILS(getrusage(RUSAGE_SELF, (void*)16), EFAULT);
  return Finish();
}
