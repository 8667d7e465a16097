// Item 8: the longest mounted prefix of a path among /n mounts. Each look-up asks for a file below another mount.

#include "fs/mount_index.h"

#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "benchmarks/rivals/mount_index_rival.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {
namespace {

struct Target final : RefCounted {
  explicit Target(int number) : number(number) {}
  const int number;
};

std::string Prefix(int i) {
  char text[32];
  std::snprintf(text, sizeof text, "/mnt/volume-%05d", i);
  return text;
}

template <typename Index>
void Run(benchmark::State& state, Index& index, sync::Reclaimer& reclaimer) {
  const int num_mounts = static_cast<int>(state.range(0));
  index.Set("/", MakeRef<Target>(-1));
  for (int i = 0; i < num_mounts; ++i) index.Set(Prefix(i), MakeRef<Target>(i));
  constexpr int kNumPaths = 1024;
  std::vector<std::string> paths;
  std::mt19937_64 random(1);
  for (int i = 0; i < kNumPaths; ++i) {
    const int mount = static_cast<int>(random() % static_cast<uint64_t>(num_mounts));
    paths.push_back(Prefix(mount) + "/usr/share/doc/file");
    CHECK(index.Lookup(paths.back()).value->number == mount);
  }
  sync::Reclaimer::ReadSection section(&reclaimer);
  uint64_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(index.Lookup(paths[i++ % kNumPaths]).suffix.data());
  state.SetItemsProcessed(state.iterations());
}

void BM_RivalMountIndex(benchmark::State& state) {
  sync::Reclaimer reclaimer;
  MountIndexRival<Target> index;
  Run(state, index, reclaimer);
}
void BM_MountIndex(benchmark::State& state) {
  sync::Reclaimer reclaimer;
  fs::MountIndex<Target> index(&reclaimer);
  Run(state, index, reclaimer);
}

BENCHMARK(BM_RivalMountIndex)->Arg(10)->Arg(100)->Arg(1000)->Arg(10000);
BENCHMARK(BM_MountIndex)->Arg(10)->Arg(100)->Arg(1000)->Arg(10000);

}  // namespace
}  // namespace remora::benchmarks
