#include "benchmarks/rivals/proc_lookup_rival.h"

#include <random>
#include <string>

#include "benchmarks/many_processes.h"
#include "fs/dentry_cache.h"
#include "fs/path_walk.h"
#include "gtest/gtest.h"
#include "proc/procfs/numbers.h"
#include "proc/procfs/procfs.h"

namespace remora::benchmarks {
namespace {

TEST(ProcLookupRivalTest, FindsTheSameProcesses) {
  ManyProcesses processes(200);
  const ProcLookupRival rival(processes.pids());
  const Ref<fs::FileSystem> procfs = proc::MakeProcfs(&processes.kernel());
  fs::DentryCache cache(&processes.kernel().reclaimer());
  const Ref<fs::Dentry> root = cache.MakeRoot(procfs->root());
  std::mt19937 random(9);
  for (int i = 0; i < 5000; ++i) {
    std::string name = std::to_string(random() % 300);
    if (random() % 10 == 0) name.insert(0, 1, '0');
    if (random() % 10 == 0) name += static_cast<char>(random() % 127 + 1);
    const auto pid = rival.Lookup(name);
    const auto dentry = fs::LookupName(cache, root, name);
    ASSERT_TRUE(dentry.ok());
    ASSERT_EQ(static_cast<bool>(*dentry), pid.ok()) << name;
    if (pid.ok()) ASSERT_EQ((*dentry)->inode()->number(), proc::ProcessInodeNumber(*pid, 0));
  }
}

}  // namespace
}  // namespace remora::benchmarks
