// Item 20: the software TLB against 1,024 direct-mapped entries that every change flushes. Both serve their misses from
// the same address space.
//
// BM_[Rival]SoftTlb/N             mprotect of one page of N, then a read of each: what a garbage collector's barrier or
//                                 a guard page costs. survivors_percent: entries that are still there afterwards.
// BM_[Rival]SoftTlbWorkingSet/KiB reads at random addresses of a working set, in sixteen mappings apart from each
// other.
//                                 hits_percent: of them, without asking the address space.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "base/check.h"
#include "base/guest_addr.h"
#include "benchmarks/rivals/soft_tlb_rival.h"
#include "mm/address_space.h"
#include "mm/memory_for_testing.h"
#include "mm/tlb.h"

namespace remora::benchmarks {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{512} << 20;

// An address space whose pages are present and written to.
struct Machine {
  explicit Machine() : memory(kMaxBytes), space(mm::AddressSpace::Create(&memory.context, memory.layout)) {}
  void Map(GuestAddr at, uint64_t num_pages) {
    CHECK(space->Map(mm::FixedRequest(at, num_pages)).ok());
    for (uint64_t i = 0; i < num_pages; ++i)
      while (space->Translate((at + i * kPageSize).page(), mm::Access::kWrite).host_page == nullptr) {
      }
  }

  mm::MemoryForTesting memory;
  Ref<mm::AddressSpace> space;
};

struct Ours {
  explicit Ours(mm::AddressSpace* space) { tlb->Bind(space, space->id()); }
  // As an engine does it.
  uint8_t Read(GuestAddr addr) {
    const std::byte* host = tlb->Probe<mm::Access::kRead>(addr);
    if (host == nullptr) [[unlikely]]
      host = tlb->Fill(addr, mm::Access::kRead);
    return static_cast<uint8_t>(*host);
  }
  uint64_t misses() const { return tlb->counters().misses; }
  uint64_t num_entries() const { return tlb->CountEntriesForTesting(); }
  std::unique_ptr<mm::Tlb> tlb = std::make_unique<mm::Tlb>();
};
struct Rival {
  explicit Rival(mm::AddressSpace* space) : tlb(std::make_unique<DirectMappedTlb>(space)) {}
  uint8_t Read(GuestAddr addr) { return static_cast<uint8_t>(*tlb->Lookup<mm::Access::kRead>(addr)); }
  uint64_t misses() const { return tlb->misses(); }
  uint64_t num_entries() const { return tlb->CountEntries(); }
  std::unique_ptr<DirectMappedTlb> tlb;
};

template <typename T>
void ProtectOneTouchMany(benchmark::State& state) {
  const auto num_pages = static_cast<uint64_t>(state.range(0));
  const GuestAddr base(0x7f1234567000);
  Machine machine;
  machine.Map(base, num_pages);
  T side(machine.space.get());
  // Not at the same offset in each: the bytes themselves would contend for one set of the host's cache.
  const auto touch_all = [&] {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < num_pages; ++i) sum += side.Read(base + i * kPageSize + i * 64 % kPageSize);
    benchmark::DoNotOptimize(sum);
  };
  touch_all();
  uint64_t page = 0, lost = 0, live = 0;
  const auto protect_one = [&] {
    CHECK(machine.space->Protect(base + page * kPageSize, kPageSize, mm::Protection(1)).ok());
    page = (page + 1) % num_pages;
    side.tlb->Synchronize();
  };
  // Each page loses a right once, then all get it back.
  const auto give_back = [&] {
    CHECK(machine.space->Protect(base, num_pages * kPageSize, mm::Protection(3)).ok());
    side.tlb->Synchronize();
    touch_all();
  };
  for (auto _ : state) {
    if (page == 0) {
      state.PauseTiming();
      give_back();
      state.ResumeTiming();
    }
    protect_one();
    touch_all();
  }
  // Once more, looking at what is left of the entries.
  page = 0;
  give_back();
  for (int i = 0; i < 16; ++i) {
    const uint64_t before = side.num_entries();
    protect_one();
    lost += before - side.num_entries();
    live += before;
    touch_all();
  }
  state.counters["survivors_percent"] = 100.0 * static_cast<double>(live - lost) / static_cast<double>(live);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(num_pages));
}

template <typename T>
void WorkingSet(benchmark::State& state) {
  constexpr uint64_t kMappings = 16;
  const uint64_t num_pages = (static_cast<uint64_t>(state.range(0)) << 10) / kPageSize;
  Machine machine;
  std::mt19937_64 random(1);
  std::vector<GuestAddr> pages;
  for (uint64_t m = 0; m < kMappings; ++m) {
    const GuestAddr at(0x100000000000 + (m << 40) + (random() % (1 << 20)) * kPageSize);
    machine.Map(at, num_pages / kMappings);
    for (uint64_t i = 0; i < num_pages / kMappings; ++i) pages.push_back(at + i * kPageSize);
  }
  // Drawn before the clock runs.
  std::vector<GuestAddr> accesses(1 << 16);
  for (GuestAddr& addr : accesses) addr = pages[random() % pages.size()] + random() % kPageSize;
  T side(machine.space.get());
  const auto access_all = [&] {
    uint64_t sum = 0;
    for (const GuestAddr addr : accesses) sum += side.Read(addr);
    benchmark::DoNotOptimize(sum);
  };
  for (const GuestAddr page : pages) side.Read(page);
  const uint64_t misses_before = side.misses();
  for (auto _ : state) access_all();
  const auto num_accesses = static_cast<double>(state.iterations()) * static_cast<double>(accesses.size());
  state.counters["hits_percent"] = 100.0 * (1.0 - static_cast<double>(side.misses() - misses_before) / num_accesses);
  state.SetItemsProcessed(static_cast<int64_t>(num_accesses));
}

void BM_RivalSoftTlb(benchmark::State& state) { ProtectOneTouchMany<Rival>(state); }
void BM_SoftTlb(benchmark::State& state) { ProtectOneTouchMany<Ours>(state); }
void BM_RivalSoftTlbWorkingSet(benchmark::State& state) { WorkingSet<Rival>(state); }
void BM_SoftTlbWorkingSet(benchmark::State& state) { WorkingSet<Ours>(state); }

BENCHMARK(BM_RivalSoftTlb)->Arg(16)->Arg(100)->Arg(1000)->Arg(4000);
BENCHMARK(BM_SoftTlb)->Arg(16)->Arg(100)->Arg(1000)->Arg(4000);
BENCHMARK(BM_RivalSoftTlbWorkingSet)->Arg(1 << 10)->Arg(4 << 10)->Arg(16 << 10)->Arg(32 << 10);
BENCHMARK(BM_SoftTlbWorkingSet)->Arg(1 << 10)->Arg(4 << 10)->Arg(16 << 10)->Arg(32 << 10);

}  // namespace
}  // namespace remora::benchmarks
