#ifndef REMORA_BENCHMARKS_MANY_PROCESSES_H_
#define REMORA_BENCHMARKS_MANY_PROCESSES_H_

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/ref_counted.h"
#include "proc/kernel.h"
#include "proc/pid_table.h"
#include "proc/task_builder.h"
#include "proc/testing/scripted_kernel.h"
#include "sync/reclaimer.h"

namespace remora::benchmarks {

// A Kernel with `n` processes of one thread each that were published and never run, and the calling thread in a read
// section of it.
class ManyProcesses {
 public:
  explicit ManyProcesses(int64_t n) : section_(&kernel().reclaimer()) {
    for (int64_t i = 0; i < n; ++i) {
      const ErrnoOr<int32_t> pid = kernel().pids().Allocate();
      CHECK(pid.ok());
      kernel().pids().Publish(*pid, NewTask(*pid));
      pids_.push_back(*pid);
    }
  }

  proc::Kernel& kernel() { return scripted_.kernel(); }
  const std::vector<int32_t>& pids() const { return pids_; }
  // A process that is in no table.
  Ref<proc::Task> NewTask(int32_t pid) {
    return proc::TaskBuilder::NewTask(&kernel(), pid, proc::TaskBuilder::NewGroup(&kernel(), pid));
  }

 private:
  proc::ScriptedKernel scripted_{1};
  sync::Reclaimer::ReadSection section_;
  std::vector<int32_t> pids_;
};

}  // namespace remora::benchmarks

#endif  // REMORA_BENCHMARKS_MANY_PROCESSES_H_
