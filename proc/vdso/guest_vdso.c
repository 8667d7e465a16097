// The vDSO: guest code of Remora's own that tells the time without a system call. vdso(7); Linux's twin is
// arch/x86/entry/vdso. It is mapped as [vdso] right behind the page [vvar], which holds the timebase.
//
// Each function makes the system call where it cannot answer by itself.

typedef unsigned int u32;
typedef long s64;
typedef unsigned long u64;

// base/tsc_timebase.h.
struct Timebase {
  u32 sequence, unused;
  u64 base_tsc;
  s64 base_nanos;
  u64 nanos_per_cycle;
  u64 max_cycles;
  s64 realtime_offset_nanos;
};

struct Timespec {
  s64 seconds, nanos;
};
struct Timeval {
  s64 seconds, micros;
};

enum { kSysGettimeofday = 96, kSysTime = 201, kSysClockGettime = 228, kSysClockGetres = 229 };
enum {
  kRealtime = 0,
  kMonotonic = 1,
  kMonotonicRaw = 4,
  kRealtimeCoarse = 5,
  kMonotonicCoarse = 6,
  kBoottime = 7,
  kTai = 11,
};
enum { kRealtimeClocks = 1 << kRealtime | 1 << kRealtimeCoarse | 1 << kTai };
enum { kMonotonicClocks = 1 << kMonotonic | 1 << kMonotonicRaw | 1 << kMonotonicCoarse | 1 << kBoottime };
static const u64 kPageBytes = 4096, kNanosPerSecond = 1000000000, kCoarseTickNanos = 4000000;

// Where the linker put the beginning of the image.
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static inline s64 Call2(s64 number, u64 first, u64 second) {
  s64 result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
  return result;
}

// CLOCK_MONOTONIC or CLOCK_REALTIME in nanoseconds; negative: unknown.
static inline s64 Now(int realtime) {
  const struct Timebase* base = (const struct Timebase*)(__ehdr_start - kPageBytes);
  for (;;) {
    const u32 sequence = __atomic_load_n(&base->sequence, __ATOMIC_ACQUIRE);
    if (sequence == 0 || (sequence & 1) != 0) return -1;
    const u64 base_tsc = __atomic_load_n(&base->base_tsc, __ATOMIC_RELAXED);
    s64 nanos = __atomic_load_n(&base->base_nanos, __ATOMIC_RELAXED);
    const u64 nanos_per_cycle = __atomic_load_n(&base->nanos_per_cycle, __ATOMIC_RELAXED);
    const u64 max_cycles = __atomic_load_n(&base->max_cycles, __ATOMIC_RELAXED);
    if (realtime) nanos += __atomic_load_n(&base->realtime_offset_nanos, __ATOMIC_RELAXED);
    u32 low, high;
    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high)::"memory");
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&base->sequence, __ATOMIC_RELAXED) != sequence) continue;
    const u64 cycles = ((u64)high << 32 | low) - base_tsc;
    if (cycles > max_cycles) return -1;
    return nanos + (s64)((unsigned __int128)cycles * nanos_per_cycle >> 32);
  }
}

int __vdso_clock_gettime(int clock, struct Timespec* to) {
  const u32 bit = (u32)clock < 32 ? 1u << clock : 0;
  if ((bit & (kRealtimeClocks | kMonotonicClocks)) != 0) {
    const s64 now = Now((bit & kRealtimeClocks) != 0);
    if (now >= 0) {
      to->seconds = (s64)((u64)now / kNanosPerSecond);
      to->nanos = (s64)((u64)now % kNanosPerSecond);
      return 0;
    }
  }
  return (int)Call2(kSysClockGettime, (u64)(s64)clock, (u64)to);
}

int __vdso_gettimeofday(struct Timeval* to, void* zone) {
  const s64 now = zone == 0 && to != 0 ? Now(1) : -1;
  if (now < 0) return (int)Call2(kSysGettimeofday, (u64)to, (u64)zone);
  to->seconds = (s64)((u64)now / kNanosPerSecond);
  to->micros = (s64)((u64)now % kNanosPerSecond / 1000);
  return 0;
}

s64 __vdso_time(s64* to) {
  const s64 now = Now(1);
  if (now < 0) return Call2(kSysTime, (u64)to, 0);
  const s64 seconds = (s64)((u64)now / kNanosPerSecond);
  if (to != 0) *to = seconds;
  return seconds;
}

int __vdso_clock_getres(int clock, struct Timespec* to) {
  const u32 bit = (u32)clock < 32 ? 1u << clock : 0;
  if ((bit & (kRealtimeClocks | kMonotonicClocks)) == 0) return (int)Call2(kSysClockGetres, (u64)(s64)clock, (u64)to);
  if (to != 0) {
    to->seconds = 0;
    to->nanos = (bit & (1 << kRealtimeCoarse | 1 << kMonotonicCoarse)) != 0 ? (s64)kCoarseTickNanos : 1;
  }
  return 0;
}

// The CPU's number and its node stand in TSC_AUX as Linux puts them: node << 12 | cpu.
int __vdso_getcpu(u32* cpu, u32* node, void* unused) {
  u64 both;
  (void)unused;
  __asm__ volatile("rdpid %0" : "=r"(both));
  if (cpu != 0) *cpu = both & 0xfff;
  if (node != 0) *node = (u32)both >> 12;
  return 0;
}

#define ALIAS(name) __attribute__((weak, alias("__vdso_" #name)))
int clock_gettime(int, struct Timespec*) ALIAS(clock_gettime);
int gettimeofday(struct Timeval*, void*) ALIAS(gettimeofday);
s64 time(s64*) ALIAS(time);
int clock_getres(int, struct Timespec*) ALIAS(clock_getres);
int getcpu(u32*, u32*, void*) ALIAS(getcpu);
