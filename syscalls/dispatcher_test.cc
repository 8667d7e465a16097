#include "syscalls/dispatcher.h"

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/mutex.h"
#include "cpu/engine.h"
#include "gtest/gtest.h"
#include "proc/task.h"
#include "proc/testing/scripted_kernel.h"
#include "proc/thread_group.h"

namespace remora::syscalls {
namespace {

constexpr uint64_t kGetpid = 39;

TEST(DispatcherTest, ALoopOfGetpidTakesNoLock) {
  absl::StatusOr<std::unique_ptr<Dispatcher>> dispatcher = Dispatcher::Create({});
  ASSERT_TRUE(dispatcher.ok());
  (*dispatcher)->Prepare(1);
  proc::ScriptedKernel script(1);
  constexpr uint64_t kCalls = 100;  // within one slice: between two the scheduler is asked
  uint64_t calls = 0, locks = 0;
  script.OnCall(kGetpid, [&](proc::Task& task, mm::UserMemory memory) {
    // From the first call to the last, so that what the worker does between two counts as well.
    if (calls++ == 0) locks = LocksTakenByThisThread();
    const proc::SyscallOutcome outcome = (*dispatcher)->Dispatch(task, memory);
    EXPECT_EQ(outcome.value(), task.group().pid());
    if (calls == kCalls) locks = LocksTakenByThisThread() - locks;
    return outcome;
  });
  script.CallAt(0, kGetpid);
  script.OnStep(1, [&](cpu::CpuState& state, mm::Tlb&, uint64_t, const std::atomic<uint32_t>&) {
    state.rip = proc::ScriptedKernel::At(calls < kCalls ? 0 : 2);
    return cpu::Exit{.reason = cpu::ExitReason::kInterrupt, .fault = {}, .instructions_retired = 1};
  });
  script.ExitAt(2, 0);
  EXPECT_EQ(script.Run(), 0);
  EXPECT_EQ(calls, kCalls);
  EXPECT_EQ(locks, 0u);  // counted in debug builds only
}

}  // namespace
}  // namespace remora::syscalls
