#include "benchmarks/rivals/proc_readdir_rival.h"

#include <random>
#include <vector>

#include "benchmarks/many_processes.h"
#include "gtest/gtest.h"
#include "proc/pid_table.h"

namespace remora::benchmarks {
namespace {

TEST(ProcReaddirRivalTest, ListsTheSameProcesses) {
  constexpr int32_t kMaxPid = 2000;
  ManyProcesses processes(0);
  proc::PidTable pids(&processes.kernel().reclaimer(), kMaxPid);
  ProcReaddirRival rival(kMaxPid);
  std::vector<int32_t> live;
  std::mt19937 random(10);
  for (int i = 0; i < 2000; ++i) {
    if (live.size() < 50 || random() % 2 == 0) {
      const int32_t pid = pids.Allocate().value();
      const Ref<proc::Task> task = processes.NewTask(pid);
      pids.Publish(pid, task);
      rival.Publish(pid, task);
      live.push_back(pid);
    } else {
      std::swap(live[random() % live.size()], live.back());
      pids.Remove(live.back());
      rival.Remove(live.back());
      live.pop_back();
    }
    if (i % 20 != 0) continue;
    std::vector<int32_t> mine, its;
    const auto from = static_cast<int32_t>(random() % kMaxPid);
    mine.resize(live.size());
    mine.resize(pids.ListPids(from, mine));
    rival.List(from, [&](int32_t pid) {
      its.push_back(pid);
      return true;
    });
    ASSERT_EQ(mine, its);
  }
}

}  // namespace
}  // namespace remora::benchmarks
