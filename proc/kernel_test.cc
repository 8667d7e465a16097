// Tasks, processes and signals end to end, with guests that are C++ functions.
#include "proc/kernel.h"

#include <atomic>
#include <thread>
#include <utility>

#include "base/abi/sched.h"
#include "base/abi/signal.h"
#include "gtest/gtest.h"
#include "proc/clone.h"
#include "proc/exec.h"
#include "proc/exit.h"
#include "proc/interval_timer.h"
#include "proc/pid_table.h"
#include "proc/scheduler.h"
#include "proc/sessions.h"
#include "proc/signal_delivery.h"
#include "proc/signals.h"
#include "proc/testing/scripted_kernel.h"
#include "proc/thread_group.h"
#include "proc/wait.h"

namespace remora::proc {
namespace {

constexpr int64_t kMillisecond = 1'000'000;

enum TestCall : uint64_t {
  kFork = 1000,
  kWait,
  kLogRax,
  kPause,
  kSleep,
  kKill,
  kArmHandler,
  kSigreturn,
  kThread,
  kExecSelf,
  kBusy,  // keeps its worker for so many nanoseconds
  kCustom
};

// Sleeps until a deadline that its first run decides.
class Sleep final : public SyscallState {
 public:
  explicit Sleep(int64_t deadline) : deadline(deadline) {}
  const int64_t deadline;
};

class WaitForChild final : public SyscallState {
 public:
  explicit WaitForChild(Task& task) : waiter(&task) { task.group().child_queue().Arm(&waiter, sync::kReadable); }
  TaskWaiter waiter;
};

SyscallOutcome WaitAny(Task& task, WaitRequest request) {
  if (!task.syscall_state) task.syscall_state = std::make_unique<WaitForChild>(task);
  const auto child = CollectChild(task, request);
  if (!child.ok()) return child.error();
  if (*child) return SyscallOutcome::Return((*child)->status);
  if (task.signal_pending()) return SyscallOutcome::Fail(kRestartSys);
  return SyscallOutcome::Blocked();
}

class KernelTest : public testing::TestWithParam<uint32_t> {
 protected:
  KernelTest() : script_(GetParam()) {
    script_.OnCall(kFork, [](Task& task, mm::UserMemory) -> SyscallOutcome {
      CloneRequest request;
      request.exit_signal = abi::kSIGCHLD;
      REMORA_ASSIGN_OR_RETURN(const Ref<Task> child, Clone(task, request));
      return SyscallOutcome::Return(child->tid());
    });
    script_.OnCall(kThread, [](Task& task, mm::UserMemory) -> SyscallOutcome {
      CloneRequest request;
      request.flags = abi::kCLONE_VM | abi::kCLONE_FS | abi::kCLONE_FILES | abi::kCLONE_SIGHAND | abi::kCLONE_THREAD;
      REMORA_ASSIGN_OR_RETURN(const Ref<Task> child, Clone(task, request));
      return SyscallOutcome::Return(child->tid());
    });
    script_.OnCall(kWait, [](Task& task, mm::UserMemory) { return WaitAny(task, {}); });
    script_.OnCall(kLogRax, [this](Task& task, mm::UserMemory) {
      script_.Log(std::to_string(static_cast<int64_t>(task.syscall_arg(0))));
      return SyscallOutcome::Return(0);
    });
    script_.OnCall(kPause, [](Task& task, mm::UserMemory) -> SyscallOutcome {
      if (task.signal_pending()) return SyscallOutcome::Fail(kRestartNoHandler);
      return SyscallOutcome::Blocked();
    });
    script_.OnCall(kSleep, [](Task& task, mm::UserMemory) -> SyscallOutcome {
      const int64_t now = task.kernel().clock().MonotonicNanos();
      if (!task.syscall_state)
        task.syscall_state = std::make_unique<Sleep>(now + static_cast<int64_t>(task.syscall_arg(0)));
      const int64_t deadline = static_cast<Sleep&>(*task.syscall_state).deadline;
      if (now >= deadline) return SyscallOutcome::Return(0);
      if (task.signal_pending()) return SyscallOutcome::Fail(kRestartBlock);
      task.park_deadline_nanos = deadline;
      return SyscallOutcome::Blocked();
    });
    script_.OnCall(kBusy, [](Task& task, mm::UserMemory) {
      std::this_thread::sleep_for(std::chrono::nanoseconds(task.syscall_arg(0)));
      return SyscallOutcome::Return(0);
    });
    script_.OnCall(kKill, [](Task& task, mm::UserMemory) -> SyscallOutcome {
      SignalInfo info;
      info.signal = static_cast<int>(task.syscall_arg(1));
      info.pid = task.group().pid();
      return Kill(task, static_cast<int32_t>(task.syscall_arg(0)), info);
    });
    script_.OnCall(kArmHandler, [](Task& task, mm::UserMemory) {
      SignalAction action;
      action.handler = task.syscall_arg(1);
      action.flags = abi::kSA_RESTORER | abi::kSA_SIGINFO;
      action.restorer = GuestAddr(ScriptedKernel::At(900));
      (void)task.group().ExchangeAction(static_cast<int>(task.syscall_arg(0)), action);
      return SyscallOutcome::Return(0);
    });
    script_.OnCall(kSigreturn, [](Task& task, mm::UserMemory memory) { return ReturnFromSignal(task, memory); });
    // The restorer: a handler "returns" to step 900 with the return address popped.
    script_.CallAt(900, kSigreturn);
  }

