#ifndef REMORA_PROC_WORKER_H_
#define REMORA_PROC_WORKER_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

#include "base/ref_counted.h"
#include "cpu/engine.h"
#include "mm/address_space.h"
#include "mm/scratch_buffer.h"
#include "mm/tlb.h"
#include "mm/user_memory.h"
#include "proc/scheduler.h"
#include "proc/task.h"
#include "sync/reclaimer.h"

namespace remora::proc {

class Kernel;
class SyscallDispatcher;

// One host thread's work: takes tasks from the scheduler, runs each for a slice (guest code by its engine, calls by the
// dispatcher, signals), and parks it or puts it back.
//
// Invariants:
//  1. The bound TLB belongs to bound_space_, and the runner is registered there, while a task runs that is not dead.
//  2. Guest code runs only between EnterGuest and LeaveGuest, and not before the other runners of the space have
//     acknowledged what this task changed.
//  3. Between two calls of one task neither a lock is taken nor a table cleared by the loop itself.
//  4. Behind a call that an engine has the worker carry out (cpu::SyscallGate), guest code goes on at once only where
//     the loop would find nothing to do in between.
// Thread safety: Run on the worker's own thread; counters() from any thread, exact once Run has returned.
class Worker final : private cpu::SyscallGate, private Task::SpaceHolder {
 public:
  Worker(Kernel* kernel, uint32_t index);
  ~Worker();

  // Until the scheduler is stopped.
  void Run();

  cpu::Engine::Counters engine_counters() const { return engine_->counters(); }
  mm::Tlb::Counters tlb_counters() const;
  uint64_t peak_scratch_bytes() const { return scratch_.peak_bytes(); }

 private:
  enum class SliceEnd : uint8_t { kPark, kYield, kDead };

  void RunSlice(Task& task);
  SliceEnd RunTask(Task& task);
  // SYSCALL was executed, `retired` instructions after the last time: what there is to know before the call begins.
  void BeginCall(Task& task, uint64_t retired);
  // Carries the call under way out, or goes on with it.
  enum class CallEnd : uint8_t {
    kNone,
    kBlocked,
    kReturned,  // with a result
    kSettled,   // the registers are what they must be, or the call is over without a result
    kMustDeliver,
    kDead,
  };
  CallEnd RunCall(Task& task);
  static CallEnd AbandonCall(Task& task);
  // cpu::SyscallGate
  uint64_t Call(uint64_t instructions_retired) override;
  // Takes what has been done off the slice, and off what the worker has promised to come within.
  void Charge(uint64_t instructions);
  // For how many instructions guest code may go on.
  uint64_t guest_budget() const {
    const uint64_t budget = budget_left_, promised = slot_.promised_instructions;
    if (promised == 0) [[likely]]
      return budget;
    return std::min(budget, promised);
  }
  // True if the loop has nothing to do before guest code, unless the space has changed.
  bool NothingIsDue(const Task& task) const;
  // True if the task has to wait until other workers acknowledge what its space changed.
  bool MustWaitForOthers(Task& task);
  // True if the task has to wait until a page of a slow file has come.
  bool MustWaitForPage(Task& task, const mm::Fault& fault);
  // What an exit of the engine means for the task. True: the same instruction has to be tried again later.
  bool HandleExit(Task& task, const cpu::Exit& exit);
  void RaiseFault(Task& task, const mm::Fault& fault);
  void Raise(Task& task, int signal, int code, uint64_t address, uint64_t trap);

  void Bind(Task& task);
  void Unbind();
  void LetGoOfSpace() override { Unbind(); }
  mm::UserMemory memory() { return mm::UserMemory(tlb_, &scratch_); }

  static constexpr uint32_t kNumTlbs = 4;
  struct OwnedTlb {
    std::unique_ptr<mm::Tlb> tlb;
    std::atomic<const mm::Tlb*> counted{nullptr};  // tlb, for tlb_counters
    uint64_t space_id = 0;
    uint64_t last_used = 0;
  };

  // What each system call comes by, in two lines of the host's cache.
  Kernel& kernel_;
  Scheduler& scheduler_;
  Scheduler::Slot& slot_;
  SyscallDispatcher& dispatcher_;
  Ref<mm::AddressSpace> bound_space_;
  mm::Tlb* tlb_ = nullptr;
  Task* task_ = nullptr;  // that RunTask runs
  uint64_t budget_left_ = 0;
  // The generation of bound_space_ that everybody is known to have seen.
  uint64_t acknowledged_generation_ = 0;
  // Of a call that the engine had carried out and that the loop has not seen to yet; kNone: there is none.
  CallEnd call_end_ = CallEnd::kNone;
  mm::AddressSpace::Runner runner_;
  mm::ScratchBuffer scratch_;

  // Before the engine, which may refer to them until it goes.
  std::array<OwnedTlb, kNumTlbs> tlbs_;
  uint64_t binds_ = 0;
  const std::unique_ptr<cpu::Engine> engine_;
  sync::Reclaimer::Participant participant_;
  const uint64_t slice_instructions_;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_WORKER_H_
