// Item 18: n values of the host's /proc/meminfo for one file of the guest's.

#include <cstdint>
#include <string>

#include "benchmark/benchmark.h"
#include "benchmarks/rivals/proc_metrics_rival.h"
#include "proc/host_metrics.h"

namespace remora::benchmarks {
namespace {

class CountingFiles final : public proc::HostFiles {
 public:
  std::string Read(const char* path) override {
    ++num_reads;
    return real_.Read(path);
  }
  uint64_t num_reads = 0;

 private:
  proc::RealHostFiles real_;
};

void BM_ProcMetrics(benchmark::State& state) {
  CountingFiles files;
  const proc::HostMetrics metrics(&files);
  for (auto _ : state) {
    const proc::MemorySample sample = metrics.SampleMemory();
    uint64_t sum = 0;
    for (int64_t row = 0; row < state.range(0); ++row) sum += sample.bytes[static_cast<size_t>(row)];
    benchmark::DoNotOptimize(sum);
  }
  state.counters["host_opens"] = static_cast<double>(files.num_reads) / static_cast<double>(state.iterations());
}

void BM_RivalProcMetrics(benchmark::State& state) {
  CountingFiles files;
  const ProcMetricsRival rival(&files);
  for (auto _ : state) {
    uint64_t sum = 0;
    for (int64_t row = 0; row < state.range(0); ++row)
      sum += rival.Value(proc::kMemoryRowNames[static_cast<size_t>(row)]);
    benchmark::DoNotOptimize(sum);
  }
  state.counters["host_opens"] = static_cast<double>(files.num_reads) / static_cast<double>(state.iterations());
}

BENCHMARK(BM_RivalProcMetrics)->Arg(1)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_ProcMetrics)->Arg(1)->Arg(4)->Arg(8)->Arg(16)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace remora::benchmarks
