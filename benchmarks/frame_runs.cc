// How long the runs of pages are that lie side by side in the host's memory, which is how far one extent of the
// translator reaches; against frames from a list, the last freed first, as the pages are touched. pages_per_run tells;
// the time is that of a first touch, through AddressSpace for ours, and of the list alone for the rival.
//
// BM_[Rival]FrameRuns/P/N  N pages, in the order P:
//     0  ascending, in memory that nobody used before
//     1  descending, as a stack
//     2  shuffled
//     3  ascending, in memory that another process used and freed, its pages in no order
//     4  shuffled writes of a child to what it has of its parent

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "base/check.h"
#include "base/guest_addr.h"
#include "mm/address_space.h"
#include "mm/memory_for_testing.h"
#include "mm/types.h"

namespace remora::benchmarks {
namespace {

constexpr GuestAddr kBase(0x7f1234567000);
constexpr uint64_t kPoolBytes = uint64_t{8} << 30;

enum Pattern { kAscending, kDescending, kShuffled, kReused, kForked };

std::vector<uint64_t> Order(int64_t pattern, uint64_t num_pages) {
  std::vector<uint64_t> pages(num_pages);
  std::iota(pages.begin(), pages.end(), 0);
  if (pattern == kDescending) std::reverse(pages.begin(), pages.end());
  if (pattern == kShuffled || pattern == kForked) std::shuffle(pages.begin(), pages.end(), std::mt19937(1));
  return pages;
}

double PagesPerRun(const std::vector<uint64_t>& place_of_page) {
  double runs = 1;
  for (uint64_t i = 1; i < place_of_page.size(); ++i) runs += place_of_page[i] != place_of_page[i - 1] + 1;
  return static_cast<double>(place_of_page.size()) / runs;
}

void Touch(mm::AddressSpace& space, uint64_t page) {
  while (space.Translate((kBase + page * kPageSize).page(), mm::Access::kWrite).host_page == nullptr) {
  }
}

void BM_FrameRuns(benchmark::State& state) {
  const auto num_pages = static_cast<uint64_t>(state.range(1));
  const std::vector<uint64_t> order = Order(state.range(0), num_pages);
  mm::MemoryForTesting memory(kPoolBytes);
  for (auto _ : state) {
    state.PauseTiming();
    Ref<mm::AddressSpace> parent;
    auto space = mm::AddressSpace::Create(&memory.context, memory.layout);
    CHECK(space->Map(mm::FixedRequest(kBase, num_pages)).ok());
    if (state.range(0) == kReused || state.range(0) == kForked) {
      for (const uint64_t page : Order(kShuffled, num_pages)) Touch(*space, page);
      if (state.range(0) == kReused) {
        CHECK(space->DiscardPages(kBase, num_pages * kPageSize).ok());
        memory.Settle();
      } else {
        parent = space;
        space = *parent->Fork();
      }
    }
    state.ResumeTiming();
    for (const uint64_t page : order) Touch(*space, page);
    state.PauseTiming();
    std::vector<uint64_t> places;
    for (uint64_t i = 0; i < num_pages; ++i)
      places.push_back(space->Translate((kBase + i * kPageSize).page(), mm::Access::kRead).frame.value());
    state.counters["pages_per_run"] = PagesPerRun(places);
    space = {};
    parent = {};
    memory.Settle();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(num_pages));
}

class FrameList {
 public:
  uint64_t Take() {
    if (free_.empty()) return next_++;
    const uint64_t frame = free_.back();
    free_.pop_back();
    return frame;
  }
  void Free(uint64_t frame) { free_.push_back(frame); }

 private:
  std::vector<uint64_t> free_;
  uint64_t next_ = 0;
};

void BM_RivalFrameRuns(benchmark::State& state) {
  const auto num_pages = static_cast<uint64_t>(state.range(1));
  const std::vector<uint64_t> order = Order(state.range(0), num_pages);
  std::vector<uint64_t> places(num_pages);
  for (auto _ : state) {
    state.PauseTiming();
    auto frames = std::make_unique<FrameList>();
    if (state.range(0) == kReused || state.range(0) == kForked) {
      for (const uint64_t page : Order(kShuffled, num_pages)) places[page] = frames->Take();
      if (state.range(0) == kReused)
        for (const uint64_t place : places) frames->Free(place);
    }
    state.ResumeTiming();
    for (const uint64_t page : order) places[page] = frames->Take();
    benchmark::ClobberMemory();
  }
  state.counters["pages_per_run"] = PagesPerRun(places);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(num_pages));
}

BENCHMARK(BM_RivalFrameRuns)->ArgsProduct({{0, 1, 2, 3, 4}, {256, 16384}});
BENCHMARK(BM_FrameRuns)->ArgsProduct({{0, 1, 2, 3, 4}, {256, 16384}});

}  // namespace
}  // namespace remora::benchmarks
