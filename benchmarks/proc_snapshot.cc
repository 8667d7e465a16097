// Item 17: a generated file of n bytes, read byte by byte from its beginning to its end.

#include <fcntl.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "base/clock.h"
#include "benchmark/benchmark.h"
#include "benchmarks/rivals/proc_snapshot_rival.h"
#include "fs/pseudo/pseudo_inode.h"
#include "fs/pseudo/snapshot_file.h"

namespace remora::benchmarks {
namespace {

// Lines of 64 bytes with a number in each: cheap to make, in the rival's favour.
std::string Content(int64_t num_bytes) {
  std::string text;
  text.reserve(static_cast<size_t>(num_bytes));
  std::string line = "7f0000000000-7f0000001000 r-xp 00000000 08:01 0000000 /usr/lib\n";
  line.resize(63, ' ');
  line += '\n';
  for (int64_t i = 0; i < num_bytes / 64; ++i) {
    line[6] = static_cast<char>('0' + i % 10);
    text += line;
  }
  return text;
}

template <typename Read>
void ReadByteByByte(benchmark::State& state, const Read& read) {
  for (auto _ : state) {
    uint64_t offset = 0;
    std::array<std::byte, 1> byte;
    while (true) {
      mm::KernelBuffer buffer(mm::IoBuffer::Direction::kFill, byte);
      if (*read(buffer, offset) == 0) break;
      benchmark::DoNotOptimize(byte);
      ++offset;
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void BM_ProcSnapshot(benchmark::State& state) {
  HostClock clock;
  fs::SnapshotCounters counters;
  const auto file_system = MakeRef<fs::PseudoFileSystem>("proc", 0x9fa0, 77, &clock, &counters);
  const auto inode =
      MakeRef<fs::SnapshotInode>(file_system.get(), [&]() -> ErrnoOr<std::string> { return Content(state.range(0)); });
  const Ref<fs::File> file = inode->Open(fs::Path(), O_RDONLY).value();
  ReadByteByByte(state, [&](mm::IoBuffer& to, uint64_t offset) { return file->Read(to, offset); });
  state.counters["built"] = static_cast<double>(counters.built) / static_cast<double>(state.iterations());
}

void BM_RivalProcSnapshot(benchmark::State& state) {
  uint64_t num_built = 0;
  const ProcSnapshotRival rival([&] {
    ++num_built;
    return Content(state.range(0));
  });
  ReadByteByByte(state, [&](mm::IoBuffer& to, uint64_t offset) { return rival.Read(to, offset); });
  state.counters["built"] = static_cast<double>(num_built) / static_cast<double>(state.iterations());
}

BENCHMARK(BM_RivalProcSnapshot)->Arg(1024)->Arg(4096)->Arg(16384)->Arg(65536)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_ProcSnapshot)->Arg(1024)->Arg(4096)->Arg(16384)->Arg(65536)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace remora::benchmarks
