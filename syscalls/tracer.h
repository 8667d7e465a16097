#ifndef REMORA_SYSCALLS_TRACER_H_
#define REMORA_SYSCALLS_TRACER_H_

#include <bitset>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "mm/user_memory.h"
#include "proc/signal_types.h"
#include "proc/syscall_outcome.h"
#include "proc/task.h"
#include "syscalls/strace_format.h"
#include "syscalls/table.h"

namespace remora::syscalls {

// Prints what strace -f would. Difference: a call that waits is printed whole when it ends, not as "<unfinished ...>"
// and "<... resumed>".
// Thread safety: all methods from any thread.
class Tracer {
 public:
  // `sink` receives whole lines; null: the host's stderr. InvalidArgument for a bad regular expression.
  static absl::StatusOr<std::unique_ptr<Tracer>> Create(const std::string& filter,
                                                        std::function<void(std::string_view line)> sink);

  // Before the first run of a call: what the guest hands in is printed now, execve's strings would be gone later.
  void Enter(proc::Task& task, mm::UserMemory memory);
  void Leave(proc::Task& task, mm::UserMemory memory, const proc::SyscallOutcome& outcome);
  void SignalDelivered(proc::Task& task, const proc::SignalInfo& info);
  void TaskExit(proc::Task& task, int32_t status, bool whole_group);

 private:
  Tracer(std::bitset<kNumSyscalls + 1> traced, std::function<void(std::string_view line)> sink);
  void Print(int32_t tid, std::string_view text);

  const std::bitset<kNumSyscalls + 1> traced_;  // the last one: numbers beyond the table
  const std::function<void(std::string_view line)> sink_;
  Mutex mu_{LockRank::kLeaf};
  // The calls under way, by thread.
  struct Entered {
    CallFacts call;
    FormattedArgs args;
  };
  absl::flat_hash_map<int32_t, Entered> entered_ ABSL_GUARDED_BY(mu_);
  // Threads that have made a call and live: with more than one, lines begin with "[pid N] ".
  absl::flat_hash_map<int32_t, bool> alive_ ABSL_GUARDED_BY(mu_);
};

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_TRACER_H_
