// Item 4: n random bytes into guest memory that is present, from the host's generator.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/entropy.h"
#include "benchmarks/guest_memory.h"
#include "benchmarks/heap_meter.h"
#include "benchmarks/rivals/getrandom_stream_rival.h"
#include "mm/user_buffer.h"

namespace remora {
namespace {

constexpr uint64_t kMostBytes = 16 << 20;

GuestMemory& World() {
  static auto* const world = new GuestMemory(4096, kMostBytes + kPageSize);
  return *world;
}

template <typename Call>
void Measure(benchmark::State& state, Call call) {
  const auto n = static_cast<uint64_t>(state.range(0));
  GuestMemory::Worker worker(&World());
  HostEntropy entropy;
  call(entropy, worker.user(), n);
  {
    const HeapMeter meter;
    call(entropy, worker.user(), n);
    state.counters["peak_heap_bytes"] = static_cast<double>(meter.peak_bytes());
  }
  for (auto _ : state) {
    call(entropy, worker.user(), n);
    worker.Quiesce();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void BM_RivalGetrandomStream(benchmark::State& state) {
  Measure(state, [](Entropy& entropy, mm::UserMemory memory, uint64_t n) {
    const auto made = GetrandomStreamRival::Getrandom(entropy, memory, GuestMemory::kBase, n);
    CHECK(made.ok() && *made == n);
  });
}
void BM_GetrandomStream(benchmark::State& state) {
  Measure(state, [](Entropy& entropy, mm::UserMemory memory, uint64_t n) {
    mm::UserBuffer buffer(memory, mm::IoBuffer::Direction::kFill, mm::UserRange{GuestMemory::kBase, n});
    const auto made = buffer.Produce(n, [&](std::span<std::byte> piece) { entropy.Fill(piece); });
    CHECK(made.ok() && *made == n);
  });
}

#define SIZES Arg(16)->Arg(256)->Arg(4 << 10)->Arg(64 << 10)->Arg(1 << 20)->Arg(16 << 20)
BENCHMARK(BM_RivalGetrandomStream)->SIZES;
BENCHMARK(BM_GetrandomStream)->SIZES;

}  // namespace
}  // namespace remora
