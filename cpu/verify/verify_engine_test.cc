#include "cpu/verify/verify_engine.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cpu/interpreter.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/translator.h"

namespace remora::cpu {
namespace {

constexpr uint64_t kCode = FakeMachine::kCode, kData = FakeMachine::kData;

// Does what the interpreter does, and then something else as well.
class Liar final : public Engine {
 public:
  using Lie = std::function<void(CpuState&, mm::Tlb&, Exit&)>;
  Liar(std::unique_ptr<Engine> honest, Lie lie) : honest_(std::move(honest)), lie_(std::move(lie)) {}
  Exit Run(CpuState& state, mm::Tlb& tlb, uint64_t budget, const std::atomic<uint32_t>& interrupt) override {
    Exit exit = honest_->Run(state, tlb, budget, interrupt);
    lie_(state, tlb, exit);
    return exit;
  }
  std::string_view name() const override { return "liar"; }
  Counters counters() const override { return honest_->counters(); }

 private:
  const std::unique_ptr<Engine> honest_;
  const Lie lie_;
};

// A machine whose engine compares; `lie` null: the translator with the interpreter.
class Verified {
 public:
  explicit Verified(Liar::Lie lie = nullptr)
      : machine([this, lie](BlockCache* blocks) {
          InterpreterOptions inputs;
          inputs.clock = clock_.get();
          inputs.entropy = entropy_.get();
          TranslatorOptions translator;
          translator.interpreter = inputs;
          EXPECT_TRUE(translator.optimizations.Apply("+exact-flags,+exact-count,-warm"));
          std::unique_ptr<Engine> subject =
              lie ? std::make_unique<Liar>(MakeInterpreter(blocks, inputs), lie) : MakeTranslator(blocks, translator);
          return MakeVerifyEngine(std::move(subject), MakeInterpreter(blocks, inputs),
                                  {.frames = &machine.frames,
                                   .clock = clock_,
                                   .entropy = entropy_,
                                   .on_difference = [this](const std::string& report) { reports.push_back(report); }});
        }) {}

 private:
  HostClock host_clock_;
  HostEntropy host_entropy_;
  const std::shared_ptr<ReplayedClock> clock_ = std::make_shared<ReplayedClock>(&host_clock_);
  const std::shared_ptr<ReplayedEntropy> entropy_ = std::make_shared<ReplayedEntropy>(&host_entropy_);

