// Item 14: descriptor to file, without a lock against under the table's mutex. Each thread looks up descriptors of its
// own, in random order, and drops the reference again, as a system call does.

#include <cstdint>
#include <random>
#include <vector>

#include "benchmark/benchmark.h"
#include "benchmarks/fake_file.h"
#include "benchmarks/rivals/fd_table_lookup_rival.h"
#include "fs/fd_table.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {
namespace {

constexpr int kLookups = 1024;  // of one iteration

// Thread t of T looks at descriptors t, t + T, ...
std::vector<int32_t> OwnDescriptors(const benchmark::State& state) {
  const auto num_fds = static_cast<uint32_t>(state.range(0)), threads = static_cast<uint32_t>(state.threads()),
             self = static_cast<uint32_t>(state.thread_index());
  std::mt19937 random(self);
  std::vector<int32_t> fds(kLookups);
  for (int32_t& fd : fds) fd = static_cast<int32_t>(random() % (num_fds / threads) * threads + self);
  return fds;
}

// Shared by the threads of one run; made and destroyed by the first.
sync::Reclaimer reclaimer;
Ref<fs::FdTable> table;
std::unique_ptr<FdTableLookupRival> rival;

template <typename Lookup>
void Run(benchmark::State& state, const Lookup& lookup) {
  const std::vector<int32_t> fds = OwnDescriptors(state);
  sync::Reclaimer::Participant participant(&reclaimer);
  participant.Online();
  for (auto _ : state) {
    for (int32_t fd : fds) {
      auto file = lookup(fd);
      benchmark::DoNotOptimize(file);
    }
    participant.Quiesce();
  }
  participant.Offline();
  state.SetItemsProcessed(state.iterations() * kLookups);
}

void BM_FdTableLookup(benchmark::State& state) {
  if (state.thread_index() == 0) {
    table = MakeRef<fs::FdTable>(&reclaimer);
    for (int64_t i = 0; i < state.range(0); ++i) (void)table->Add(MakeRef<FakeFile>(), false);
  }
  Run(state, [](int32_t fd) { return table->Lookup(fd); });
  if (state.thread_index() == 0) {
    table.reset();
    reclaimer.Collect();
  }
}

void BM_RivalFdTableLookup(benchmark::State& state) {
  if (state.thread_index() == 0) {
    rival = std::make_unique<FdTableLookupRival>();
    for (int64_t i = 0; i < state.range(0); ++i) rival->Set(static_cast<int32_t>(i), MakeRef<FakeFile>());
  }
  Run(state, [](int32_t fd) { return rival->Lookup(fd); });
  if (state.thread_index() == 0) rival.reset();
}

void Sizes(benchmark::internal::Benchmark* b) {
  for (int64_t n : {16, 64, 512, 4096}) b->Arg(n);
  b->Threads(1)->Threads(2)->UseRealTime();
}
BENCHMARK(BM_RivalFdTableLookup)->Apply(Sizes);
BENCHMARK(BM_FdTableLookup)->Apply(Sizes);

}  // namespace
}  // namespace remora::benchmarks
