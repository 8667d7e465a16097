// Item 16: a listing of /proc's 100 processes, spread over n possible numbers: each is formatted as a name and handed
// out with its inode number.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "benchmark/benchmark.h"
#include "benchmarks/many_processes.h"
#include "benchmarks/rivals/proc_readdir_rival.h"
#include "proc/pid_table.h"
#include "proc/procfs/numbers.h"

namespace remora::benchmarks {
namespace {

constexpr int32_t kLive = 100;

// What getdents does with an entry, but for guest memory.
struct Sink {
  uint64_t num_entries = 0, sum = 0;
  bool Take(int32_t pid) {
    const proc::NumberName name(pid);
    ++num_entries;
    sum += proc::ProcessInodeNumber(pid, 0) + name.view().size() + static_cast<unsigned char>(name.view().back());
    return true;
  }
};

void BM_ProcReaddir(benchmark::State& state) {
  const auto max_pid = static_cast<int32_t>(state.range(0));
  ManyProcesses processes(0);
  proc::PidTable pids(&processes.kernel().reclaimer(), max_pid);
  for (int32_t i = 1; i < max_pid; ++i) {
    const int32_t pid = pids.Allocate().value();
    if (pid % (max_pid / kLive) == 1)
      pids.Publish(pid, processes.NewTask(pid));
    else
      pids.Remove(pid);
  }
  Sink sink;
  for (auto _ : state) {
    // As RootDirectory::ListDynamic does (proc/procfs/procfs.cc).
    std::array<int32_t, 64> batch;
    size_t n = 0;
    for (int32_t from = 1; (n = pids.ListPids(from, batch)) != 0; from = batch[n - 1] + 1)
      for (int32_t pid : std::span(batch).first(n)) sink.Take(pid);
    benchmark::DoNotOptimize(sink);
  }
  state.counters["entries"] = static_cast<double>(sink.num_entries) / static_cast<double>(state.iterations());
}

void BM_RivalProcReaddir(benchmark::State& state) {
  const auto max_pid = static_cast<int32_t>(state.range(0));
  ManyProcesses processes(0);
  ProcReaddirRival rival(max_pid);
  for (int32_t pid = 1; pid < max_pid; pid += max_pid / kLive) rival.Publish(pid, processes.NewTask(pid));
  Sink sink;
  for (auto _ : state) {
    rival.List(1, [&](int32_t pid) { return sink.Take(pid); });
    benchmark::DoNotOptimize(sink);
  }
  state.counters["entries"] = static_cast<double>(sink.num_entries) / static_cast<double>(state.iterations());
}

void Limits(benchmark::internal::Benchmark* b) {
  for (int64_t n : {32'768, 262'144, 1'048'576, 4'194'304}) b->Arg(n);
}
BENCHMARK(BM_RivalProcReaddir)->Apply(Limits);
BENCHMARK(BM_ProcReaddir)->Apply(Limits);

}  // namespace
}  // namespace remora::benchmarks
