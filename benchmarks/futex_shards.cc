// Each thread waits on and wakes words of its own, n of them in turn: one wait and its wake are two items. Then wakes
// that find nobody, the commonest futex call of all.

#include <benchmark/benchmark.h>

#include <cstdint>

#include "base/errno_or.h"
#include "benchmarks/rivals/futex_shards_rival.h"
#include "sync/futex_table.h"

namespace remora::benchmarks {
namespace {

struct Ours final : sync::FutexWaiter {
  void Woken() override { ++wakes; }
  uint64_t wakes = 0;
};
struct Theirs final : FutexWaiterRival {
  void Woken() override { ++wakes; }
  uint64_t wakes = 0;
};

sync::FutexKey WordOf(const benchmark::State& state, int64_t i) {
  return {uint64_t{1} + static_cast<uint64_t>(state.thread_index()), static_cast<uint64_t>(i) * 64};
}

// One for all threads of a run; nothing waits in it between two runs.
sync::FutexTable& Table() {
  static sync::FutexTable table;
  return table;
}
FutexTableRival& RivalTable() {
  static FutexTableRival table;
  return table;
}

void BM_RivalFutexShards(benchmark::State& state) {
  FutexTableRival& table = RivalTable();
  Theirs waiter;
  int64_t i = 0;
  for (auto _ : state) {
    const sync::FutexKey word = WordOf(state, i);
    if (++i == state.range(0)) i = 0;
    table.Wait(word, ~0u, &waiter, [] { return true; });
    benchmark::DoNotOptimize(table.Wake(word, 1));
    table.Cancel(&waiter);
  }
  if (waiter.wakes != static_cast<uint64_t>(state.iterations())) state.SkipWithError("a wake was lost");
  state.SetItemsProcessed(state.iterations() * 2);
}

void BM_FutexShards(benchmark::State& state) {
  sync::FutexTable& table = Table();
  Ours waiter;
  int64_t i = 0;
  for (auto _ : state) {
    const sync::FutexKey word = WordOf(state, i);
    if (++i == state.range(0)) i = 0;
    (void)table.Wait(word, ~0u, &waiter, []() -> ErrnoOr<bool> { return true; });
    benchmark::DoNotOptimize(table.Wake(word, 1));
    table.Cancel(&waiter);
  }
  if (waiter.wakes != static_cast<uint64_t>(state.iterations())) state.SkipWithError("a wake was lost");
  state.SetItemsProcessed(state.iterations() * 2);
}

void BM_RivalFutexWakeNobody(benchmark::State& state) {
  FutexTableRival& table = RivalTable();
  int64_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.Wake(WordOf(state, i), 1));
    if (++i == state.range(0)) i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_FutexWakeNobody(benchmark::State& state) {
  sync::FutexTable& table = Table();
  int64_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.Wake(WordOf(state, i), 1));
    if (++i == state.range(0)) i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}

void Shapes(benchmark::internal::Benchmark* b) {
  for (const int64_t words : {1, 16, 256, 4096}) b->Arg(words);
  b->Threads(1)->Threads(2)->UseRealTime();
}

BENCHMARK(BM_RivalFutexShards)->Apply(Shapes);
BENCHMARK(BM_FutexShards)->Apply(Shapes);
BENCHMARK(BM_RivalFutexWakeNobody)->Apply(Shapes);
BENCHMARK(BM_FutexWakeNobody)->Apply(Shapes);

}  // namespace
}  // namespace remora::benchmarks
