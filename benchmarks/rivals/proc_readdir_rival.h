#ifndef REMORA_BENCHMARKS_RIVALS_PROC_READDIR_RIVAL_H_
#define REMORA_BENCHMARKS_RIVALS_PROC_READDIR_RIVAL_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/mutex.h"
#include "base/ref_counted.h"
#include "proc/task.h"

namespace remora::benchmarks {

// The plain way: an array with a slot for each number that may be, and a listing that looks at all of them under the
// lock that forks take.
class ProcReaddirRival {
 public:
  explicit ProcReaddirRival(int32_t max_pid) : slots_(static_cast<size_t>(max_pid)) {}

  void Publish(int32_t pid, Ref<proc::Task> task) {
    MutexLock lock(&mu_);
    slots_[static_cast<size_t>(pid)] = std::move(task);
  }
  void Remove(int32_t pid) { Publish(pid, nullptr); }

  // Calls `visit` for each pid >= from, in order, until it answers false.
  template <typename Visit>
  void List(int32_t from, const Visit& visit) const {
    MutexLock lock(&mu_);
    for (size_t pid = static_cast<size_t>(from); pid < slots_.size(); ++pid)
      if (slots_[pid] && !visit(static_cast<int32_t>(pid))) return;
  }

 private:
  mutable Mutex mu_{LockRank::kPidTable};
  std::vector<Ref<proc::Task>> slots_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_RIVALS_PROC_READDIR_RIVAL_H_
