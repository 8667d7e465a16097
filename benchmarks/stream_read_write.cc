// Item 1: read and write through no buffer of the request's length. One read and one write of n bytes in each
// iteration, between a tmpfs file and guest memory that are both present.

#include <benchmark/benchmark.h>

#include <cstdint>

#include "base/check.h"
#include "benchmarks/guest_memory.h"
#include "benchmarks/heap_meter.h"
#include "benchmarks/rivals/stream_read_write_rival.h"
#include "fs/positional_io.h"
#include "mm/user_buffer.h"

namespace remora {
namespace {

using Direction = mm::IoBuffer::Direction;

constexpr uint64_t kMostBytes = uint64_t{1} << 30;

GuestMemory& World() {
  static auto* const world = new GuestMemory(kMostBytes, kMostBytes);
  return *world;
}

void Rewind(fs::File& file) {
  MutexLock lock(&file.position_mutex());
  file.set_position(0);
}

template <typename Round>
void Measure(benchmark::State& state, Round round) {
  const auto n = static_cast<uint64_t>(state.range(0));
  fs::File& file = World().file();
  GuestMemory::Worker worker(&World());
  round(file, worker.user(), n);  // what is made present stays
  {
    const HeapMeter meter;
    round(file, worker.user(), n);
    state.counters["peak_heap_bytes"] = static_cast<double>(meter.peak_bytes());
  }
  for (auto _ : state) {
    round(file, worker.user(), n);
    worker.Quiesce();
  }
  state.SetBytesProcessed(state.iterations() * 2 * state.range(0));
}

void BM_RivalStreamReadWrite(benchmark::State& state) {
  Measure(state, [](fs::File& file, mm::UserMemory memory, uint64_t n) {
    Rewind(file);
    const auto read = StreamReadWriteRival::Read(file, memory, GuestMemory::kBase, n);
    Rewind(file);
    const auto written = StreamReadWriteRival::Write(file, memory, GuestMemory::kBase, n);
    CHECK(read.ok() && *read == n && written.ok() && *written == n);
  });
}

void BM_StreamReadWrite(benchmark::State& state) {
  Measure(state, [](fs::File& file, mm::UserMemory memory, uint64_t n) {
    Rewind(file);
    mm::UserBuffer to(memory, Direction::kFill, mm::UserRange{GuestMemory::kBase, n});
    const auto read = fs::TransferAt(file, to, {});
    Rewind(file);
    mm::UserBuffer from(memory, Direction::kDrain, mm::UserRange{GuestMemory::kBase, n});
    const auto written = fs::TransferAt(file, from, {});
    CHECK(read.ok() && *read == n && written.ok() && *written == n);
  });
}

#define SIZES Arg(4 << 10)->Arg(64 << 10)->Arg(1 << 20)->Arg(64 << 20)->Arg(1 << 30)
BENCHMARK(BM_RivalStreamReadWrite)->SIZES;
BENCHMARK(BM_StreamReadWrite)->SIZES;

}  // namespace
}  // namespace remora