  // Step n goes to step `zero` if rax is 0, else to `other`.
  void BranchAt(uint64_t n, uint64_t zero, uint64_t other) {
    script_.OnStep(n, [=](cpu::CpuState& state, mm::Tlb&, uint64_t, const std::atomic<uint32_t>&) {
      state.rip = ScriptedKernel::At(state.gpr[cpu::kRax] == 0 ? zero : other);
      return cpu::Exit{.reason = cpu::ExitReason::kBudget, .fault = {}, .instructions_retired = 1};
    });
  }
  // Step n calls kLogRax with rax.
  void LogRaxAt(uint64_t n) {
    script_.CallAt(n, kLogRax);
    script_.OnStep(n, [](cpu::CpuState& state, mm::Tlb&, uint64_t, const std::atomic<uint32_t>&) {
      state.gpr[cpu::kRdi] = state.gpr[cpu::kRax];
      state.gpr[cpu::kRax] = kLogRax;
      state.rip += 2;
      return cpu::Exit{.reason = cpu::ExitReason::kSyscall, .fault = {}, .instructions_retired = 1};
    });
  }
  // A handler that logs its signal and returns.
  void HandlerAt(uint64_t n) {
    script_.OnStep(n, [this](cpu::CpuState& state, mm::Tlb&, uint64_t, const std::atomic<uint32_t>&) {
      script_.Log("handler " + std::to_string(state.gpr[cpu::kRdi]));
      EXPECT_EQ(state.gpr[cpu::kRsp] % 16, 8u);
      state.gpr[cpu::kRsp] += 8;
      state.rip = ScriptedKernel::At(900);
      return cpu::Exit{.reason = cpu::ExitReason::kInterrupt, .fault = {}, .instructions_retired = 1};
    });
  }

