// Item 15: a name in /proc among n processes: in the procfs of a Kernel, through the dentry cache as a walk does.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "benchmarks/many_processes.h"
#include "benchmarks/rivals/proc_lookup_rival.h"
#include "fs/dentry_cache.h"
#include "fs/path_walk.h"
#include "proc/procfs/procfs.h"

namespace remora::benchmarks {
namespace {

constexpr size_t kNames = 512;

// In random order; misses are numbers that are not in use.
std::vector<std::string> Names(const std::vector<int32_t>& pids, bool hits) {
  std::mt19937 random(1);
  std::vector<std::string> names(kNames);
  for (std::string& name : names) {
    const int32_t pid = pids[random() % pids.size()];
    name = std::to_string(hits ? pid : pid + 1'000'000);
  }
  return names;
}

void Remora(benchmark::State& state, bool hits) {
  ManyProcesses processes(state.range(0));
  const Ref<fs::FileSystem> procfs = proc::MakeProcfs(&processes.kernel());
  fs::DentryCache cache(&processes.kernel().reclaimer());
  const Ref<fs::Dentry> root = cache.MakeRoot(procfs->root());
  const std::vector<std::string> names = Names(processes.pids(), hits);
  size_t i = 0;
  for (auto _ : state) {
    const auto found = fs::LookupName(cache, root, names[i++ % kNames]);
    benchmark::DoNotOptimize(found);
  }
  state.SetItemsProcessed(state.iterations());
}

void Rival(benchmark::State& state, bool hits) {
  const ManyProcesses processes(state.range(0));
  const ProcLookupRival rival(processes.pids());
  const std::vector<std::string> names = Names(processes.pids(), hits);
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(rival.Lookup(names[i++ % kNames]));
  state.SetItemsProcessed(state.iterations());
}

void BM_RivalProcLookup(benchmark::State& state) { Rival(state, true); }
void BM_ProcLookup(benchmark::State& state) { Remora(state, true); }
void BM_RivalProcLookupMiss(benchmark::State& state) { Rival(state, false); }
void BM_ProcLookupMiss(benchmark::State& state) { Remora(state, false); }

void Sizes(benchmark::internal::Benchmark* b) {
  for (int64_t n : {100, 1000, 10'000, 30'000}) b->Arg(n);
}
BENCHMARK(BM_RivalProcLookup)->Apply(Sizes);
BENCHMARK(BM_ProcLookup)->Apply(Sizes);
BENCHMARK(BM_RivalProcLookupMiss)->Apply(Sizes);
BENCHMARK(BM_ProcLookupMiss)->Apply(Sizes);

}  // namespace
}  // namespace remora::benchmarks
