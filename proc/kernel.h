#ifndef REMORA_PROC_KERNEL_H_
#define REMORA_PROC_KERNEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/entropy.h"
#include "base/striped_counter.h"
#include "cpu/block_cache.h"
#include "cpu/cpu_level.h"
#include "cpu/engine.h"
#include "fs/pseudo/pseudo_inode.h"
#include "fs/tty/job_control.h"
#include "fs/vfs.h"
#include "mm/address_space.h"
#include "mm/frame_pool.h"
#include "proc/exec.h"
#include "proc/host_metrics.h"
#include "proc/syscall_outcome.h"
#include "proc/task.h"
#include "proc/thread_group.h"
#include "sync/futex_table.h"
#include "sync/reclaimer.h"

namespace remora::fs {
class EpollNesting;
}  // namespace remora::fs

namespace remora::net {
class UnixNamespace;
}  // namespace remora::net

namespace remora::proc {

struct IpcNamespace;
class PidTable;
class ProcessTree;
class Scheduler;
class Vdso;
class Worker;

// Who carries out syscalls: implemented by syscalls/, called by the workers. Called again with the same task after
// Blocked.
class SyscallDispatcher {
 public:
  virtual ~SyscallDispatcher() = default;
  // Before all else, once: tasks will run on workers 0 to num_workers - 1, each a thread of its own.
  virtual void Prepare(uint32_t /*num_workers*/) {}
  // task.syscall_number is set. `memory` reaches task's address space through the worker's TLB.
  virtual SyscallOutcome Dispatch(Task& task, mm::UserMemory memory) = 0;
  // For strace: a handler is being called or a default action taken; a thread or (whole_group) the process has ended.
  virtual void OnSignalDelivered(Task&, const SignalInfo&) {}
  virtual void OnTaskExit(Task&, int32_t /*status*/, bool /*whole_group*/) {}
};

// One running Remora: everything hangs off it, and two live side by side in one host process.
// Thread safety: accessors from any thread. Start once, then Run.
class Kernel {
 public:
  struct Options {
    uint32_t num_workers = 2;
    uint64_t slice_instructions = 400'000;  // a task's budget before another may run
    uint64_t max_memory_bytes = uint64_t{64} << 30;
    int32_t max_pid = 4'194'304;
    Clock* clock = nullptr;                          // null: the host's
    cpu::CpuLevel cpu_level = cpu::CpuLevel::kHost;  // as the engines': what /proc/cpuinfo and auxv tell
    bool engines_show_host_tsc = false;              // RDTSC is the host's, so that the vDSO may tell the time by it
    Entropy* entropy = nullptr;                      // null: the host's
    Entropy* layout_entropy = nullptr;               // where executables and mappings go; null: as all else
    HostFiles* host_files = nullptr;                 // null: the host's
    SyscallDispatcher* dispatcher = nullptr;         // not owned
    std::function<std::unique_ptr<cpu::Engine>(cpu::BlockCache*)> make_engine;  // one for each worker
    std::string host_name = "remora";
    // The first process was stopped by this signal, and whoever started Remora may want to see that.
    std::function<void(int signal)> on_first_process_stopped;
    // A fault that no handler takes (SIGILL, SIGSEGV, ... with a code of the kernel's) is about to kill this task's
    // process; the registers are those of the fault. Runs on the task's worker.
    std::function<void(Task&, const SignalInfo&)> on_fatal_fault;
  };
  explicit Kernel(Options options);
  ~Kernel();  // after Run has returned

  // What a process keeps across execve(2), beside its files.
  struct InheritedAttributes {
    struct Limit {
      int resource;  // RLIMIT_*
      ResourceLimit limit;
    };
    SignalSet ignored_signals, blocked_signals;
    int32_t nice = 0;           // -20..19
    std::vector<Limit> limits;  // those not named have a Linux system's usual values
  };

  // The first process. Its files, root and cwd are what the runner set up. On failure the status says what is wrong
  // with the program, and `error_number` (may be null) receives the errno: ENOENT, EACCES, ENOEXEC, ...
  struct FirstProcess {
    ExecRequest exec;
    Credentials credentials;
    Ref<fs::FdTable> fds;
    Ref<FsContext> fs_context;
    InheritedAttributes attributes;
  };
  absl::Status Start(FirstProcess first, int* error_number);
  // Runs the workers until the first process is dead; then kills the rest. Its wait status word.
  int32_t Run();
  // The first process, for signals from outside; from any thread. Null before Start.
  Ref<ThreadGroup> first_group() const;

  Clock& clock() const;
  Entropy& entropy() const;
  const Vdso& vdso() const;
  fs::Vfs& vfs() const;
  net::UnixNamespace& unix_names() const;
  fs::EpollNesting& epoll_nesting() const;
  fs::TerminalSessions& terminals() const;
  IpcNamespace& ipc() const;
  mm::MemoryContext& memory() const;
  mm::FramePool& frames() const;
  sync::FutexTable& futexes() const;
  // Told of every signal that becomes pending: what signalfds wait on. One for all processes, because who reads a
  // signalfd may be another than who made it.
  sync::WaitQueue& signal_arrivals() const;
  sync::Reclaimer& reclaimer() const;
  cpu::BlockCache& blocks() const;
  PidTable& pids() const;
  ProcessTree& tree() const;
  Scheduler& scheduler() const;
  const mm::AddressLayout& layout() const;
  const Options& options() const;
  std::string host_name() const;
  void set_host_name(std::string name);
  const HostMetrics& host_metrics() const;

  // Counts up: see ThreadGroup::serial.
  uint64_t NewProcessSerial();
  // Open files with a number, or on their way in a message; Task objects, dead ones that somebody still looks at
  // included. A program that leaks either in Remora shows here.
  StripedCounter& open_files() const;
  StripedCounter& tasks_alive() const;
  // How often files of /proc were made and read again.
  fs::SnapshotCounters& snapshots() const;

  // Sums over workers, for --stats. From any thread; complete once Run has returned.
  struct Counters {
    cpu::Engine::Counters engine;
    mm::Tlb::Counters tlb;
    uint64_t task_switches = 0;
    uint64_t peak_scratch_bytes = 0;  // of each worker's bounce buffer, added up
    uint64_t hole_searches = 0;
  };
  Counters counters() const;

  // --- for exit.cc ---
  // A process's last thread has ended. True if it was the first process.
  bool OnProcessDead(ThreadGroup& group, int32_t status);
  // A thread was retired; when none is left after the first process's end, the workers go home.
  void OnTaskRetired();
  // The first process is dead: nothing new may come to life.
  bool shutting_down() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What guests are told of memory: the host's figures within the Kernel's limit.
MemorySample GuestMemory(const Kernel& kernel);

}  // namespace remora::proc

#endif  // REMORA_PROC_KERNEL_H_
