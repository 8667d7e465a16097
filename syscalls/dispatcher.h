#ifndef REMORA_SYSCALLS_DISPATCHER_H_
#define REMORA_SYSCALLS_DISPATCHER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/counter.h"
#include "proc/kernel.h"
#include "syscalls/table.h"

namespace remora::syscalls {

class Tracer;

// Calls the handler of each syscall, counts, and prints what strace(1) would. One for each Kernel.
//
// A call that is absent answers ENOSYS and is counted like the others.
// Thread safety: all methods from any thread.
class Dispatcher final : public proc::SyscallDispatcher {
 public:
  struct Options {
    bool strace = false;
    // RE2; only names in which it matches are printed. Empty: all.
    std::string strace_filter;
    // Receives whole lines with their newline, from any worker. Null: the host's stderr.
    std::function<void(std::string_view line)> strace_sink;
    // Take the time of each call, for --stats.
    bool measure_time = false;
  };
  // InvalidArgument where the filter is no regular expression.
  static absl::StatusOr<std::unique_ptr<Dispatcher>> Create(Options options);
  ~Dispatcher() override;

  void Prepare(uint32_t num_workers) override;
  proc::SyscallOutcome Dispatch(proc::Task& task, mm::UserMemory memory) override;
  void OnSignalDelivered(proc::Task& task, const proc::SignalInfo& info) override;
  void OnTaskExit(proc::Task& task, int32_t status, bool whole_group) override;

  struct CallCount {
    std::string_view name;  // "" for numbers that Linux does not use
    uint64_t number = 0;
    uint64_t calls = 0;
    uint64_t nanos = 0;  // in handlers, all runs together; 0 unless measured
    bool absent = false;
  };
  // Those that were called, most calls first.
  std::vector<CallCount> counts() const;

 private:
  explicit Dispatcher(Options options, std::unique_ptr<Tracer> tracer);

  // Each worker counts for itself: a locked instruction would take a third of a getpid.
  struct alignas(64) Shard {
    std::array<Counter, kNumSyscalls + 1> calls;  // the last one: numbers beyond the table
    std::array<Counter, kNumSyscalls + 1> nanos;
  };
  // Dispatch where there may be more to do than to call the handler.
  proc::SyscallOutcome DispatchWithCare(proc::Task& task, mm::UserMemory memory);
  // What is left to do behind a handler that did not simply succeed; the call's outcome.
  proc::SyscallOutcome Settle(proc::Task& task, mm::UserMemory memory, proc::SyscallOutcome outcome);

  const bool measure_time_;
  const std::unique_ptr<Tracer> tracer_;  // null unless strace is asked for
  const bool is_watched_;                 // each call is timed or traced
  std::vector<Shard> shards_;             // by worker
};

}  // namespace remora::syscalls

#endif  // REMORA_SYSCALLS_DISPATCHER_H_
