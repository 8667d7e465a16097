// Item 11: /n inodes with numbers in a stride of 64 (as XFS numbers its chunks), looked up at random by one and by two
// threads. Counter: longest_chain.

#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "benchmarks/rivals/inode_shards_rival.h"
#include "fs/inode_table.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {
namespace {

constexpr uint64_t kStride = 64;

struct Object final : RefCounted {
  explicit Object(uint64_t number) : number(number) {}
  const uint64_t number;
};

// A table with its objects; made once for each size, used by all threads.
struct Rival {
  explicit Rival(uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) {
      objects.push_back(MakeRef<Object>(i * kStride));
      table.AddNew(i * kStride, objects.back().get());
    }
  }
  uint64_t longest_chain() const { return objects.size() * kStride / 1024; }
  // Its readers need no section; this one is as cheap as the other's.
  sync::Reclaimer reclaimer;
  InodeShardsRival<Object> table;
  std::vector<Ref<Object>> objects;
};
struct Ours {
  explicit Ours(uint64_t n) {
    sync::Reclaimer::ReadSection section(&reclaimer);
    for (uint64_t i = 0; i < n; ++i)
      objects.push_back(table.GetOrCreate(i * kStride, [&] { return MakeRef<Object>(i * kStride); }));
  }
  uint64_t longest_chain() const { return table.longest_chain(); }
  sync::Reclaimer reclaimer;
  fs::InodeTable<uint64_t, Object> table{&reclaimer};
  std::vector<Ref<Object>> objects;
};

template <typename Tables>
void Run(benchmark::State& state) {
  static std::mutex mu;
  static std::unique_ptr<Tables> tables;
  const auto n = static_cast<uint64_t>(state.range(0));
  {
    std::lock_guard lock(mu);
    if (tables == nullptr || tables->objects.size() != n) tables = std::make_unique<Tables>(n);
  }
  sync::Reclaimer::ReadSection section(&tables->reclaimer);
  std::mt19937_64 random(static_cast<uint64_t>(state.thread_index()) + 1);
  for (auto _ : state) {
    const uint64_t number = random() % n * kStride;
    const Ref<Object> found = tables->table.Find(number);
    CHECK(found && found->number == number);
  }
  state.SetItemsProcessed(state.iterations());
  if (state.thread_index() == 0) state.counters["longest_chain"] = static_cast<double>(tables->longest_chain());
}

void BM_RivalInodeShards(benchmark::State& state) { Run<Rival>(state); }
void BM_InodeShards(benchmark::State& state) { Run<Ours>(state); }

BENCHMARK(BM_RivalInodeShards)->Arg(1000)->Arg(10000)->Arg(100000)->Arg(1000000)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(BM_InodeShards)->Arg(1000)->Arg(10000)->Arg(100000)->Arg(1000000)->Threads(1)->Threads(2)->UseRealTime();

}  // namespace
}  // namespace remora::benchmarks