  ScriptedKernel script_;
};

INSTANTIATE_TEST_SUITE_P(Workers, KernelTest, testing::Values(1u, 2u));

TEST_P(KernelTest, ExitStatusIsPassedOn) {
  script_.ExitAt(0, 42);
  EXPECT_EQ(script_.Run(), 42 << 8);
}

TEST_P(KernelTest, ParentCollectsItsChild) {
  script_.CallAt(0, kFork);
  BranchAt(1, 10, 2);
  script_.CallAt(2, kWait);
  LogRaxAt(3);
  script_.CallAt(4, kWait);
  LogRaxAt(5);
  script_.ExitAt(6, 0);
  script_.CallAt(10, kSleep, 2 * kMillisecond);
  script_.ExitAt(11, 7);
  EXPECT_EQ(script_.Run(), 0);
  EXPECT_EQ(script_.log(), "1792;-10;");  // 7 << 8, then ECHILD
}

// A child at step 10 that says on which worker it runs, and ends.
void RunChildAt10(ScriptedKernel& script, std::atomic<uint32_t>* worker) {
  script.OnCall(kCustom, [worker](Task& task, mm::UserMemory) {
    worker->store(task.cpu_number());
    return SyscallOutcome::Return(0);
  });
  script.CallAt(10, kCustom);
  script.ExitAt(11, 0);
}

TEST_P(KernelTest, AChildThatIsWaitedForRunsWhereItsParentDid) {
  constexpr uint32_t kForks = 20, kNone = ~0u;
  std::atomic<uint32_t> child_ran_on{kNone}, parent_ran_on{kNone};
  uint32_t together = 0, left = kForks;
  RunChildAt10(script_, &child_ran_on);
  script_.OnCall(kCustom + 1, [&](Task& task, mm::UserMemory) {
    parent_ran_on = task.cpu_number();
    return SyscallOutcome::Return(0);
  });
  script_.OnCall(kCustom + 2, [&](Task&, mm::UserMemory) {
    together += child_ran_on == parent_ran_on ? 1 : 0;
    return SyscallOutcome::Return(--left);
  });
  script_.CallAt(0, kBusy, 20 * kMillisecond);  // until the other worker sleeps
  script_.CallAt(1, kCustom + 1);
  script_.CallAt(2, kFork);
  BranchAt(3, 10, 4);
  script_.CallAt(4, kBusy, 2 * kMillisecond);  // time enough for another worker to come, if it was called
  script_.CallAt(5, kWait);
  script_.CallAt(6, kCustom + 2);
  BranchAt(7, 8, 1);
  script_.ExitAt(8, 0);
  EXPECT_EQ(script_.Run(), 0);
  EXPECT_GE(together, kForks / 2);
}

TEST_P(KernelTest, AChildNeedNotWaitForAParentThatIsBusy) {
  constexpr uint32_t kNone = ~0u;
  std::atomic<uint32_t> child_ran_on{kNone};
  RunChildAt10(script_, &child_ran_on);
  script_.CallAt(0, kBusy, 20 * kMillisecond);
  script_.CallAt(1, kFork);
  BranchAt(2, 10, 3);
  // Uses up what it is given first: whoever is to be called has been called then, and where there is nobody else the
  // slice is over.
  bool came_back = false;
  script_.OnStep(3, [&](cpu::CpuState& state, mm::Tlb&, uint64_t budget, const std::atomic<uint32_t>&) {
    if (std::exchange(came_back, true)) {
      for (int i = 0; child_ran_on == kNone && i < 10'000; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      EXPECT_NE(child_ran_on, kNone);
      state.rip = ScriptedKernel::At(4);
    }
    return cpu::Exit{.reason = cpu::ExitReason::kBudget, .fault = {}, .instructions_retired = budget};
  });
  script_.CallAt(4, kWait);
  script_.ExitAt(5, 0);
  EXPECT_EQ(script_.Run(), 0);
}

TEST_P(KernelTest, SleepersWakeInTheOrderOfTheirDeadlines) {
  script_.CallAt(0, kFork);
  BranchAt(1, 10, 2);
  script_.CallAt(2, kFork);
  BranchAt(3, 20, 4);
  script_.CallAt(4, kWait);
  script_.CallAt(5, kWait);
  script_.ExitAt(6, 0);
  script_.CallAt(10, kSleep, 60 * kMillisecond);
  script_.CallAt(11, kLogRax, 2);
  script_.ExitAt(12, 0);
  script_.CallAt(20, kSleep, 5 * kMillisecond);
  script_.CallAt(21, kLogRax, 1);
  script_.ExitAt(22, 0);
  EXPECT_EQ(script_.Run(), 0);
  EXPECT_EQ(script_.log(), "1;2;");
}

TEST_P(KernelTest, SpinningTasksArePreemptedAndKilled) {
  // Three children spin; the parent still runs, kills the whole process group but itself, and collects.
  for (uint64_t i = 0; i < 3; ++i) {
    script_.CallAt(2 * i, kFork);
    BranchAt(2 * i + 1, 50, 2 * i + 2);
  }
  script_.SpinAt(50);
  script_.CallAt(6, kSleep, 3 * kMillisecond);
  script_.CallAt(7, kKill, static_cast<uint64_t>(-1), abi::kSIGKILL);
  for (uint64_t i = 0; i < 3; ++i) {
    script_.CallAt(8 + 2 * i, kWait);
    LogRaxAt(9 + 2 * i);
  }
  script_.ExitAt(14, 0);
  EXPECT_EQ(script_.Run(), 0);
  EXPECT_EQ(script_.log(), "9;9;9;");
}

TEST_P(KernelTest, TheFirstProcessTakesTheOthersWithIt) {
  script_.CallAt(0, kFork);
  BranchAt(1, 50, 2);
  script_.CallAt(2, kFork);
  BranchAt(3, 60, 4);
  script_.ExitAt(4, 3);
  script_.SpinAt(50);
  script_.CallAt(60, kPause);
  EXPECT_EQ(script_.Run(), 3 << 8);
  EXPECT_EQ(script_.kernel().scheduler().num_live(), 0u);
}

TEST_P(KernelTest, AHandlerRunsAndThePauseEndsWithEintr) {
  script_.CallAt(0, kArmHandler, abi::kSIGUSR1, ScriptedKernel::At(100));
  script_.CallAt(1, kFork);
  BranchAt(2, 10, 3);
  script_.CallAt(3, kPause);
  LogRaxAt(4);
  script_.ExitAt(5, 0);
  script_.CallAt(10, kSleep, 2 * kMillisecond);
  script_.CallAt(11, kKill, 2, abi::kSIGUSR1);
  script_.ExitAt(12, 0);
  HandlerAt(100);
  EXPECT_EQ(script_.Run(), 0);
  EXPECT_EQ(script_.log(), "handler 10;-4;");
}

TEST_P(KernelTest, ASleepGoesOnAfterStopAndContinue) {
  script_.CallAt(0, kFork);
  BranchAt(1, 10, 2);
  script_.CallAt(2, kSleep, 2 * kMillisecond);
  script_.CallAt(3, kKill, 3, abi::kSIGSTOP);
  script_.CallAt(4, kCustom);
  LogRaxAt(5);
  script_.CallAt(6, kKill, 3, abi::kSIGCONT);
  script_.CallAt(7, kCustom);
  LogRaxAt(8);
  script_.OnCall(kCustom, [](Task& task, mm::UserMemory) {
    WaitRequest request;
    request.exited = false;
    request.stopped = request.continued = true;
    return WaitAny(task, request);
  });
  // The child starts at 10, so the parent goes round it.
  script_.CallAt(10, kSleep, 20 * kMillisecond);
  LogRaxAt(11);
  script_.ExitAt(12, 0);
  script_.OnStep(10 - 1, [](cpu::CpuState& state, mm::Tlb&, uint64_t, const std::atomic<uint32_t>&) {
    state.rip = ScriptedKernel::At(30);
    return cpu::Exit{.reason = cpu::ExitReason::kInterrupt, .fault = {}, .instructions_retired = 1};
  });
  script_.CallAt(30, kWait);
  script_.ExitAt(31, 0);
  EXPECT_EQ(script_.Run(), 0);
  EXPECT_EQ(script_.log(), std::to_string(abi::kSIGSTOP << 8 | 0x7f) + ";65535;0;");
}

TEST_P(KernelTest, CountersMayBeReadWhileGuestsRun) {
  std::atomic<bool> done{false};
  std::thread reader([&] {
    uint64_t last = 0;
    while (!done.load()) {
      const Kernel::Counters counters = script_.kernel().counters();
      const uint64_t now = counters.tlb.hits + counters.tlb.misses + counters.task_switches;
      EXPECT_GE(now, last);
      last = now;
    }
  });
  for (uint64_t n = 0; n < 50; ++n) script_.CallAt(n, kSleep, kMillisecond / 10);
  script_.ExitAt(50, 0);
  EXPECT_EQ(script_.Run(), 0);
  done.store(true);
  reader.join();
  EXPECT_GT(script_.kernel().counters().task_switches, 0u);
}

TEST_P(KernelTest, AFaultWithoutHandlerKills) {
  script_.OnStep(0, [](cpu::CpuState& state, mm::Tlb&, uint64_t, const std::atomic<uint32_t>&) {
    return cpu::Exit{.reason = cpu::ExitReason::kFault,
                     .fault = {mm::FaultKind::kUnmapped, mm::Access::kWrite, GuestAddr(state.rip)},
                     .instructions_retired = 0};
  });
  EXPECT_EQ(script_.Run(), abi::kSIGSEGV);
}

TEST_P(KernelTest, AFaultHandlerSeesTheFault) {
  script_.CallAt(0, kArmHandler, abi::kSIGSEGV, ScriptedKernel::At(100));
  script_.OnStep(1, [](cpu::CpuState& state, mm::Tlb&, uint64_t, const std::atomic<uint32_t>&) {
    state.vector[3].bytes[0] = std::byte{0x77};
    return cpu::Exit{.reason = cpu::ExitReason::kFault,
                     .fault = {mm::FaultKind::kProtection, mm::Access::kWrite, GuestAddr(0x1234)},
                     .instructions_retired = 0};
  });
  script_.OnStep(100, [this](cpu::CpuState& state, mm::Tlb& tlb, uint64_t, const std::atomic<uint32_t>&) {
    const mm::UserMemory memory(&tlb);
    auto frame = memory.Read<abi::RtSigframe>(GuestAddr(state.gpr[cpu::kRsp]));
    EXPECT_TRUE(frame.ok());
    EXPECT_EQ(frame->info.signo, abi::kSIGSEGV);
    EXPECT_EQ(frame->info.code, abi::kSEGV_ACCERR);
    EXPECT_EQ(frame->info.fault.address, 0x1234u);
    EXPECT_EQ(frame->context.uc_mcontext.cr2, 0x1234u);
    EXPECT_EQ(frame->context.uc_mcontext.trapno, abi::kX86_TRAP_PF);
    EXPECT_EQ(frame->context.uc_mcontext.err, 7u);
    EXPECT_EQ(frame->context.uc_mcontext.fpstate % 64, 0u);
    EXPECT_EQ(frame->return_address, ScriptedKernel::At(900));
    EXPECT_EQ(state.vector[3].bytes[0], std::byte{0});  // handlers start with clean vectors
    // The handler mends it: execution goes on at step 2.
    frame->context.uc_mcontext.rip = ScriptedKernel::At(2);
    EXPECT_TRUE(memory.Write(GuestAddr(state.gpr[cpu::kRsp]), *frame).ok());
    state.gpr[cpu::kRsp] += 8;
    state.rip = ScriptedKernel::At(900);
    script_.Log("mended");
    return cpu::Exit{.reason = cpu::ExitReason::kInterrupt, .fault = {}, .instructions_retired = 1};
  });
  script_.OnStep(2, [](cpu::CpuState& state, mm::Tlb&, uint64_t, const std::atomic<uint32_t>&) {
    EXPECT_EQ(state.vector[3].bytes[0], std::byte{0x77});
    state.rip = ScriptedKernel::At(3);
    return cpu::Exit{.reason = cpu::ExitReason::kInterrupt, .fault = {}, .instructions_retired = 1};
  });
  script_.ExitAt(3, 5);
  EXPECT_EQ(script_.Run(), 5 << 8);
  EXPECT_EQ(script_.log(), "mended;");
}

TEST_P(KernelTest, AlarmsFireInTheirRhythm) {
  script_.OnCall(kCustom, [](Task& task, mm::UserMemory) {
    (void)ExchangeRealTimer(task.group(), {kMillisecond, kMillisecond});
    return SyscallOutcome::Return(0);
  });
  script_.CallAt(0, kArmHandler, abi::kSIGALRM, ScriptedKernel::At(100));
  script_.CallAt(1, kCustom);
  for (uint64_t i = 0; i < 3; ++i) script_.CallAt(2 + i, kPause);
  script_.ExitAt(5, 0);
  HandlerAt(100);
  EXPECT_EQ(script_.Run(), 0);
  EXPECT_EQ(script_.log().substr(0, 33), "handler 14;handler 14;handler 14;");
}

TEST_P(KernelTest, ThreadsShareAProcessAndDieWithIt) {
  script_.CallAt(0, kThread);
  BranchAt(1, 50, 2);
  script_.CallAt(2, kCustom);
  LogRaxAt(3);
  script_.ExitAt(4, 8);
  script_.SpinAt(50);
  script_.OnCall(kCustom, [](Task& task, mm::UserMemory) {
    return SyscallOutcome::Return(static_cast<int64_t>(task.group().num_tasks()));
  });
  EXPECT_EQ(script_.Run(), 8 << 8);
  EXPECT_EQ(script_.log(), "2;");
}

TEST_P(KernelTest, ExecByAThreadEndsTheOthersAndTakesThePid) {
  std::atomic<bool> second{false};
  script_.OnCall(kExecSelf, [&](Task& task, mm::UserMemory) -> SyscallOutcome {
    ExecRequest request;
    request.path = "/program";
    request.argv = {"again"};
    second = true;
    const ErrnoOr<void> result = Exec(task, request, nullptr);
    if (!result.ok() && result.error_number() == EAGAIN) return SyscallOutcome::Blocked();
    if (!result.ok()) return result;
    return SyscallOutcome::NoReturn();
  });
  script_.OnCall(kCustom, [&](Task& task, mm::UserMemory) {
    if (!second) return SyscallOutcome::Return(0);
    script_.Log(task.name() + " " + std::to_string(task.tid()) + " " + std::to_string(task.group().num_tasks()));
    return SyscallOutcome::Return(1);
  });
  script_.CallAt(0, kCustom);  // 0 before the exec, 1 after
  BranchAt(1, 2, 40);
  script_.CallAt(2, kThread);
  BranchAt(3, 10, 4);
  script_.SpinAt(4);  // the first thread
  script_.CallAt(10, kExecSelf);
  script_.ExitAt(11, 1);
  script_.ExitAt(40, 6);
  EXPECT_EQ(script_.Run(), 6 << 8);
  EXPECT_EQ(script_.log(), "program 2 1;");
}

TEST_P(KernelTest, AFailedExecChangesNothing) {
  script_.OnCall(kExecSelf, [](Task& task, mm::UserMemory) -> SyscallOutcome {
    ExecRequest request;
    request.path = "/nothing";
    request.argv = {"x"};
    std::string diagnosis;
    const ErrnoOr<void> result = Exec(task, request, &diagnosis);
    EXPECT_EQ(diagnosis, "/nothing: no such file");
    return result;
  });
  script_.CallAt(0, kExecSelf);
  LogRaxAt(1);
  script_.ExitAt(2, 0);
  EXPECT_EQ(script_.Run(), 0);
  EXPECT_EQ(script_.log(), "-2;");
}

TEST_P(KernelTest, ACallInALoopTakesNoLock) {
  script_.OnCall(kCustom, [n = uint64_t{0}, before = uint64_t{0}](Task&, mm::UserMemory) mutable {
    if (n == 0) before = LocksTakenByThisThread();
    // One slice long: between slices the scheduler is asked.
    if (++n == 100) {
      EXPECT_EQ(LocksTakenByThisThread(), before);
    }
    return SyscallOutcome::Return(n < 100 ? 0 : 1);
  });
  script_.CallAt(0, kCustom);
  BranchAt(1, 0, 2);
  script_.ExitAt(2, 0);
  EXPECT_EQ(script_.Run(), 0);
}

TEST_P(KernelTest, OrphansAreReapedAndProcessGroupsFollow) {
  script_.OnCall(kCustom, [](Task& task, mm::UserMemory) -> SyscallOutcome {
    switch (task.syscall_arg(0)) {
      case 0: {
        REMORA_RETURN_IF_ERROR(SetProcessGroup(task, 0, 0));
        EXPECT_EQ(task.group().process_group(), task.group().pid());
        EXPECT_EQ(CreateSession(task).error_number(), EPERM);
        return SyscallOutcome::Return(0);
      }
      case 1:
        return SyscallOutcome::Return(task.group().parent_pid() - 1);
      default:
        return SyscallOutcome::Return(task.kernel().pids().num_groups() - 1);
    }
  });
  script_.CallAt(0, kFork);
  BranchAt(1, 10, 2);
  script_.CallAt(2, kWait);
  script_.CallAt(3, kSleep, kMillisecond);  // until the grandchild is gone
  script_.CallAt(4, kCustom, 2);
  BranchAt(5, 6, 3);
  LogRaxAt(6);
  script_.ExitAt(7, 0);
  script_.CallAt(10, kCustom, 0);
  script_.CallAt(11, kFork);
  BranchAt(12, 20, 13);
  script_.ExitAt(13, 0);
  script_.CallAt(20, kSleep, kMillisecond);  // until its parent is 1
  script_.CallAt(21, kCustom, 1);
  BranchAt(22, 23, 20);
  LogRaxAt(23);
  script_.ExitAt(24, 0);
  EXPECT_EQ(script_.Run(), 0);
  EXPECT_EQ(script_.log(), "0;0;");  // its parent is 1; only the first process is left
}

TEST(TwoKernelsTest, LiveSideBySide) {
  ScriptedKernel a, b;
  int32_t status_a = 0, status_b = 0;
  for (ScriptedKernel* script : {&a, &b}) {
    script->OnCall(kSleep, [](Task& task, mm::UserMemory) -> SyscallOutcome {
      if (task.syscall_state) return SyscallOutcome::Return(0);
      task.syscall_state = std::make_unique<Sleep>(0);
      task.park_deadline_nanos = task.kernel().clock().MonotonicNanos() + kMillisecond;
      return SyscallOutcome::Blocked();
    });
    script->CallAt(0, kSleep);
  }
  a.ExitAt(1, 1);
  b.ExitAt(1, 2);
  std::thread other([&] { status_a = a.Run(); });
  status_b = b.Run();
  other.join();
  EXPECT_EQ(status_a, 1 << 8);
  EXPECT_EQ(status_b, 2 << 8);
}

}  // namespace
}  // namespace remora::proc
