#include "base/tsc_clock.h"

#include <fcntl.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace remora {
namespace {

using uint128 = unsigned __int128;

// The first measurement is good to about 50 ns / 5 ms, 10 parts in a million: half a microsecond until the next one.
constexpr int64_t kFirstMeasureNanos = 5'000'000;
constexpr int64_t kRateWindowNanos = 2'000'000'000;
// Measuring both clocks takes less; a greater difference means that somebody has set the host's.
constexpr int64_t kClockSetNanos = 20'000;

int64_t HostNanos(clockid_t clock) {
  timespec now;
  CHECK(clock_gettime(clock, &now) == 0);
  return int64_t{now.tv_sec} * kNanosPerSecond + now.tv_nsec;
}

bool CounterIsInvariant() {
#if defined(__x86_64__)
  constexpr uint32_t kPowerLeaf = 0x80000007, kInvariantTsc = 1 << 8;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(kPowerLeaf, &eax, &ebx, &ecx, &edx) != 0 && (edx & kInvariantTsc) != 0;
#else
  return false;
#endif
}

bool HostTellsTimeByTheCounter() {
  const int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[16];
  const ssize_t n = read(fd, text, sizeof text);
  close(fd);
  return n == 4 && std::string_view(text, 4) == "tsc\n";
}

uint64_t Scaled(uint64_t cycles, uint64_t nanos_per_cycle) {
  return static_cast<uint64_t>(uint128{cycles} * nanos_per_cycle >> 32);
}

}  // namespace

uint64_t ReadTsc() {
#if defined(__x86_64__)
  _mm_lfence();
  return __rdtsc();
#else
  return 0;
#endif
}

std::unique_ptr<TscClock> TscClock::TryMake() {
  if (!CounterIsInvariant() || !HostTellsTimeByTheCounter()) return nullptr;
  return std::unique_ptr<TscClock>(new TscClock());
}

TscClock::TscClock() : first_(ReadHost()), older_(first_), newer_(first_) {}

// Counter, monotonic, realtime, in this order: the clock and the offset made of them never lag behind the host's.
TscClock::Reading TscClock::ReadHost() {
  constexpr int kTries = 4;  // one that was interrupted in the middle takes longer
  Reading best;
  uint64_t best_cycles = ~uint64_t{0};
  for (int i = 0; i < kTries; ++i) {
    Reading reading;
    reading.tsc = ReadTsc();
    reading.monotonic_nanos = HostNanos(CLOCK_MONOTONIC);
    reading.realtime_nanos = HostNanos(CLOCK_REALTIME);
    const uint64_t cycles = ReadTsc() - reading.tsc;
    if (cycles >= best_cycles) continue;
    best_cycles = cycles;
    best = reading;
  }
  return best;
}

int64_t TscClock::MonotonicNanos() { return Now().monotonic_nanos; }
int64_t TscClock::RealtimeNanos() {
  const Times now = Now();
  return now.monotonic_nanos + now.realtime_offset_nanos;
}

TscClock::Times TscClock::Now() {
  for (;;) {
    const TscTimebase& base = *base_.load(std::memory_order_acquire);
    const uint32_t sequence = base.sequence.load(std::memory_order_acquire);
    if ((sequence & 1) != 0) {
      // Its writer is in Refresh, for a microsecond unless it was preempted there.
      sched_yield();
      continue;
    }
    if (sequence == 0) {
      Times host;
      host.monotonic_nanos = HostNanos(CLOCK_MONOTONIC);
      if (host.monotonic_nanos - first_.monotonic_nanos >= kFirstMeasureNanos) {
        Refresh();
        continue;
      }
      host.realtime_offset_nanos = HostNanos(CLOCK_REALTIME) - host.monotonic_nanos;
      return host;
    }
    const uint64_t base_tsc = base.base_tsc.load(std::memory_order_relaxed);
    const int64_t base_nanos = base.base_nanos.load(std::memory_order_relaxed);
    const uint64_t nanos_per_cycle = base.nanos_per_cycle.load(std::memory_order_relaxed);
    const uint64_t max_cycles = base.max_cycles.load(std::memory_order_relaxed);
    const int64_t offset = base.realtime_offset_nanos.load(std::memory_order_relaxed);
    const uint64_t tsc = ReadTsc();
    std::atomic_thread_fence(std::memory_order_acquire);
    if (base.sequence.load(std::memory_order_relaxed) != sequence) continue;
    // Counters of different cores may differ by some cycles.
    const uint64_t cycles = tsc < base_tsc && base_tsc - tsc < max_cycles ? 0 : tsc - base_tsc;
    if (cycles > refresh_cycles_.load(std::memory_order_relaxed)) [[unlikely]] {
      if (Refresh() || cycles > max_cycles) continue;
    }
    return {base_nanos + static_cast<int64_t>(Scaled(cycles, nanos_per_cycle)), offset};
  }
}

