// Item 13: n dups of one file into an empty table, each to the lowest free number.

#include <cstdint>
#include <memory>

#include "benchmark/benchmark.h"
#include "benchmarks/fake_file.h"
#include "benchmarks/rivals/fd_table_growth_rival.h"
#include "fs/fd_table.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {
namespace {

constexpr uint32_t kLimit = fs::FdTable::kMaxFds;

void BM_FdTableGrowth(benchmark::State& state) {
  sync::Reclaimer reclaimer;
  const Ref<fs::File> file = MakeRef<FakeFile>();
  for (auto _ : state) {
    Ref<fs::FdTable> table = MakeRef<fs::FdTable>(&reclaimer);
    for (int64_t i = 0; i < state.range(0); ++i) benchmark::DoNotOptimize(table->Add(file, false, 0, kLimit));
    state.PauseTiming();
    table.reset();
    reclaimer.Collect();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void BM_RivalFdTableGrowth(benchmark::State& state) {
  const Ref<fs::File> file = MakeRef<FakeFile>();
  for (auto _ : state) {
    auto table = std::make_unique<FdTableGrowthRival>();
    for (int64_t i = 0; i < state.range(0); ++i) benchmark::DoNotOptimize(table->Add(file, 0, kLimit));
    state.PauseTiming();
    table.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(BM_RivalFdTableGrowth)->Arg(256)->Arg(1024)->Arg(4096)->Arg(16384)->Arg(65536)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_FdTableGrowth)->Arg(256)->Arg(1024)->Arg(4096)->Arg(16384)->Arg(65536)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace remora::benchmarks
