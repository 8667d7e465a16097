#ifndef REMORA_PROC_TESTING_SCRIPTED_KERNEL_H_
#define REMORA_PROC_TESTING_SCRIPTED_KERNEL_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "cpu/engine.h"
#include "fs/device_registry.h"
#include "proc/kernel.h"
#include "proc/task.h"

namespace remora::proc {

// A Kernel whose guests are C++ functions: "code" at an address is a step, which changes the registers and says why
// the engine leaves. Calls are functions too. So scheduling, signals and processes are tested without a CPU.
class ScriptedKernel {
 public:
  // What runs at rip. It moves rip on itself: see At.
  using Step =
      std::function<cpu::Exit(cpu::CpuState&, mm::Tlb&, uint64_t budget, const std::atomic<uint32_t>& interrupt)>;
  using Call = std::function<SyscallOutcome(Task&, mm::UserMemory)>;

  explicit ScriptedKernel(uint32_t num_workers = 2);
  ~ScriptedKernel();

  // The address of step n: where a program's step n + 1 follows its step n.
  static constexpr uint64_t At(uint64_t n) { return 0x400000 + 16 * n; }
  static constexpr uint64_t kDone = 231;  // exit_group

  // All before Run. Steps without a function end the process with status 99.
  void OnStep(uint64_t n, Step step) { steps_[At(n)] = std::move(step); }
  // Step n makes call `number` with these arguments and goes on at step n + 1.
  void CallAt(uint64_t n, uint64_t number, uint64_t a = 0, uint64_t b = 0);
  void ExitAt(uint64_t n, int code) { CallAt(n, kDone, static_cast<uint64_t>(code)); }
  // Step n spins until interrupted or its budget is used up, for ever.
  void SpinAt(uint64_t n);
  void OnCall(uint64_t number, Call call) { calls_[number] = std::move(call); }

  // Starts a program at step 0 and runs to the end of the first process: its wait status.
  int32_t Run();
  Kernel& kernel() { return *kernel_; }

  // What happened, in order, from any thread.
  void Log(std::string line);
  std::string log() const;

 private:
  class Engine;
  class Dispatcher;

  std::map<uint64_t, Step> steps_;
  std::map<uint64_t, Call> calls_;
  mutable Mutex mu_{LockRank::kLeaf};
  std::string log_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Dispatcher> dispatcher_;
  fs::DeviceRegistry devices_;
  std::unique_ptr<Kernel> kernel_;
};

}  // namespace remora::proc

#endif  // REMORA_PROC_TESTING_SCRIPTED_KERNEL_H_
