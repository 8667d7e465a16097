// Item 19: room for a mapping of a few pages, taken and given back, in a space with n mappings of 1 to 16 pages that
// lie a page apart, as a growing program's do. Between them one page fits and no more, so the hole lies below all of
// them: where the rival's probe ends, and where it ends for each such program.

#include "mm/hole_tracker.h"

#include <benchmark/benchmark.h>

#include <cstdint>

#include "base/check.h"
#include "base/guest_addr.h"
#include "benchmarks/rivals/hole_tracker_rival.h"

namespace remora {
namespace {

constexpr uint64_t kSpacePages = uint64_t{1} << 22;  // 16 GiB

template <typename Tracker>
void Measure(benchmark::State& state) {
  const PageRange space{PageNumber(0), PageNumber(kSpacePages)};
  Tracker tracker(space);
  uint64_t random = 1;
  const auto next = [&random](uint64_t below) {
    random = random * 6364136223846793005 + 1442695040888963407;
    return (random >> 33) % below;
  };
  uint64_t at = kSpacePages;
  for (int64_t i = 0; i < state.range(0); ++i) {
    const uint64_t length = 1 + next(16);
    tracker.Reserve({PageNumber(at - length), PageNumber(at)});
    at -= length + 1;
  }
  CHECK(at < kSpacePages);  // did not wrap
  for (auto _ : state) {
    const auto hole = tracker.FindTopmost(2 + next(8), space);
    CHECK(hole.has_value());
    tracker.Reserve(*hole);
    tracker.Release(*hole);
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_RivalHoleTracker(benchmark::State& state) { Measure<HoleTrackerRival>(state); }
void BM_HoleTracker(benchmark::State& state) { Measure<mm::HoleTracker>(state); }

#define SIZES Arg(10)->Arg(100)->Arg(1'000)->Arg(10'000)->Arg(100'000)
BENCHMARK(BM_RivalHoleTracker)->SIZES;
BENCHMARK(BM_HoleTracker)->SIZES;

}  // namespace
}  // namespace remora
