#ifndef REMORA_PROC_TASK_H_
#define REMORA_PROC_TASK_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/guest_addr.h"
#include "base/mutex.h"
#include "base/ref_counted.h"
#include "cpu/cpu_state.h"
#include "fs/fd_table.h"
#include "mm/address_space.h"
#include "proc/credentials.h"
#include "proc/deadline_heap.h"
#include "proc/fs_context.h"
#include "proc/pending_signals.h"
#include "proc/rseq.h"
#include "proc/signal_types.h"
#include "proc/syscall_outcome.h"
#include "sync/wait_queue.h"

namespace remora::proc {

class Kernel;
class Scheduler;
class Task;
class ThreadGroup;
class VforkDone;
struct ChildUsage;

// A Waiter that wakes a task: what SyscallStates hold.
class TaskWaiter final : public sync::Waiter {
 public:
  explicit TaskWaiter(Task* task) : task_(task) {}
  ~TaskWaiter() override { Disarm(); }
  void Notify(sync::Events events) override;
  sync::Events fired() const { return fired_.load(std::memory_order_acquire); }

 private:
  Task* const task_;
  std::atomic<sync::Events> fired_{0};
};

// Keeps a waiter armed while a task waits for its memory.
class MemoryWait {
 public:
  MemoryWait(Task* task, sync::WaitQueue& queue) : waiter_(task) { queue.Arm(&waiter_, sync::kAllEvents); }

 private:
  TaskWaiter waiter_;
};

// One guest thread: its CPU state, handles to what it shares with others, and where it stands between running and
// parked. It knows little: free functions (clone.h, exec.h, exit.h, signal_delivery.h, wait.h) do the work.
//
// Life: created by Clone (or Kernel::Start) -> runnable -> [running <-> parked]* -> zombie (exit.h) -> reaped.
// Thread safety: fields without a comment belong to the worker that runs the task, or to its creator before it is first
// made runnable. Linux twin: task_struct, split: what a process owns is in ThreadGroup.
class Task final : public RefCounted {
 public:
  Kernel& kernel() const { return *kernel_; }
  // Changes once at most: when a thread other than the first execs, it takes the process's number.
  int32_t tid() const { return tid_.load(std::memory_order_relaxed); }
  ThreadGroup& group() const { return *group_; }

  cpu::CpuState cpu;

  // Handles. Replaced by exec and unshare on the task's own worker only; procfs reads them under mu().
  const Ref<mm::AddressSpace>& space() const { return space_; }
  const Ref<fs::FdTable>& fds() const { return fds_; }
  const Ref<FsContext>& fs_context() const { return fs_context_; }
  void ReplaceSpace(Ref<mm::AddressSpace> space);
  void ReplaceFds(Ref<fs::FdTable> fds);
  void ReplaceFsContext(Ref<FsContext> context);
  // The same for other threads: counted copies, null once the task is dead.
  Ref<mm::AddressSpace> SpaceForOthers() const;
  Ref<fs::FdTable> FdsForOthers() const;
  Ref<FsContext> FsContextForOthers() const;

  // Credentials are immutable values; a change replaces them.
  std::shared_ptr<const Credentials> credentials() const;
  void set_credentials(std::shared_ptr<const Credentials> credentials);

  // comm, 15 characters at most.
  std::string name() const;
  void set_name(std::string_view name);

  // --- signals: see proc/signals.h for sending and proc/signal_delivery.h for delivery ---
  SignalSet blocked_signals() const { return SignalSet(blocked_.load(std::memory_order_acquire)); }
  void set_blocked_signals(SignalSet set);  // recomputes signal_pending
  // True if there is something for the worker to look at before guest code: a signal, a stop, the end of the process.
  bool signal_pending() const { return signal_pending_.load(std::memory_order_acquire); }
  AlternateStack alternate_stack;
  // rt_sigsuspend, ppoll, pselect: the mask to put back after the handler was set up.
  std::optional<SignalSet> saved_blocked_signals;
  // PR_SET_PDEATHSIG: sent to this task when its parent's thread group is gone. 0: none.
  std::atomic<int> parent_death_signal{0};

  // --- what is only kept and told: the scheduler knows neither ---
  std::atomic<int32_t> nice{0};                  // -20..19
  std::atomic<int32_t> io_priority{0};           // ioprio_set(2)
  std::atomic<uint64_t> affinity{~uint64_t{0}};  // CPUs 0..63
  // personality(2): base/abi/personality.h tells the bits. The calls and the next exec go by it.
  std::atomic<uint32_t> personality{0};
  bool HasPersonality(uint32_t bit) const { return (personality.load(std::memory_order_relaxed) & bit) != 0; }
  // The number of the worker that it runs on or ran on last.
  uint32_t worker_number() const { return last_worker_; }
  // The CPU that it runs on or ran on last, as guests see it: the worker's number, or the lowest that its affinity
  // allows if that one does not.
  uint32_t cpu_number() const {
    const uint64_t allowed = affinity.load(std::memory_order_relaxed);
    const uint32_t worker = last_worker_;
    if (worker >= 64 || (allowed >> worker & 1) != 0 || allowed == 0) return worker;
    return static_cast<uint32_t>(std::countr_zero(allowed));
  }

  // --- thread bookkeeping ---
  RseqState rseq;
  GuestAddr clear_child_tid;  // set_tid_address, CLONE_CHILD_CLEARTID: zeroed and futex-woken at exit
  GuestAddr robust_list_head;
  uint64_t robust_list_length = 0;