bool TscClock::Refresh() {
  TscTimebase* base = base_.load(std::memory_order_acquire);
  uint32_t sequence = base->sequence.load(std::memory_order_relaxed);
  if ((sequence & 1) != 0 || !base->sequence.compare_exchange_strong(sequence, sequence + 1, std::memory_order_acq_rel))
    return false;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Correct(base, ReadHost());
  // Never back to 0, which says that nothing is known.
  base->sequence.store(sequence + 2 == 0 ? 2 : sequence + 2, std::memory_order_release);
  return true;
}

void TscClock::Correct(TscTimebase* base, const Reading& now) {
  const bool first_time = refresh_cycles_.load(std::memory_order_relaxed) == 0;
  const int64_t elapsed_nanos = now.monotonic_nanos - older_.monotonic_nanos;
  const uint64_t elapsed_cycles = now.tsc - older_.tsc;
  const double rate = static_cast<double>(elapsed_nanos) / static_cast<double>(std::max<uint64_t>(elapsed_cycles, 1));
  const double cycles_per_nano = 1 / rate;

  // What was told so far may be ahead of the host. Beyond max_cycles nobody was told anything.
  int64_t ahead_nanos = 0;
  if (!first_time) {
    const uint64_t since = std::min(now.tsc - base->base_tsc.load(std::memory_order_relaxed),
                                    base->max_cycles.load(std::memory_order_relaxed));
    const int64_t told = base->base_nanos.load(std::memory_order_relaxed) +
                         static_cast<int64_t>(Scaled(since, base->nanos_per_cycle.load(std::memory_order_relaxed)));
    ahead_nanos = std::max<int64_t>(0, told - now.monotonic_nanos);
  }
  // The next correction comes the later the longer the rate has been measured.
  const int64_t interval_nanos = std::min(kRefreshNanos, elapsed_nanos);
  const double slower =
      1 - std::min(0.5, static_cast<double>(ahead_nanos) / static_cast<double>(std::max<int64_t>(interval_nanos, 1)));
  base->base_tsc.store(now.tsc, std::memory_order_relaxed);
  base->base_nanos.store(now.monotonic_nanos + ahead_nanos, std::memory_order_relaxed);
  base->nanos_per_cycle.store(static_cast<uint64_t>(std::ldexp(rate * slower, 32)), std::memory_order_relaxed);
  base->max_cycles.store(static_cast<uint64_t>(cycles_per_nano * kMaxAgeNanos), std::memory_order_relaxed);
  const int64_t offset = now.realtime_nanos - now.monotonic_nanos;
  const int64_t old_offset = base->realtime_offset_nanos.load(std::memory_order_relaxed);
  if (first_time || std::abs(offset - old_offset) > kClockSetNanos)
    base->realtime_offset_nanos.store(offset, std::memory_order_relaxed);
  refresh_cycles_.store(static_cast<uint64_t>(cycles_per_nano * static_cast<double>(interval_nanos)) | 1,
                        std::memory_order_relaxed);
  if (now.monotonic_nanos - newer_.monotonic_nanos > kRateWindowNanos) {
    older_ = newer_;
    newer_ = now;
  }
}

bool TscClock::KeepTimebaseIn(TscTimebase* place) {
  TscTimebase* from = base_.load(std::memory_order_acquire);
  TscTimebase* const to = place != nullptr ? place : &own_;
  if ((from == &own_) == (to == &own_)) return place == nullptr;
  // As a writer: nobody is told anything while there are two.
  uint32_t sequence = from->sequence.load(std::memory_order_relaxed);
  while ((sequence & 1) != 0 ||
         !from->sequence.compare_exchange_weak(sequence, sequence + 1, std::memory_order_acq_rel)) {
    sequence = from->sequence.load(std::memory_order_relaxed);
  }
  to->base_tsc.store(from->base_tsc.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to->base_nanos.store(from->base_nanos.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to->nanos_per_cycle.store(from->nanos_per_cycle.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to->max_cycles.store(from->max_cycles.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to->realtime_offset_nanos.store(from->realtime_offset_nanos.load(std::memory_order_relaxed),
                                  std::memory_order_relaxed);
  to->sequence.store(sequence == 0 ? 0 : sequence + 2, std::memory_order_release);
  base_.store(to, std::memory_order_release);
  return true;
}

double TscClock::tsc_mhz() {
  const Reading now = ReadHost();
  const int64_t nanos = std::max<int64_t>(now.monotonic_nanos - first_.monotonic_nanos, 1);
  return static_cast<double>(now.tsc - first_.tsc) * 1000 / static_cast<double>(nanos);
}

}  // namespace remora
