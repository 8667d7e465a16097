// Item 3: pread and pwrite of one file by one and by two threads, each at blocks of n bytes in its own half, chosen at
// random. The guest memory of each thread is its own, the address space is one. File and buffers stay in the cores' own
// caches, so that what is compared is not the memory's bandwidth.

#include "fs/positional_io.h"

#include <benchmark/benchmark.h>

#include <cstdint>

#include "base/check.h"
#include "benchmarks/guest_memory.h"
#include "benchmarks/rivals/positional_io_rival.h"
#include "mm/user_buffer.h"

namespace remora {
namespace {

using Direction = mm::IoBuffer::Direction;

constexpr uint64_t kFileBytes = 1 << 20;
constexpr uint64_t kBufferBytes = 256 << 10;
constexpr uint64_t kMostThreads = 2;

GuestMemory& World() {
  static auto* const world = new GuestMemory(kFileBytes, kMostThreads * kBufferBytes);
  return *world;
}
PositionalIoRival& Rival() {
  static auto* const rival = new PositionalIoRival(&World().file());
  return *rival;
}

template <typename Transfer>
void Measure(benchmark::State& state, Transfer transfer) {
  const auto n = static_cast<uint64_t>(state.range(0));
  const auto thread = static_cast<uint64_t>(state.thread_index());
  const uint64_t blocks = kFileBytes / kMostThreads / n;
  GuestMemory::Worker worker(&World());
  const GuestAddr buffer = GuestMemory::kBase + thread * kBufferBytes;
  uint64_t random = thread + 1;
  for (auto _ : state) {
    random = random * 6364136223846793005 + 1442695040888963407;
    const uint64_t offset = thread * (kFileBytes / kMostThreads) + (random >> 33) % blocks * n;
    const auto moved = transfer(worker.user(), buffer, n, offset);
    CHECK(moved.ok() && *moved == n);
    worker.Quiesce();
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void BM_RivalPositionalIo(benchmark::State& state) {
  Measure(state, [](mm::UserMemory memory, GuestAddr at, uint64_t n, uint64_t offset) {
    return Rival().Pread(memory, at, n, offset);
  });
}
void BM_PositionalIo(benchmark::State& state) {
  Measure(state, [](mm::UserMemory memory, GuestAddr at, uint64_t n, uint64_t offset) {
    mm::UserBuffer buffer(memory, Direction::kFill, mm::UserRange{at, n});
    return fs::TransferAt(World().file(), buffer, {.offset = offset, .append = false});
  });
}
void BM_RivalPositionalIoWrite(benchmark::State& state) {
  Measure(state, [](mm::UserMemory memory, GuestAddr at, uint64_t n, uint64_t offset) {
    return Rival().Pwrite(memory, at, n, offset);
  });
}
void BM_PositionalIoWrite(benchmark::State& state) {
  Measure(state, [](mm::UserMemory memory, GuestAddr at, uint64_t n, uint64_t offset) {
    mm::UserBuffer buffer(memory, Direction::kDrain, mm::UserRange{at, n});
    return fs::TransferAt(World().file(), buffer, {.offset = offset, .append = false});
  });
}

#define SIZES Arg(4 << 10)->Arg(16 << 10)->Arg(64 << 10)->Arg(256 << 10)->Threads(1)->Threads(2)->UseRealTime()
BENCHMARK(BM_RivalPositionalIo)->SIZES;
BENCHMARK(BM_PositionalIo)->SIZES;
BENCHMARK(BM_RivalPositionalIoWrite)->SIZES;
BENCHMARK(BM_PositionalIoWrite)->SIZES;

}  // namespace
}  // namespace remora