  // --- the syscall that is being carried out ---
  // Non-null while a handler is blocked; the handler finds what it saved.
  std::unique_ptr<SyscallState> syscall_state;
  // While the task waits for other workers to acknowledge what it changed, or for a page of a slow file: the worker's
  // and the Dispatcher's, not a handler's.
  std::unique_ptr<MemoryWait> memory_wait;
  uint64_t syscall_number = 0;  // of the call under way
  // Argument i, 0 to 5, which stays in its register until the call has set the registers itself.
  uint64_t syscall_arg(int i) const {
    constexpr cpu::Gpr kRegisters[] = {cpu::kRdi, cpu::kRsi, cpu::kRdx, cpu::kR10, cpu::kR8, cpu::kR9};
    return cpu.gpr[kRegisters[i]];
  }
  bool in_syscall = false;
  // Whether the present or last stop in the kernel was a syscall that may be restarted, and with which number: what
  // Linux keeps in orig_rax. Cleared by sigreturn.
  bool restartable = false;

  // The last CPU exception, as a signal frame's sigcontext tells it.
  struct Trap {
    uint64_t number = 0, error_code = 0, fault_address = 0;
  };
  Trap trap;

  // --- parking ---
  // Makes the task run (again): from any thread, any number of times; may be called under locks that rank before
  // kScheduler. A wake that comes before the park is not lost.
  void Wake();
  // The absolute CLOCK_MONOTONIC deadline of the present wait, or kNoDeadline: the scheduler wakes the task then. Set
  // by handlers before they answer Blocked.
  static constexpr int64_t kNoDeadline = INT64_MAX;
  int64_t park_deadline_nanos = kNoDeadline;
  // For /proc/PID/stat: R, S, T, Z.
  char state_letter() const;
  bool dead() const { return dead_.load(std::memory_order_acquire); }

  // CPU time used in nanoseconds, of guest and kernel code.
  std::atomic<uint64_t> user_nanos{0}, system_nanos{0};
  // Of the spaces that it left by exec, or as the last thread at exit: the present one counts for itself.
  std::atomic<uint64_t> minor_faults{0}, max_resident_pages{0};
  ChildUsage usage() const;
  void NoteMemoryUse(bool last_user);
  // Adds what was used since the slice began or was last charged. A slice's time is split by what was done in it: a
  // call counts as kSyscallCost guest instructions, so that no clock is read around calls.
  void ChargeSlice(int64_t now_nanos);
  static constexpr uint64_t kSyscallCost = 1000;
  struct Slice {
    int64_t start_nanos = 0;
    uint64_t instructions = 0, calls = 0;
  };
  Slice slice;
  // The worker's TLB, bound to space(), while a worker runs this task; else null.
  mm::Tlb* tlb = nullptr;
  // While a worker runs this task: has it let go of the space that it is bound to. Whoever ends the task does so before
  // the parent hears of it, since the memory may go with it: attached segments, locks, the frames.
  struct SpaceHolder {
    virtual void LetGoOfSpace() = 0;

   protected:
    ~SpaceHolder() = default;
  };
  SpaceHolder* space_holder = nullptr;
  // Times it was parked, and put back on the queue because others wanted to run.
  std::atomic<uint64_t> voluntary_switches{0}, involuntary_switches{0};
  // vfork: whom to wake when this task execs or exits; null otherwise.
  Ref<VforkDone> vfork_done;

  Mutex& mu() const ABSL_LOCK_RETURNED(mu_) { return mu_; }

 private:
  friend class Kernel;
  friend class Scheduler;
  friend class SignalState;  // proc/signal_state.h
  friend class TaskBuilder;  // proc/task_builder.h
  friend class TaskReaper;   // proc/task_reaper.h
  friend class ThreadGroup;

  Task(Kernel* kernel, int32_t tid, Ref<ThreadGroup> group);
  ~Task() override;
  // Lock-free readers of the pid table may still see it.
  void OnLastRelease() override;

  // Where the task stands. Wake() moves kParked to kQueued and kRunning to kRunningWoken; the worker does the rest.
  enum class RunState : uint8_t { kNew, kQueued, kRunning, kRunningWoken, kParked, kDead };

  Kernel* const kernel_;
  std::atomic<int32_t> tid_;
  const Ref<ThreadGroup> group_;
  mutable Mutex mu_{LockRank::kLeaf};
  // Written by the own worker under mu_, so it reads them without.
  Ref<mm::AddressSpace> space_;
  Ref<fs::FdTable> fds_;
  Ref<FsContext> fs_context_;
  std::shared_ptr<const Credentials> credentials_ ABSL_GUARDED_BY(mu_);
  std::string name_ ABSL_GUARDED_BY(mu_);

  std::atomic<uint64_t> blocked_{0};
  std::atomic<bool> signal_pending_{false};
  PendingSignals pending_;     // guarded by the group's mutex
  bool stop_counted_ = false;  // likewise: counted among the group's stopped threads
  std::atomic<bool> stopped_{false};
  std::atomic<bool> dead_{false};

  // Scheduling. next_ and deadline_ are guarded by the scheduler's lock.
  std::atomic<RunState> run_state_{RunState::kNew};
  std::atomic<std::atomic<uint32_t>*> running_on_{nullptr};  // the interrupt flag of the worker that runs it
  Task* next_ = nullptr;
  DeadlineNode deadline_;
  uint32_t last_worker_ = 0;
};

inline void TaskWaiter::Notify(sync::Events events) {
  fired_.fetch_or(events, std::memory_order_release);
  task_->Wake();
}

}  // namespace remora::proc

#endif  // REMORA_PROC_TASK_H_
