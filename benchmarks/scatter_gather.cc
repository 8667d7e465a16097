// Item 2: readv and writev of 16 pieces, n bytes in all: one preadv and one pwritev in each iteration, the iovec array
// copied in each time. The pieces lie apart and begin inside of a page.

#include <benchmark/benchmark.h>

#include <cstdint>

#include "base/check.h"
#include "benchmarks/guest_memory.h"
#include "benchmarks/heap_meter.h"
#include "benchmarks/rivals/scatter_gather_rival.h"
#include "fs/positional_io.h"
#include "mm/user_buffer.h"

namespace remora {
namespace {

using Direction = mm::IoBuffer::Direction;

constexpr uint64_t kPieces = 16;
constexpr uint64_t kMostBytes = 16 << 20;
constexpr uint64_t kGuestBytes = kMostBytes + (kPieces + 1) * 2 * kPageSize;

GuestMemory& World() {
  static auto* const world = new GuestMemory(kMostBytes, kGuestBytes);
  return *world;
}

template <typename Round>
void Measure(benchmark::State& state, Round round) {
  const auto n = static_cast<uint64_t>(state.range(0));
  const uint64_t piece = n / kPieces;
  fs::File& file = World().file();
  GuestMemory::Worker worker(&World());
  const GuestAddr array = GuestMemory::kBase;
  for (uint64_t i = 0; i < kPieces; ++i) {
    const GuestAddr start = GuestMemory::kBase + kPageSize + i * (piece + kPageSize) + 192;
    CHECK(worker.user().Write(array + i * sizeof(mm::UserRange), mm::UserRange{start, piece}).ok());
  }
  const auto once = [&] {
    const auto ranges = mm::UserBuffer::ReadIovecs(worker.user(), array, kPieces);
    CHECK(ranges.ok());
    round(file, worker.user(), *ranges, n);
  };
  once();
  {
    const HeapMeter meter;
    once();
    state.counters["peak_heap_bytes"] = static_cast<double>(meter.peak_bytes());
  }
  for (auto _ : state) {
    once();
    worker.Quiesce();
  }
  state.SetBytesProcessed(state.iterations() * 2 * state.range(0));
}

void BM_RivalScatterGather(benchmark::State& state) {
  Measure(state, [](fs::File& file, mm::UserMemory memory, std::span<const mm::UserRange> ranges, uint64_t n) {
    const auto read = ScatterGatherRival::ReadAt(file, memory, ranges, 0);
    const auto written = ScatterGatherRival::WriteAt(file, memory, ranges, 0);
    CHECK(read.ok() && *read == n && written.ok() && *written == n);
  });
}

void BM_ScatterGather(benchmark::State& state) {
  Measure(state, [](fs::File& file, mm::UserMemory memory, std::span<const mm::UserRange> ranges, uint64_t n) {
    mm::UserBuffer to(memory, Direction::kFill, ranges);
    const auto read = fs::TransferAt(file, to, {.offset = 0, .append = false});
    mm::UserBuffer from(memory, Direction::kDrain, ranges);
    const auto written = fs::TransferAt(file, from, {.offset = 0, .append = false});
    CHECK(read.ok() && *read == n && written.ok() && *written == n);
  });
}

#define SIZES Arg(4 << 10)->Arg(64 << 10)->Arg(1 << 20)->Arg(16 << 20)
BENCHMARK(BM_RivalScatterGather)->SIZES;
BENCHMARK(BM_ScatterGather)->SIZES;

}  // namespace
}  // namespace remora
