// What is the translator's own: translations are shared, dropped and evicted. What every engine does is in engine_test.

#include "cpu/translator/translator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/testing/fake_memory.h"

namespace remora::cpu {
namespace {

constexpr uint64_t kCode = FakeMachine::kCode;

TEST(TranslatorTest, ASecondEngineTranslatesNothing) {
  FakeMachine machine;
  machine.memory.Write(kCode, {0xb8, 7, 0, 0, 0,  // mov eax, 7
                               0xff, 0xc0,        // inc eax
                               0xe9, 0, 1, 0, 0,  // jmp +256
                               0xcc});
  machine.memory.Write(kCode + 12 + 256, {0xff, 0xc0, 0x0f, 0x05});  // inc eax; syscall
  EXPECT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
  EXPECT_EQ(machine.state.gpr[kRax], 9u);
  EXPECT_GT(machine.engine->counters().blocks_decoded, 0u);

  const std::unique_ptr<Engine> second = MakeTranslator(&machine.cache);
  mm::Tlb tlb;
  tlb.Bind(&machine.memory, 1);
  CpuState state;
  state.rip = kCode;
  EXPECT_EQ(second->Run(state, tlb, 100, machine.interrupt).reason, ExitReason::kSyscall);
  EXPECT_EQ(state.gpr[kRax], 9u);
  EXPECT_EQ(second->counters().blocks_decoded, 0u);
}

TEST(TranslatorTest, AGuestThatMakesCodeForEverKeepsRunning) {
  TranslatorOptions options;
  options.max_code_bytes = uint64_t{1} << 20;
  FakeMachine small([&](BlockCache* cache) { return MakeTranslator(cache, options); });
  for (uint32_t i = 0; i < 20000; ++i) {
    small.memory.Write(kCode, {0xb8, static_cast<uint8_t>(i), static_cast<uint8_t>(i >> 8), 0, 0,  // mov eax, i
                               0x55, 0x5b,                                                         // push rbp; pop rbx
                               0x0f, 0x05});                                                       // syscall
    small.state.rip = kCode;
    ASSERT_EQ(small.Run(100).reason, ExitReason::kSyscall);
    ASSERT_EQ(small.state.gpr[kRax], i);
    if (i % 8 == 0) small.Quiesce();
  }
}

TEST(TranslatorTest, ATrapOfTheHostShowsTheInstructionAndItsState) {
  FakeMachine machine;
  machine.state.gpr[kRax] = 5;
  machine.state.gpr[kRdx] = 0;
  machine.state.gpr[kRsi] = 0x1234;
  machine.state.gpr[kR14] = 0;
  const Exit exit = machine.RunCode({0x48, 0xff, 0xc0,   // inc rax
                                     0x49, 0xf7, 0xf6,   // div r14
                                     0x48, 0xff, 0xc0},  // inc rax
                                    100);
  EXPECT_EQ(exit.reason, ExitReason::kDivide);
  EXPECT_EQ(exit.instructions_retired, 1u);
  EXPECT_EQ(machine.state.rip, kCode + 3);
  EXPECT_EQ(machine.state.gpr[kRax], 6u);
  EXPECT_EQ(machine.state.gpr[kRsi], 0x1234u);
  EXPECT_EQ(machine.state.rflags & kStatusFlags, kFlagPF);
}

TEST(TranslatorTest, AFaultShowsTheFlagsThatNothingReadsAnyMore) {
  FakeMachine machine;
  machine.state.gpr[kRbx] = 1;
  const Exit exit = machine.RunCode({0x48, 0x83, 0xfb, 0x02,  // cmp rbx, 2
                                     0x48, 0x8b, 0x0b,        // mov rcx, [rbx]: nothing there
                                     0x48, 0x31, 0xc0},       // xor rax, rax
                                    100);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(machine.state.rip, kCode + 4);
  EXPECT_EQ(machine.state.rflags & kStatusFlags, kFlagCF | kFlagSF | kFlagPF | kFlagAF);
}

}  // namespace
}  // namespace remora::cpu
