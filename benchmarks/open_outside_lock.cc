// Item 10: how long opens take while another open is held for 100 ms inside the backend's hook, with /n files open.
//
// Every 50 microseconds one file is opened and closed, as often again one that nobody else has open (which asks the
// backend twice). An open that took longer than that counts once for each that would have begun meanwhile and had to
// wait as well, with what was left of its waiting: else the one long wait of a closed loop would hide the others. What
// another program did to this one is left out: opens in which the thread was preempted do not count.
// Counters: idle_p99_ns, busy_p99_ns. BM_Vfs... does the same through Vfs::Open and testing/slow_fs.

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/ref_counted.h"
#include "benchmark/benchmark.h"
#include "benchmarks/rivals/open_outside_lock_rival.h"
#include "fs/inode_table.h"
#include "fs/vfs_for_testing.h"
#include "sync/reclaimer.h"
#include "testing/slow_fs/slow_file_system.h"

namespace remora::benchmarks {
namespace {

using testing::SlowBackend;
using testing::SlowHook;

constexpr int64_t kHoldNanos = 100'000'000, kIntervalNanos = 50'000;
constexpr uint64_t kSlowNumber = ~uint64_t{0};

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// How often another thread got this one's core. (Waiting for a lock does not count here.)
int64_t NumPreempted() {
  rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

// What the hooks of both ask: memory, but for one number whose stat waits at a gate.
class Backend {
 public:
  uint64_t Stat(uint64_t number) {
    if (number == kSlowNumber) gates_.Pass(SlowHook::kStat, true);
    return number * 3;
  }
  void CleanUp(uint64_t number) { benchmark::DoNotOptimize(number); }
  SlowBackend& gates() { return gates_; }

 private:
  SlowBackend gates_;
};

class Rival {
 public:
  explicit Rival(uint64_t num_open) : num_open_(num_open) {
    for (uint64_t i = 0; i < num_open; ++i) table_.Open(i);
  }
  void OpenAndClose(uint64_t number) {
    benchmark::DoNotOptimize(table_.Open(number));
    table_.Close(number);
  }
  void OpenSlow() { OpenAndClose(kSlowNumber); }
  SlowBackend& gates() { return backend_.gates(); }
  static constexpr SlowHook kHook = SlowHook::kStat;
  uint64_t num_open() const { return num_open_; }

 private:
  Backend backend_;
  OpenOutsideLockRival<Backend> table_{&backend_};
  const uint64_t num_open_;
};

class Ours {
 public:
  explicit Ours(uint64_t num_open) {
    for (uint64_t i = 0; i < num_open; ++i) open_.push_back(Open(i));
  }
  ~Ours() { open_.clear(); }
  // As a worker does between two calls: what was closed is given back.
  void OpenAndClose(uint64_t number) {
    benchmark::DoNotOptimize(Open(number)->size);
    section_.Quiesce();
    reclaimer_.Collect();
  }
  void OpenSlow() {
    sync::Reclaimer::ReadSection section(&reclaimer_);
    benchmark::DoNotOptimize(Open(kSlowNumber)->size);
  }
  SlowBackend& gates() { return backend_.gates(); }
  static constexpr SlowHook kHook = SlowHook::kStat;
  uint64_t num_open() const { return open_.size(); }

 private:
  struct Inode final : RefCounted {
    Inode(Ours* ours, uint64_t number) : ours(ours), number(number), size(ours->backend_.Stat(number)) {}
    void OnLastRelease() override {
      ours->table_.Remove(number, this);
      ours->backend_.CleanUp(number);
      ours->reclaimer_.RetireDelete(this);
    }
    Ours* const ours;
    const uint64_t number;
    const uint64_t size;
  };
  Ref<Inode> Open(uint64_t number) {
    return table_.GetOrCreate(number, [&] { return MakeRef<Inode>(this, number); });
  }
  Backend backend_;
  sync::Reclaimer reclaimer_;
  sync::Reclaimer::ReadSection section_{&reclaimer_};
  fs::InodeTable<uint64_t, Inode> table_{&reclaimer_};
  std::vector<Ref<Inode>> open_;
};

// Through paths, dentries and files. The slow one waits in its Inode::Open.
class ThroughVfs {
 public:
  explicit ThroughVfs(uint64_t num_open) {
    t_.vfs().MountRoot(t_.NewTmpfs(), 0);
    context_ = t_.context();
    CHECK(t_.MakeDirectory("/slow") == 0);
    CHECK(t_.vfs()
              .Mount(context_, "/slow", backend_.NewFileSystem(t_.vfs().NewDeviceId(), &clock_, &t_.reclaimer()),
                     "slow", 0)
              .ok());
    for (uint64_t i = 0; i < num_open; ++i) open_.push_back(Open(std::to_string(i)));
  }
  void OpenAndClose(uint64_t number) {
    Open(std::to_string(number % 999'999'999)).reset();
    t_.Quiesce();
  }
  void OpenSlow() {
    sync::Reclaimer::ReadSection section(&t_.reclaimer());
    Open("slow1").reset();
  }
  SlowBackend& gates() { return backend_; }
  static constexpr SlowHook kHook = SlowHook::kOpen;
  uint64_t num_open() const { return open_.size(); }

 private:
  Ref<fs::File> Open(const std::string& name) {
    auto file = t_.vfs().Open(context_, "/slow/" + name, {.flags = O_RDONLY, .permissions = 0, .resolve = 0});
    CHECK(file.ok());
    return *std::move(file);
  }
  HostClock clock_;
  SlowBackend backend_;
  fs::VfsForTesting t_;
  fs::WalkContext context_;
  std::vector<Ref<fs::File>> open_;
};

// Latencies of opens for `nanos`, begun in intervals.
template <typename Files>
void Measure(Files& files, std::mt19937_64& random, int64_t nanos, std::vector<int64_t>* latencies) {
  const int64_t end = Now() + nanos;
  for (int64_t next = Now(); next < end; next += kIntervalNanos) {
    while (Now() < next) {
    }
    const uint64_t n = random();
    const uint64_t number = n % 2 == 0 ? n / 2 % files.num_open() : files.num_open() + n / 2 % 1'000'000;
    const int64_t preempted = NumPreempted();
    const int64_t begin = Now();
    files.OpenAndClose(number);
    const int64_t end_of_open = Now();
    if (NumPreempted() == preempted)
      for (int64_t took = end_of_open - begin; took > 0; took -= kIntervalNanos) latencies->push_back(took);
    next = std::max(next, Now() - kIntervalNanos);  // what it delayed is counted already
  }
}

double Percentile99(std::vector<int64_t>& latencies) {
  std::sort(latencies.begin(), latencies.end());
  return static_cast<double>(latencies[latencies.size() * 99 / 100]);
}

template <typename Files>
void Run(benchmark::State& state) {
  const auto files = std::make_unique<Files>(static_cast<uint64_t>(state.range(0)));
  std::mt19937_64 random(1);
  std::vector<int64_t> idle, busy;
  Measure(*files, random, kHoldNanos / 4, &idle);  // warm
  idle.clear();
  for (auto _ : state) {
    Measure(*files, random, kHoldNanos, &idle);
    files->gates().Shut(Files::kHook);
    std::thread holder([&] { files->OpenSlow(); });
    files->gates().AwaitWaiting(Files::kHook, 1);
    std::thread releaser([&] {
      std::this_thread::sleep_for(std::chrono::nanoseconds(kHoldNanos));
      files->gates().Lift(Files::kHook);
    });
    const int64_t begin = Now();
    const size_t before = busy.size();
    Measure(*files, random, kHoldNanos, &busy);
    state.SetIterationTime(static_cast<double>(Now() - begin) * 1e-9 / static_cast<double>(busy.size() - before));
    holder.join();
    releaser.join();
  }
  state.counters["idle_p99_ns"] = Percentile99(idle);
  state.counters["busy_p99_ns"] = Percentile99(busy);
}

void BM_RivalOpenOutsideLock(benchmark::State& state) { Run<Rival>(state); }
void BM_OpenOutsideLock(benchmark::State& state) { Run<Ours>(state); }
void BM_VfsOpenOutsideLock(benchmark::State& state) { Run<ThroughVfs>(state); }

constexpr int kNumHolds = 10;
BENCHMARK(BM_RivalOpenOutsideLock)
    ->Arg(100)
    ->Arg(1000)
    ->Arg(10000)
    ->Arg(100000)
    ->Iterations(kNumHolds)
    ->UseManualTime();
BENCHMARK(BM_OpenOutsideLock)->Arg(100)->Arg(1000)->Arg(10000)->Arg(100000)->Iterations(kNumHolds)->UseManualTime();
BENCHMARK(BM_VfsOpenOutsideLock)->Arg(100)->Arg(1000)->Arg(10000)->Arg(100000)->Iterations(kNumHolds)->UseManualTime();

}  // namespace
}  // namespace remora::benchmarks
