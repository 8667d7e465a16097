// Item 12: lookups while one close takes 100 ms in its handler: by close(2), and by an exec that closes n descriptors.
//
// Each lookup is timed. idle_p99_ns: nobody closes. busy_p99_ns: of the lookups that began while the handler held the
// close up. Of several rounds the median counts.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "benchmarks/fake_file.h"
#include "benchmarks/rivals/close_outside_lock_rival.h"
#include "fs/fd_table.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kHeld = std::chrono::milliseconds(100);
constexpr int32_t kKept = 3;  // descriptors that stay open and are looked up

double Quantile(std::vector<double>& samples, double q) {
  const auto i = static_cast<size_t>(q * static_cast<double>(samples.size() - 1));
  std::nth_element(samples.begin(), samples.begin() + static_cast<ptrdiff_t>(i), samples.end());
  return samples[i];
}

// The p99 of lookups as long as `go_on` holds.
template <typename Table, typename GoOn>
double LookupP99(Table& table, const GoOn& go_on) {
  std::vector<double> nanos;
  nanos.reserve(1 << 20);
  int32_t fd = 0;
  do {
    const Clock::time_point start = Clock::now();
    benchmark::DoNotOptimize(table.Lookup(fd));
    const Clock::time_point end = Clock::now();
    if (nanos.size() < nanos.capacity()) nanos.push_back(std::chrono::duration<double, std::nano>(end - start).count());
    fd = (fd + 1) % kKept;
  } while (go_on());
  return Quantile(nanos, 0.99);
}

// What both tables are, for the rounds below.
struct Remora {
  sync::Reclaimer reclaimer;
  Ref<fs::FdTable> table = MakeRef<fs::FdTable>(&reclaimer);
  void Set(int32_t fd, Ref<fs::File> file, bool close_on_exec) { (void)table->Set(fd, std::move(file), close_on_exec); }
  fs::FdTable& get() { return *table; }
};
struct Rival {
  sync::Reclaimer reclaimer;
  CloseOutsideLockRival table;
  void Set(int32_t fd, Ref<fs::File> file, bool close_on_exec) { table.Set(fd, std::move(file), close_on_exec); }
  CloseOutsideLockRival& get() { return table; }
};

template <typename Kind>
void Run(benchmark::State& state, bool by_exec) {
  const auto num_closed = static_cast<int32_t>(state.range(0));
  const int32_t slow_fd = kKept + num_closed / 2;
  std::vector<double> idle, busy;
  for (auto _ : state) {
    Kind kind;
    sync::Reclaimer::ReadSection section(&kind.reclaimer);
    std::atomic<bool> in_handler{false};
    for (int32_t fd = 0; fd < kKept + num_closed; ++fd) {
      const auto hold = [&] {
        in_handler = true;
        std::this_thread::sleep_for(kHeld);
        in_handler = false;
      };
      kind.Set(fd, fd == slow_fd ? MakeRef<FakeFile>(hold) : MakeRef<FakeFile>(), fd >= kKept);
    }
    const Clock::time_point idle_end = Clock::now() + kHeld;
    idle.push_back(LookupP99(kind.get(), [&] { return Clock::now() < idle_end; }));
    std::thread closer([&] {
      if (by_exec)
        kind.get().CloseOnExec();
      else
        (void)kind.get().Close(slow_fd);
    });
    while (!in_handler) std::this_thread::yield();
    busy.push_back(LookupP99(kind.get(), [&] { return in_handler.load(std::memory_order_relaxed); }));
    closer.join();
  }
  state.counters["idle_p99_ns"] = Quantile(idle, 0.5);
  state.counters["busy_p99_ns"] = Quantile(busy, 0.5);
}

void BM_RivalCloseOutsideLock(benchmark::State& state) { Run<Rival>(state, false); }
void BM_CloseOutsideLock(benchmark::State& state) { Run<Remora>(state, false); }
void BM_RivalExecCloseOutsideLock(benchmark::State& state) { Run<Rival>(state, true); }
void BM_ExecCloseOutsideLock(benchmark::State& state) { Run<Remora>(state, true); }

void Sizes(benchmark::internal::Benchmark* b) {
  for (int64_t n : {64, 512, 4000, 32000}) b->Arg(n);
  b->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK(BM_RivalCloseOutsideLock)->Apply(Sizes);
BENCHMARK(BM_CloseOutsideLock)->Apply(Sizes);
BENCHMARK(BM_RivalExecCloseOutsideLock)->Apply(Sizes);
BENCHMARK(BM_ExecCloseOutsideLock)->Apply(Sizes);

}  // namespace
}  // namespace remora::benchmarks