 public:
  std::vector<std::string> reports;
  FakeMachine machine;
};

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(VerifyEngineTest, EnginesThatAgreeRunAsOne) {
  Verified verified;
  FakeMachine& machine = verified.machine;
  machine.state.gpr[kRbx] = kData;
  // mov ecx, 5000; loop: inc qword [rbx]; rdtsc; mov [rbx+8], rax; rdrand rdx; mov [rbx+16], rdx; shl esi, cl;
  // dec ecx; jnz loop; syscall
  const Exit exit =
      machine.RunCode({0xb9, 0x88, 0x13, 0,    0,    0x48, 0xff, 0x03, 0x0f, 0x31, 0x48, 0x89, 0x43, 0x08, 0x48,
                       0x0f, 0xc7, 0xf2, 0x48, 0x89, 0x53, 0x10, 0xd3, 0xe6, 0xff, 0xc9, 0x75, 0xe9, 0x0f, 0x05},
                      1'000'000);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(exit.instructions_retired, 1u + 5000 * 8 + 1);
  EXPECT_EQ(machine.memory.Load<uint64_t>(kData), 5000u);
  EXPECT_TRUE(verified.reports.empty()) << verified.reports[0];
}

TEST(VerifyEngineTest, CodeThatChangesItselfIsUndoneToo) {
  Verified verified;
  FakeMachine& machine = verified.machine;
  // The page is written to and run: mov byte [rip+1], 7 changes the next instruction, mov eax, 1.
  machine.memory.Protect(kCode, mm::Protection(7));
  machine.Run(1);
  const Exit exit = machine.RunCode({0xc6, 0x05, 0x01, 0, 0, 0, 7, 0xb8, 1, 0, 0, 0, 0x0f, 0x05}, 100);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_TRUE(verified.reports.empty()) << verified.reports[0];
}

TEST(VerifyEngineTest, FaultsAndBudgetsAreThoseOfTheReference) {
  Verified verified;
  FakeMachine& machine = verified.machine;
  machine.state.gpr[kRbx] = kData;
  // mov [rbx], ecx; mov [0], eax
  Exit exit = machine.RunCode({0x89, 0x0b, 0x89, 0x04, 0x25, 0, 0, 0, 0}, 100);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(exit.instructions_retired, 1u);
  EXPECT_EQ(machine.state.rip, kCode + 2);
  exit = machine.RunCode({0xff, 0xc0, 0xeb, 0xfc}, 12'345);  // inc eax; jmp
  EXPECT_EQ(exit.reason, ExitReason::kBudget);
  EXPECT_EQ(exit.instructions_retired, 12'345u);
  EXPECT_TRUE(verified.reports.empty()) << verified.reports[0];
}

TEST(VerifyEngineTest, AWrongRegisterIsReportedWithTheCode) {
  Verified verified([](CpuState& state, mm::Tlb&, Exit&) {
    if (state.gpr[kRcx] >= 20) state.gpr[kRax] ^= 1;
  });
  // inc ecx; jmp: wrong from the 20th round on
  const Exit exit = verified.machine.RunCode({0xff, 0xc1, 0xeb, 0xfc}, 60);
  ASSERT_EQ(verified.reports.size(), 1u);
  const std::string& report = verified.reports[0];
  EXPECT_TRUE(Contains(report, "liar from interpreter")) << report;
  EXPECT_TRUE(Contains(report, "rax: 1 and 0")) << report;
  EXPECT_TRUE(Contains(report, "400000  inc ecx")) << report;
  // The shortest beginning: 20 times inc, 19 times jmp.
  size_t lines = 0;
  for (size_t at = report.find("  4000"); at != std::string::npos; at = report.find("  4000", at + 1)) ++lines;
  EXPECT_EQ(lines, 39u) << report;
  // On with the reference.
  EXPECT_EQ(exit.instructions_retired, 60u);
  EXPECT_EQ(verified.machine.state.gpr[kRax], 0u);
}

TEST(VerifyEngineTest, AStrayWriteIsReportedAndUndone) {
  Verified verified([](CpuState&, mm::Tlb& tlb, Exit&) {
    *tlb.Lookup<mm::Access::kWrite>(GuestAddr(kData + 0x123)) = std::byte{0x55};
  });
  verified.machine.RunCode({0x90}, 1);
  ASSERT_EQ(verified.reports.size(), 1u);
  EXPECT_TRUE(Contains(verified.reports[0], "memory at 600123: 55 and 00")) << verified.reports[0];
  EXPECT_EQ(verified.machine.memory.Load<uint8_t>(kData + 0x123), 0);
}

TEST(VerifyEngineTest, FlagsThatTheManualLeavesOpenMayDiffer) {
  const auto flip = [](uint64_t flag) { return [flag](CpuState& state, mm::Tlb&, Exit&) { state.rflags ^= flag; }; };
  Verified open(flip(kFlagSF));
  open.machine.RunCode({0x0f, 0xaf, 0xc1}, 1);  // imul eax, ecx
  EXPECT_TRUE(open.reports.empty()) << open.reports[0];
  Verified defined(flip(kFlagCF));
  defined.machine.RunCode({0x0f, 0xaf, 0xc1}, 1);
  EXPECT_EQ(defined.reports.size(), 1u);
}

TEST(VerifyEngineTest, WhatStoresX87PointersIsTheReferencesAlone) {
  Verified verified;
  FakeMachine& machine = verified.machine;
  machine.state.gpr[kRbx] = kData;
  // fld1; inc eax; fnstenv [rbx]; inc eax; syscall
  const Exit exit = machine.RunCode({0xd9, 0xe8, 0xff, 0xc0, 0xd9, 0x33, 0xff, 0xc0, 0x0f, 0x05}, 100);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(exit.instructions_retired, 5u);
  EXPECT_EQ(machine.state.gpr[kRax], 2u);
  EXPECT_NE(machine.memory.Load<uint32_t>(kData + 12), 0u);
  EXPECT_TRUE(verified.reports.empty()) << verified.reports[0];
}

TEST(VerifyEngineTest, ASystemCallMayCopyUndefinedFlags) {
  Verified verified([](CpuState& state, mm::Tlb&, Exit&) {
    state.rflags ^= kFlagAF;
    state.gpr[kR11] ^= kFlagAF;
  });
  verified.machine.RunCode({0xc1, 0xe8, 3, 0x0f, 0x05}, 5);  // shr eax, 3; syscall
  EXPECT_TRUE(verified.reports.empty()) << verified.reports[0];
  verified.machine.RunCode({0x29, 0xc8, 0x0f, 0x05}, 5);  // sub eax, ecx; syscall
  EXPECT_EQ(verified.reports.size(), 1u);
}

TEST(VerifyEngineTest, AnotherExitIsReported) {
  Verified verified([](CpuState&, mm::Tlb&, Exit& exit) { exit.reason = ExitReason::kIllegal; });
  EXPECT_EQ(verified.machine.RunCode({0x0f, 0x05}, 5).reason, ExitReason::kSyscall);
  ASSERT_GE(verified.reports.size(), 1u);
  EXPECT_TRUE(Contains(verified.reports[0], "illegal instruction and ")) << verified.reports[0];
}

}  // namespace
}  // namespace remora::cpu
