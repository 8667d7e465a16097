// The time without a system call: the vDSO is there, its clocks are those of the kernel, and between threads, and
// between vDSO and system call, no clock goes back. The host has it, too.
#define _GNU_SOURCE
#include <elf.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "check.h"

static int64_t NanosOf(struct timespec t) { return t.tv_sec * 1000000000LL + t.tv_nsec; }
static int64_t ByVdso(clockid_t id) {
  struct timespec t = {-1, -1};
  if (clock_gettime(id, &t) != 0 || t.tv_nsec < 0 || t.tv_nsec >= 1000000000) return -1;
  return NanosOf(t);
}
static int64_t ByKernel(clockid_t id) {
  struct timespec t = {-1, -1};
  return syscall(SYS_clock_gettime, id, &t) == 0 ? NanosOf(t) : -1;
}

static void CheckMaps(void) {
  const uint64_t header = getauxval(AT_SYSINFO_EHDR);
  CHECK(header != 0 && header % 4096 == 0);
  CHECK_EQ(memcmp((const void*)header, ELFMAG, SELFMAG), 0);
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  char line[512];
  int vdso = 0, vvar = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    uint64_t start = 0, end = 0;
    char rights[5] = "";
    if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) != 3) continue;
    if (strstr(line, "[vdso]") != NULL) {
      ++vdso;
      CHECK(header >= start && header < end);
      CHECK_EQ(strcmp(rights, "r-xp"), 0);
    }
    if (strstr(line, "[vvar]") != NULL) {
      ++vvar;
      CHECK(end <= header && header - end <= 16 * 4096);
      CHECK_EQ(strcmp(rights, "r--p"), 0);
    }
  }
  fclose(maps);
  CHECK_EQ(vdso, 1);
  CHECK_EQ(vvar, 1);
}

static void CheckAgreement(void) {
  const clockid_t ids[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW, CLOCK_TAI};
  for (size_t i = 0; i < sizeof ids / sizeof ids[0]; ++i) {
    for (int n = 0; n < 300; ++n) {
      int64_t before = ByKernel(ids[i]), told = ByVdso(ids[i]), after = ByKernel(ids[i]);
      CHECK(before >= 0 && before <= told && told <= after);
    }
  }
  int64_t coarse = ByVdso(CLOCK_MONOTONIC_COARSE), fine = ByVdso(CLOCK_MONOTONIC);
  CHECK(coarse > 0 && coarse <= fine);
  struct timeval day;
  struct timezone zone = {1, 1};
  int64_t real = ByKernel(CLOCK_REALTIME);
  CHECK_EQ(gettimeofday(&day, NULL), 0);
  int64_t told = day.tv_sec * 1000000000LL + day.tv_usec * 1000LL;
  CHECK(told >= real - 1000 && told <= ByKernel(CLOCK_REALTIME));
  CHECK_EQ(gettimeofday(&day, (void*)&zone), 0);
  CHECK(zone.tz_dsttime == 0);
  // time() tells the coarse clock, which may not have come to a second that gettimeofday() tells already.
  const int64_t coarse_second = ByKernel(CLOCK_REALTIME_COARSE) / 1000000000;
  time_t seconds = time(NULL);
  CHECK(seconds >= coarse_second && seconds <= ByKernel(CLOCK_REALTIME) / 1000000000);
  struct timespec resolution = {9, 9};
  CHECK_EQ(clock_getres(CLOCK_MONOTONIC, &resolution), 0);
  CHECK(resolution.tv_sec == 0 && resolution.tv_nsec == 1);
  CHECK_EQ(clock_getres(CLOCK_MONOTONIC_COARSE, NULL), 0);
  CHECK_FAILS(clock_gettime(99, &resolution), EINVAL);
  CHECK_FAILS(clock_getres(99, &resolution), EINVAL);
}

static _Atomic int64_t latest;
static atomic_int failures;

static void* Race(void* unused) {
  (void)unused;
  for (int n = 0; n < 60000; ++n) {
    int64_t seen = atomic_load_explicit(&latest, memory_order_acquire);
    // Now and then the kernel itself.
    const int64_t now = n % 64 == 0 ? ByKernel(CLOCK_MONOTONIC) : ByVdso(CLOCK_MONOTONIC);
    if (now < seen) atomic_fetch_add(&failures, 1);
    while (seen < now && !atomic_compare_exchange_weak(&latest, &seen, now)) {
    }
  }
  return NULL;
}

static void CheckThreads(void) {
  pthread_t threads[3];
  for (int i = 0; i < 3; ++i) CHECK_EQ(pthread_create(&threads[i], NULL, Race, NULL), 0);
  for (int i = 0; i < 3; ++i) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(atomic_load(&failures), 0);
}

static void CheckProcessor(void) {
  cpu_set_t all, one;
  CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all)) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    unsigned told = ~0u, node = ~0u;
    CHECK_EQ(getcpu(&told, &node), 0);
    CHECK_EQ(told, (unsigned)cpu);
    unsigned kernels_node = ~0u;
    CHECK_EQ(syscall(SYS_getcpu, &told, &kernels_node, NULL), 0);
    CHECK_EQ(told, (unsigned)cpu);
    CHECK_EQ(node, kernels_node);
  }
  CHECK_EQ(sched_setaffinity(0, sizeof all, &all), 0);
}

int main(void) {
  CheckMaps();
  CheckAgreement();
  CheckThreads();
  CheckAgreement();  // after corrections of the timebase
  CheckProcessor();
  return Finish();
}
