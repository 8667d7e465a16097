// One poll over n distinct eventfds, one in ten of them readable; and one epoll_wait with n registered and ten
// readable.

#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "base/abi/poll.h"
#include "base/clock.h"
#include "benchmarks/rivals/poll_dedup_rival.h"
#include "fs/fd_table.h"
#include "fs/special/anonymous_files.h"
#include "fs/special/epoll.h"
#include "fs/special/eventfd.h"
#include "sync/reclaimer.h"
#include "syscalls/poll_set.h"

namespace remora::benchmarks {
namespace {

struct Eventfds {
  explicit Eventfds(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const auto fd = fds->Add(fs::MakeEventFd(*files, i % 10 == 0, 0), false);
      rows.push_back({*fd, abi::kPOLLIN, 0});
    }
  }
  ~Eventfds() { fds->CloseAll(); }

  HostClock clock;
  Ref<fs::AnonymousFiles> files = MakeRef<fs::AnonymousFiles>(&clock);
  sync::Reclaimer reclaimer;
  Ref<fs::FdTable> fds = MakeRef<fs::FdTable>(&reclaimer);
  std::vector<abi::Pollfd> rows;
};

void BM_RivalPollDedup(benchmark::State& state) {
  Eventfds eventfds(state.range(0));
  PollDedupRival rival;
  for (auto _ : state) benchmark::DoNotOptimize(rival.Poll(*eventfds.fds, eventfds.rows));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// What the handler does: rows from the guest's array, one pass, answers back.
void BM_PollDedup(benchmark::State& state) {
  Eventfds eventfds(state.range(0));
  for (auto _ : state) {
    syscalls::PollSet set;
    set.Reserve(eventfds.rows.size());
    for (const abi::Pollfd& row : eventfds.rows) set.Add(*eventfds.fds, row.fd, static_cast<uint16_t>(row.events));
    benchmark::DoNotOptimize(set.num_ready());
    for (size_t i = 0; i < eventfds.rows.size(); ++i) eventfds.rows[i].revents = static_cast<int16_t>(set[i].revents);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

constexpr int64_t kReady = 10;

void BM_RivalEpollWait(benchmark::State& state) {
  HostClock clock;
  const Ref<fs::AnonymousFiles> files = MakeRef<fs::AnonymousFiles>(&clock);
  EpollWaitRival rival;
  for (int64_t i = 0; i < state.range(0); ++i)
    rival.Add(fs::MakeEventFd(*files, i % (state.range(0) / kReady) == 0, 0), abi::kPOLLIN, static_cast<uint64_t>(i));
  uint64_t sum = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(rival.Collect(1024, [&](uint32_t, uint64_t data) { sum += data; }));
    benchmark::DoNotOptimize(sum);
  }
}

void BM_EpollWait(benchmark::State& state) {
  HostClock clock;
  const Ref<fs::AnonymousFiles> files = MakeRef<fs::AnonymousFiles>(&clock);
  std::vector<Ref<fs::File>> kept;
  const Ref<fs::EpollFile> epoll = fs::EpollFile::Make(*files, MakeRef<fs::EpollNesting>());
  for (int64_t i = 0; i < state.range(0); ++i) {
    kept.push_back(fs::MakeEventFd(*files, i % (state.range(0) / kReady) == 0, 0));
    if (!epoll->set().Add(static_cast<int32_t>(i), *kept.back(), nullptr, abi::kPOLLIN, static_cast<uint64_t>(i)).ok())
      state.SkipWithError("an eventfd could not be registered");
  }
  uint64_t sum = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(epoll->set().Collect(1024, [&](uint32_t, uint64_t data) {
      sum += data;
      return Ok();
    }));
    benchmark::DoNotOptimize(sum);
  }
}

BENCHMARK(BM_RivalPollDedup)->Arg(10)->Arg(100)->Arg(1000)->Arg(10000);
BENCHMARK(BM_PollDedup)->Arg(10)->Arg(100)->Arg(1000)->Arg(10000);
BENCHMARK(BM_RivalEpollWait)->Arg(10)->Arg(100)->Arg(1000)->Arg(10000);
BENCHMARK(BM_EpollWait)->Arg(10)->Arg(100)->Arg(1000)->Arg(10000);

}  // namespace
}  // namespace remora::benchmarks
