#include "benchmarks/rivals/poll_dedup_rival.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "fs/special/anonymous_files.h"
#include "fs/special/epoll.h"
#include "fs/special/eventfd.h"
#include "sync/reclaimer.h"
#include "syscalls/poll_set.h"

namespace remora::benchmarks {
namespace {

TEST(PollDedupRivalTest, AnswersAsThePollSetDoes) {
  HostClock clock;
  const Ref<fs::AnonymousFiles> files = MakeRef<fs::AnonymousFiles>(&clock);
  sync::Reclaimer reclaimer;
  const Ref<fs::FdTable> fds = MakeRef<fs::FdTable>(&reclaimer);
  constexpr int kFiles = 20;
  // One in three is readable, one in three full.
  for (int i = 0; i < kFiles; ++i)
    ASSERT_TRUE(fds->Add(fs::MakeEventFd(*files, i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : ~uint64_t{1}, 0), false).ok());
  std::mt19937 random(1);
  PollDedupRival rival;
  for (int round = 0; round < 2000; ++round) {
    std::vector<abi::Pollfd> rows(random() % 40);
    for (abi::Pollfd& row : rows) {
      row.fd = static_cast<int32_t>(random() % (kFiles + 4)) - 2;
      row.events = static_cast<int16_t>(random() % 2 * abi::kPOLLIN | random() % 2 * abi::kPOLLOUT);
    }
    syscalls::PollSet set;
    for (const abi::Pollfd& row : rows) set.Add(*fds, row.fd, static_cast<uint16_t>(row.events));
    ASSERT_EQ(rival.Poll(*fds, rows), set.Ask());
    for (size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(static_cast<uint16_t>(rows[i].revents), set[i].revents);
  }
  fds->CloseAll();
}

TEST(EpollWaitRivalTest, AnswersAsTheEpollSetDoes) {
  HostClock clock;
  const Ref<fs::AnonymousFiles> files = MakeRef<fs::AnonymousFiles>(&clock);
  Ref<fs::EpollFile> epoll = fs::EpollFile::Make(*files, MakeRef<fs::EpollNesting>());
  EpollWaitRival rival;
  std::mt19937 random(1);
  std::vector<Ref<fs::File>> kept;
  for (int i = 0; i < 200; ++i) {
    kept.push_back(fs::MakeEventFd(*files, random() % 2, 0));
    const uint32_t events = random() % 2 == 0 ? abi::kPOLLIN : abi::kPOLLIN | abi::kPOLLOUT;
    rival.Add(kept.back(), events, static_cast<uint64_t>(i));
    ASSERT_TRUE(epoll->set().Add(i, *kept.back(), nullptr, events, static_cast<uint64_t>(i)).ok());
  }
  for (int round = 0; round < 3; ++round) {
    std::set<std::pair<uint32_t, uint64_t>> ours, theirs;
    const auto count = epoll->set().Collect(1000, [&](uint32_t events, uint64_t data) {
      ours.emplace(events, data);
      return Ok();
    });
    ASSERT_TRUE(count.ok());
    rival.Collect(1000, [&](uint32_t events, uint64_t data) { theirs.emplace(events, data); });
    ASSERT_EQ(ours, theirs);
  }
}

}  // namespace
}  // namespace remora::benchmarks
