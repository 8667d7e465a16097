// What is the translator's own: translations are shared, dropped and evicted. What every engine does is in engine_test.

#include "cpu/translator/translator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/block_dump.h"

namespace remora::cpu {
namespace {

constexpr uint64_t kCode = FakeMachine::kCode, kData = FakeMachine::kData;

// All code is translated when it is first come to.
TranslatorOptions AtOnce() {
  TranslatorOptions options;
  options.optimizations.warm = false;
  return options;
}

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

  const std::unique_ptr<Engine> second = MakeTranslator(&machine.cache, AtOnce());
  mm::Tlb tlb;
  tlb.Bind(&machine.memory, 1);
  CpuState state;
  state.rip = kCode;
  EXPECT_EQ(second->Run(state, tlb, 100, machine.interrupt).reason, ExitReason::kSyscall);
  EXPECT_EQ(state.gpr[kRax], 9u);
  EXPECT_EQ(second->counters().blocks_decoded, 0u);
}

// Nor does it ask for each block: who comes to a page by a table is told of all that others have translated there.
TEST(TranslatorTest, ASecondEngineTakesAPageAtOnce) {
  const auto make = [](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); };
  FakeMachine machine(make);
  constexpr uint8_t kCalls = 60;
  constexpr uint64_t kFunctions = kCode + kPageSize, kFunctionBytes = 8;
  for (uint8_t i = 0; i < kCalls; ++i) {
    machine.memory.Write(kCode + i * 9,
                         {0x48, 0x8d, 0x8b, static_cast<uint8_t>(i * kFunctionBytes), 0, 0, 0,  // lea rcx
                          0xff, 0xd1});                                                         // call rcx
    machine.memory.Write(kFunctions + i * kFunctionBytes, {0x04, i, 0xc3});                     // add al, i; ret
    machine.memory.Write(kFunctions + i * kFunctionBytes + 3, {0x90});
  }
  for (uint64_t i = 0; i < kCalls; ++i)
    machine.memory.Store(kCode + i * 9 + 3, static_cast<uint32_t>(i * kFunctionBytes));
  machine.memory.Write(kCode + kCalls * 9, {0x0f, 0x05});
  machine.state.gpr[kRbx] = kFunctions;
  ASSERT_EQ(machine.Run(10'000).reason, ExitReason::kSyscall);
  const uint64_t sum = machine.state.gpr[kRax];
  EXPECT_GT(machine.engine->counters().blocks_entered_slowly, uint64_t{kCalls});

  const std::unique_ptr<Engine> second = make(&machine.cache);
  mm::Tlb tlb;
  tlb.Bind(&machine.memory, 1);
  CpuState state;
  state.rip = kCode;
  state.gpr[kRbx] = kFunctions;
  state.gpr[kRsp] = FakeMachine::kStackTop - 64;
  ASSERT_EQ(second->Run(state, tlb, 10'000, machine.interrupt).reason, ExitReason::kSyscall);
  EXPECT_EQ(state.gpr[kRax], sum);
  EXPECT_EQ(second->counters().blocks_decoded, 0u);
  // The first block, the first one of each page, and who shares a place of a table.
  EXPECT_LT(second->counters().blocks_entered_slowly, 8u);
}

// Below v3 CPUs run TZCNT and LZCNT as BSF and BSR, which leave the destination alone where there is no bit.
TEST(TranslatorTest, ALevelWithoutTzcntRunsBsf) {
  TranslatorOptions options = AtOnce();
  options.interpreter.level = CpuLevel::kV2;
  FakeMachine machine([&options](BlockCache* cache) { return MakeTranslator(cache, options); });
  machine.memory.Write(kCode, {0xf3, 0x48, 0x0f, 0xbc, 0xc1,  // tzcnt rax, rcx
                               0xf3, 0x48, 0x0f, 0xbd, 0xd1,  // lzcnt rdx, rcx
                               0xf3, 0x4c, 0x0f, 0xbc, 0xd1,  // tzcnt r10, rcx
                               0x0f, 0x05});                  // syscall
  for (const uint64_t bits : {uint64_t{0}, uint64_t{0x50}}) {
    machine.state.rip = kCode;
    machine.state.gpr[kRax] = machine.state.gpr[kRdx] = machine.state.gpr[kR10] = 77;
    machine.state.gpr[kRcx] = bits;
    ASSERT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
    EXPECT_EQ(machine.state.gpr[kRax], bits == 0 ? 77u : 4u);
    EXPECT_EQ(machine.state.gpr[kRdx], bits == 0 ? 77u : 6u);
    EXPECT_EQ(machine.state.gpr[kR10], bits == 0 ? 77u : 4u);
  }
}

TEST(TranslatorTest, WhatOneBlockFindsOfTheStackDoesNotServeALongerOneAcrossPages) {
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  constexpr uint64_t kElsewhere = 0x700000, kFirst = 0x711000, kSecond = kFirst + kPageSize;
  // Such that the first one's frame is not before the second one's.
  for (const uint64_t page : {kElsewhere, kSecond, kFirst}) machine.memory.Map(page, 1, mm::Protection(3));
  constexpr uint64_t kShorter = kCode, kLonger = kCode + 64;
  machine.memory.Write(kShorter, {0x48, 0x89, 0x04, 0x24,                          // mov [rsp], rax
                                  0x48, 0x89, 0x84, 0x24, 0xa0, 0x00, 0x00, 0x00,  // mov [rsp+160], rax
                                  0x0f, 0x05});                                    // syscall
  machine.memory.Write(kLonger, {0x48, 0x89, 0x04, 0x24,                           // mov [rsp], rax
                                 0x48, 0x89, 0x84, 0x24, 0xc0, 0x00, 0x00, 0x00,   // mov [rsp+192], rax
                                 0x0f, 0x05});                                     // syscall
  constexpr uint64_t kAtTheEnd = kSecond - 168;
  const auto run = [&](uint64_t code, uint64_t rsp) {
    machine.state.rip = code;
    machine.state.gpr[kRsp] = rsp;
    EXPECT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
  };
  // By turns, so that what is found is remembered in each way there is.
  for (uint64_t i = 1; i <= 8; ++i) {
    machine.state.gpr[kRax] = i;
    for (uint64_t k = 0; k < i; ++k) run(kShorter, kElsewhere);
    run(kShorter, kAtTheEnd);
    EXPECT_EQ(machine.memory.Load<uint64_t>(kAtTheEnd + 160), i);
    run(kLonger, kAtTheEnd);
    EXPECT_EQ(machine.memory.Load<uint64_t>(kAtTheEnd + 192), i);
  }
}

// Nor does a page of the stack that lies apart move R10 while others in the block go by it.
TEST(TranslatorTest, AnOperandFarUpTheStackLeavesTheOthersWhereTheyAre) {
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  constexpr uint64_t kFirst = 0x711000, kSecond = kFirst + kPageSize;
  for (const uint64_t page : {kSecond, kFirst}) machine.memory.Map(page, 1, mm::Protection(3));
  machine.memory.Write(kCode, {0x48, 0x89, 0x04, 0x24,                          // mov [rsp], rax
                               0x48, 0x8b, 0x94, 0x24, 0x00, 0x10, 0x00, 0x00,  // mov rdx, [rsp+4096]
                               0x48, 0x89, 0x44, 0x24, 0x08,                    // mov [rsp+8], rax
                               0x0f, 0x05});                                    // syscall
  for (uint64_t i = 1; i <= 4; ++i) {
    machine.memory.Store(kSecond + 64, 100 + i);
    machine.memory.Store(kSecond + 72, uint64_t{7});
    machine.state.rip = kCode;
    machine.state.gpr[kRsp] = kFirst + 64;
    machine.state.gpr[kRax] = i;
    ASSERT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
    EXPECT_EQ(machine.state.gpr[kRdx], 100 + i);
    EXPECT_EQ(machine.memory.Load<uint64_t>(kFirst + 64), i);
    EXPECT_EQ(machine.memory.Load<uint64_t>(kFirst + 72), i);
    EXPECT_EQ(machine.memory.Load<uint64_t>(kSecond + 72), 7u);
  }
}

TEST(TranslatorTest, WhileAnEngineIsYoungWhatIsNotComeToOftenIsInterpreted) {
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache); });
  machine.memory.Write(kCode, {0x48, 0xff, 0xca, 0x75, 0xfb, 0x0f, 0x05});  // dec rdx; jnz; syscall
  const auto run = [&](uint64_t rounds) {
    machine.state.rip = kCode;
    machine.state.gpr[kRdx] = rounds;
    Exit exit;
    do {
      exit = machine.Run(100'000);
    } while (exit.reason == ExitReason::kBudget);
    ASSERT_EQ(exit.reason, ExitReason::kSyscall);
    EXPECT_EQ(machine.state.gpr[kRdx], 0u);
  };
  run(1);
  run(50'000);
  EXPECT_EQ(machine.engine->counters().blocks_decoded, 0u);
  run(1'000'000);
  EXPECT_GT(machine.engine->counters().instructions, 2'000'000u);
  const uint64_t before = machine.engine->counters().blocks_decoded;
  EXPECT_GT(before, 0u);
  // From now on even what is run once.
  machine.memory.Write(kCode + kPageSize, {0x90, 0x0f, 0x05});  // nop; syscall
  machine.state.rip = kCode + kPageSize;
  EXPECT_EQ(machine.Run(10'000).reason, ExitReason::kSyscall);
  EXPECT_EQ(machine.engine->counters().blocks_decoded, before + 1);
}

TEST(TranslatorTest, ALoopAroundASystemCallIsTranslatedWhileAnEngineIsYoung) {
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache); });
  machine.memory.Write(kCode, {0x90, 0x0f, 0x05});  // nop; syscall
  const auto come = [&](int times) {
    for (int i = 0; i < times; ++i) {
      machine.state.rip = kCode;
      ASSERT_EQ(machine.Run(10'000).reason, ExitReason::kSyscall);
    }
  };
  come(64);
  EXPECT_EQ(machine.engine->counters().blocks_decoded, 0u);
  come(1);
  EXPECT_EQ(machine.engine->counters().blocks_decoded, 1u);
}

TEST(TranslatorTest, ABudgetEndsWhereABlockBegins) {
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  // Twenty times inc rax; jmp back.
  for (uint64_t i = 0; i < 20; ++i) machine.memory.Write(kCode + 3 * i, {0x48, 0xff, 0xc0});
  machine.memory.Write(kCode + 60, {0xeb, 0xc2});
  for (uint64_t budget = 1'000; budget < 1'021; ++budget) {
    machine.state.rip = kCode;
    const Exit exit = machine.Run(budget);
    EXPECT_EQ(exit.reason, ExitReason::kBudget);
    EXPECT_EQ(exit.instructions_retired, budget);
    EXPECT_EQ(machine.state.rip, kCode);
  }
  // Where that would be no progress the interpreter makes some.
  machine.state.rip = kCode;
  EXPECT_EQ(machine.Run(3).instructions_retired, 3u);
  EXPECT_EQ(machine.state.rip, kCode + 9);
}

// A block that finds its budget too short has taken its instructions off it, and gives them back.
TEST(TranslatorTest, WhatIsNotRunIsNotCounted) {
  TranslatorOptions options = AtOnce();
  options.optimizations.exact_count = true;
  FakeMachine machine([&options](BlockCache* cache) { return MakeTranslator(cache, options); });
  // Twenty times inc rax; dec ecx; jnz back; syscall.
  constexpr uint64_t kTimes = 1'000;
  for (uint64_t i = 0; i < 20; ++i) machine.memory.Write(kCode + 3 * i, {0x48, 0xff, 0xc0});
  machine.memory.Write(kCode + 60, {0xff, 0xca, 0x75, 0xc0, 0x0f, 0x05});
  for (const uint64_t budget : {100u, 1'001u, 30'000u}) {
    machine.state.rip = kCode;
    machine.state.gpr[kRdx] = kTimes;
    uint64_t retired = 0;
    Exit exit;
    do {
      exit = machine.Run(budget);
      retired += exit.instructions_retired;
    } while (exit.reason == ExitReason::kBudget);
    EXPECT_EQ(exit.reason, ExitReason::kSyscall);
    EXPECT_EQ(retired, 22 * kTimes + 1);
  }
}

// Its code asks for vectors once, before where it goes round: it comes by no entry, but where a portion ends.
TEST(TranslatorTest, ALoopOfVectorsIsLeftWhenAnotherThreadChangesIt) {
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  machine.memory.Write(kCode, {0x66, 0x0f, 0xef, 0xc0,  // pxor xmm0, xmm0
                               0x85, 0xc0,              // test eax, eax
                               0x74, 0xf8,              // jz kCode
                               0x0f, 0x05});            // syscall
  machine.state.gpr[kRax] = 0;
  std::thread other([&machine] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    // jnz. Twice: what was translated anew in between may have the old byte.
    for (int i = 0; i < 2; ++i) machine.memory.Write(kCode + 6, {0x75});
  });
  // A minute or two of such instructions, at the end of which it would be left in any case.
  constexpr uint64_t kBudget = 1'000'000'000'000;
  const Exit exit = machine.Run(kBudget);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_LT(exit.instructions_retired, kBudget / 2);
  other.join();
}

TEST(TranslatorTest, ADeltaIsKeptOnlyWhereSomethingElseComesBetween) {
  std::string shown;
  const translator::BlockDumper dumper = {.wanted = [](uint64_t, const mm::Tlb&) { return true; },
                                          .show = [&](const std::string& text) { shown += text; }};
  TranslatorOptions options = AtOnce();
  options.dumper = &dumper;
  FakeMachine machine([&](BlockCache* cache) { return MakeTranslator(cache, options); });
  const auto keeps = [&](std::vector<uint8_t> code) {
    code.insert(code.end(), {0x0f, 0x05});
    shown.clear();
    machine.memory.Write(kCode, code);
    machine.state.rip = kCode;
    machine.state.gpr[kRbx] = FakeMachine::kData;
    machine.state.gpr[kRcx] = FakeMachine::kData + 64;
    EXPECT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
    return shown.find("], r11\n") != std::string::npos;
  };
  EXPECT_FALSE(keeps({0x48, 0x8b, 0x03, 0x48, 0x8b, 0x53, 0x08}));                   // mov rax, [rbx]; rdx, [rbx+8]
  EXPECT_TRUE(keeps({0x48, 0x8b, 0x03, 0x48, 0x8b, 0x31, 0x48, 0x8b, 0x53, 0x08}));  // with rsi, [rcx] between
}

TEST(TranslatorTest, NoCycleRunsWithoutBeingCounted) {
  constexpr uint64_t kOtherPage = kCode + kPageSize;
  struct Case {
    const char* name;
    std::vector<uint8_t> code, other;
  };
  const Case cases[] = {
      {"jmp to itself", {0xeb, 0xfe}, {}},
      {"forward, and back within a trace",
       {0x48, 0x85, 0xc9,              // test rcx, rcx
        0x74, 0x05,                    // jz over the next two
        0x90, 0x90, 0x90, 0xeb, 0xf6,  // back to the test
        0xeb, 0xf4},                   // and from here
       {}},
      {"two conditional branches that are both taken",
       {0x48, 0x85, 0xc9, 0x74, 0x02, 0x0f, 0x0b,   // test rcx, rcx; jz over UD2
        0x48, 0x85, 0xc9, 0x74, 0xf4, 0x0f, 0x0b},  // test rcx, rcx; jz to the beginning; ud2
       {}},
      {"an indirect jump to itself", {0x48, 0x8d, 0x05, 0xf9, 0xff, 0xff, 0xff, 0xff, 0xe0}, {}},
      {"push and ret to itself", {0x48, 0x8d, 0x05, 0xf9, 0xff, 0xff, 0xff, 0x50, 0xc3}, {}},
      {"to another page and back", {0xe9, 0xfb, 0x0f, 0x00, 0x00}, {0xe9, 0xfb, 0xef, 0xff, 0xff}},
      {"call, pop and jmp", {0xe8, 0x00, 0x00, 0x00, 0x00, 0x58, 0xeb, 0xf8}, {}},
      {"call to another page, and back", {0xe8, 0xfb, 0x0f, 0x00, 0x00, 0xeb, 0xf9}, {0xc3}},
      {"loop", {0x48, 0xff, 0xc1, 0x48, 0xff, 0xc1, 0xe2, 0xf8}, {}},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.name);
    FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
    for (size_t i = 0; i < each.code.size(); ++i) machine.memory.Write(kCode + i, {each.code[i]});
    for (size_t i = 0; i < each.other.size(); ++i) machine.memory.Write(kOtherPage + i, {each.other[i]});
    constexpr uint64_t kBudget = 100'000;
    for (int i = 0; i < 3; ++i) {
      const Exit exit = machine.Run(kBudget);
      EXPECT_EQ(exit.reason, ExitReason::kBudget);
      EXPECT_GE(exit.instructions_retired, 1u);
      EXPECT_LE(exit.instructions_retired, kBudget);
    }
    machine.interrupt.store(1);
    EXPECT_EQ(machine.Run(kBudget).reason, ExitReason::kInterrupt);
  }
}

TEST(TranslatorTest, LittleRunsWithoutBeingCounted) {
  // Jumps from page to page to higher addresses, and from the last page back to the first one.
  constexpr uint64_t kFirst = 0x10000000, kNumPages = 256;
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  machine.memory.Map(kFirst, kNumPages, mm::Protection(5));
  for (uint64_t i = 0; i < kNumPages; ++i) {
    const uint64_t page = kFirst + i * kPageSize, next = kFirst + (i + 1) % kNumPages * kPageSize;
    machine.memory.Write(page, {0x48, 0x83, 0xc0, 0x01, 0xe9});  // add rax, 1; jmp next
    machine.memory.Store(page + 5, static_cast<uint32_t>(next - (page + 9)));
  }
  machine.state.rip = kFirst;
  machine.state.gpr[kRax] = 0;
  const Exit exit = machine.Run(500'000);
  EXPECT_EQ(exit.reason, ExitReason::kBudget);
  EXPECT_LE(machine.state.gpr[kRax], 16 * exit.instructions_retired);
}

TEST(TranslatorTest, TheStackMayBeAnywhereAndMove) {
  // R10 is where the stack is on the host: what takes RSP's value, sets it, or changes it by more than a constant.
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  constexpr uint64_t kFirst = 0x700000, kSecond = 0x720000;
  for (const uint64_t page : {kSecond, kFirst}) machine.memory.Map(page, 1, mm::Protection(3));
  machine.state.gpr[kRsp] = kFirst + 0x800;
  machine.state.gpr[kRbx] = kSecond + 0x808;
  machine.state.gpr[kR10] = 0x1010;
  const Exit exit = machine.RunCode({0x54,                          // push rsp
                                     0x58,                          // pop rax: kFirst + 0x800
                                     0x41, 0x52,                    // push r10
                                     0x48, 0x87, 0xdc,              // xchg rsp, rbx
                                     0x53,                          // push rbx: on the second stack
                                     0x48, 0x8d, 0x4c, 0x24, 0x10,  // lea rcx, [rsp + 16]
                                     0x41, 0x5b,                    // pop r11: where the first stack is
                                     0x48, 0x83, 0xec, 0x13,        // sub rsp, 19
                                     0x48, 0x83, 0xe4, 0xf0,        // and rsp, -16
                                     0x48, 0x89, 0xe2,              // mov rdx, rsp
                                     0x4c, 0x89, 0xdc,              // mov rsp, r11
                                     0x5e,                          // pop rsi: 0x1010
                                     0x49, 0x89, 0xe0,              // mov r8, rsp
                                     0x48, 0x31, 0xe4,              // xor rsp, rsp
                                     0x48, 0x83, 0xec, 0x08,        // sub rsp, 8
                                     0x49, 0x89, 0xe1,              // mov r9, rsp
                                     0x4c, 0x8d, 0x54, 0x64, 0x08,  // lea r10, [rsp + 8]
                                     0x48, 0x8d, 0x24, 0x13,        // lea rsp, [rbx + rdx]
                                     0x0f, 0x05},
                                    1000);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(machine.state.gpr[kRax], kFirst + 0x800);
  EXPECT_EQ(machine.state.gpr[kRcx], machine.state.rip);  // SYSCALL
  EXPECT_EQ(machine.state.gpr[kRdx], (kSecond + 0x808 - 19) & ~uint64_t{15});
  EXPECT_EQ(machine.state.gpr[kRsi], 0x1010u);
  EXPECT_EQ(machine.state.gpr[kR8], kFirst + 0x800);
  EXPECT_EQ(machine.state.gpr[kR9], uint64_t{0} - 8);
  EXPECT_EQ(machine.state.gpr[kR10], 0u);
  EXPECT_EQ(machine.state.gpr[kRbx], kFirst + 0x7f8);
  EXPECT_EQ(machine.state.gpr[kRsp], machine.state.gpr[kRbx] + machine.state.gpr[kRdx]);
}

TEST(TranslatorTest, WhatIsKnownOfAPlaceGoesWithIt) {
  // A page by its address, what is behind FS, and the stack: each is known by what was found once.
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  constexpr uint64_t kPage = 0x700000, kFs = 0x701f80, kOtherFs = 0x703000, kStack = 0x705000;
  machine.memory.Map(kPage, 6, mm::Protection(3));
  machine.memory.Store<uint64_t>(kPage + 8, 1);
  machine.memory.Store<uint64_t>(kFs + 0x28, 2);
  machine.memory.Store<uint64_t>(kOtherFs + 0x28, 3);
  machine.memory.Write(kCode, {0x48, 0x8b, 0x04, 0x25, 0x08, 0x00, 0x70, 0x00,        // mov rax, [0x700008]
                               0x64, 0x48, 0x8b, 0x1c, 0x25, 0x28, 0x00, 0x00, 0x00,  // mov rbx, fs:[0x28]
                               0x53,                                                  // push rbx
                               0x5a,                                                  // pop rdx
                               0x0f, 0x05});                                          // syscall
  const auto run = [&](uint64_t fs) {
    machine.state.rip = kCode;
    machine.state.fs_base = fs;
    machine.state.gpr[kRsp] = kStack + 64;
    return machine.Run(100);
  };
  for (const uint64_t fs : {kFs, kFs, kOtherFs, kFs}) {
    EXPECT_EQ(run(fs).reason, ExitReason::kSyscall);
    EXPECT_EQ(machine.state.gpr[kRax], 1u);
    EXPECT_EQ(machine.state.gpr[kRbx], fs == kFs ? 2u : 3u);
    EXPECT_EQ(machine.state.gpr[kRdx], machine.state.gpr[kRbx]);
  }
  const struct {
    uint64_t page, rip;
  } lost[] = {{kPage, kCode}, {PageRoundDown(kFs), kCode + 8}, {kStack, kCode + 17}};
  for (const auto& each : lost) {
    machine.memory.Protect(each.page, mm::Protection(0));
    machine.memory.FlushAtNextSynchronize();
    const Exit exit = run(kFs);
    EXPECT_EQ(exit.reason, ExitReason::kFault);
    EXPECT_EQ(machine.state.rip, each.rip);
    machine.memory.Protect(each.page, mm::Protection(3));
    EXPECT_EQ(run(kFs).reason, ExitReason::kSyscall);
  }
}

// Answers each call with the number of calls so far, and lets the guest go on for as long as `each` wants.
class FakeGate final : public SyscallGate {
 public:
  FakeGate(FakeMachine* machine, std::function<uint64_t(uint64_t number)> each)
      : machine_(*machine), each_(std::move(each)) {
    machine_.engine->set_syscall_gate(this);
  }
  uint64_t Call(uint64_t instructions_retired) override {
    retired += instructions_retired;
    machine_.state.gpr[kRax] = ++calls;
    const uint64_t allowed = each_(calls);
    machine_.tlb->Synchronize();
    return allowed;
  }

  uint64_t calls = 0, retired = 0;

 private:
  FakeMachine& machine_;
  const std::function<uint64_t(uint64_t number)> each_;
};

TEST(TranslatorTest, AGateCarriesOutCallsWithinOneRun) {
  TranslatorOptions options = AtOnce();
  options.optimizations.exact_count = true;
  FakeMachine machine([&](BlockCache* cache) { return MakeTranslator(cache, options); });
  FakeGate gate(&machine, [&](uint64_t number) -> uint64_t {
    const CpuState& state = machine.state;
    EXPECT_EQ(state.rip, kCode + 15);
    EXPECT_EQ(state.gpr[kRcx], state.rip);
    EXPECT_EQ(state.gpr[kR11], state.rflags);
    EXPECT_NE(state.rflags & kFlagPF, 0u);
    EXPECT_EQ(state.gpr[kRsp], FakeMachine::kStackTop - 0x108);
    for (const Gpr kept : {kRdx, kRbx, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR12, kR13, kR14, kR15})
      EXPECT_EQ(state.gpr[kept], 0x1000u + kept);
    uint64_t low;
    std::memcpy(&low, state.vector[3].bytes.data(), sizeof(low));
    EXPECT_EQ(low, number - 1);
    return number < 5 ? 1000 : 0;
  });
  for (const Gpr kept : {kRdx, kRbx, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR12, kR13, kR14, kR15})
    machine.state.gpr[kept] = 0x1000u + kept;
  const Exit exit = machine.RunCode({0x66, 0x48, 0x0f, 0x6e, 0xd8,  // movq xmm3, rax
                                     0x50,                          // push rax
                                     0x31, 0xc0,                    // xor eax, eax
                                     0x0f, 0x1f, 0x44, 0x00, 0x00,  // nop
                                     0x0f, 0x05,                    // syscall
                                     0x59,                          // pop rcx
                                     0xeb, 0xee},                   // jmp kCode
                                    1000);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(exit.instructions_retired, 0u);
  EXPECT_EQ(gate.calls, 5u);
  EXPECT_EQ(gate.retired, 5u * 5 + 4 * 2);
  EXPECT_EQ(machine.engine->counters().instructions, gate.retired);
}

TEST(TranslatorTest, ACallMayMoveFs) {
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  constexpr uint64_t kFs = 0x700000;
  machine.memory.Map(kFs, 4, mm::Protection(3));
  for (uint64_t i = 0; i < 4; ++i) machine.memory.Store<uint64_t>(kFs + i * kPageSize + 0x28, 10 * i);
  machine.state.fs_base = kFs;
  FakeGate gate(&machine, [&](uint64_t number) -> uint64_t {
    EXPECT_EQ(machine.state.gpr[kRbx], 10 * (number - 1));
    machine.state.fs_base += kPageSize;
    return number < 4 ? 1000 : 0;
  });
  const Exit exit = machine.RunCode({0x64, 0x48, 0x8b, 0x1c, 0x25, 0x28, 0x00, 0x00, 0x00,  // mov rbx, fs:[0x28]
                                     0x0f, 0x05,                                            // syscall
                                     0xeb, 0xf3},                                           // jmp kCode
                                    1000);
  EXPECT_EQ(exit.reason, ExitReason::kSyscall);
  EXPECT_EQ(gate.calls, 4u);
}

TEST(TranslatorTest, BehindACallIsWhatTheCallHasPutThere) {
  for (const bool unmapped : {false, true}) {
    FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
    FakeGate gate(&machine, [&](uint64_t number) -> uint64_t {
      if (number == 3 && unmapped) {
        machine.memory.Protect(kCode, mm::Protection(0));
        machine.memory.FlushAtNextSynchronize();
      } else if (number == 3) {
        machine.memory.Write(kCode + 2, {0x90, 0xcc});  // nop; int3
      }
      return 1000;
    });
    const Exit exit = machine.RunCode({0x0f, 0x05,   // syscall
                                       0x90,         // nop
                                       0xeb, 0xfb},  // jmp kCode
                                      1000);
    EXPECT_EQ(exit.reason, unmapped ? ExitReason::kFault : ExitReason::kBreakpoint);
    EXPECT_EQ(machine.state.rip, unmapped ? kCode + 2 : kCode + 4);
    EXPECT_EQ(gate.calls, 3u);
  }
}

TEST(TranslatorTest, AGuestThatMakesCodeForEverKeepsRunning) {
  TranslatorOptions options = AtOnce();
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

TEST(TranslatorTest, WithLittleRoomWhatIsSeldomComeToWaits) {
  TranslatorOptions options;
  options.max_code_bytes = uint64_t{1} << 20;
  FakeMachine machine([&](BlockCache* cache) { return MakeTranslator(cache, options); });
  const auto run_at = [&](uint64_t pc) {
    machine.state.rip = pc;
    Exit exit;
    do {
      exit = machine.Run(1'000'000);
    } while (exit.reason == ExitReason::kBudget);
    ASSERT_EQ(exit.reason, ExitReason::kSyscall);
  };
  const auto blocks = [&] { return machine.engine->counters().blocks_decoded; };
  constexpr uint64_t kLoop = kCode + kPageSize, kBlock = kLoop + 64, kOther = kLoop + 128;
  machine.memory.Write(kLoop, {0x48, 0xff, 0xca, 0x75, 0xfb, 0x0f, 0x05});  // dec rdx; jnz; syscall
  machine.state.gpr[kRdx] = 2'000'000;
  run_at(kLoop);                                     // no longer young
  machine.memory.Write(kBlock, {0x90, 0x0f, 0x05});  // nop; syscall
  uint64_t before = blocks();
  run_at(kBlock);
  EXPECT_EQ(blocks(), before + 1);
  // More code than there is room for.
  for (uint32_t i = 0; i < 20'000; ++i) {
    machine.memory.Write(kCode, {0xb8, static_cast<uint8_t>(i), static_cast<uint8_t>(i >> 8), 0, 0, 0x0f, 0x05});
    run_at(kCode);
    machine.Quiesce();
  }
  machine.memory.Write(kOther, {0x90, 0x90, 0x0f, 0x05});
  before = blocks();
  for (int i = 0; i < 4; ++i) run_at(kOther);
  EXPECT_EQ(blocks(), before);
  run_at(kOther);
  EXPECT_EQ(blocks(), before + 1);
}

// A function that is called in a loop from several places, so often that its RET gets an inline cache, where it is not
// the host's own.
class InlineCacheTest : public testing::TestWithParam<uint64_t> {
 protected:
  static constexpr uint64_t kOften = 20'000;  // more than GuestContext::kFirstArrivals

  InlineCacheTest() { machine_.memory.Write(Function(), {0x48, 0xff, 0xc0, 0xc3}); }  // inc rax; ret

  // In the page of those who call, or in another one.
  static uint64_t Function() { return kCode + GetParam(); }
  void WriteCall(uint64_t at) {
    machine_.memory.Write(at, {0xe8});
    machine_.memory.Store(at + 1, static_cast<uint32_t>(Function() - (at + 5)));
  }
  // Calls it `calls` times in a round.
  void WriteLoop(uint64_t at, uint8_t calls) {
    for (uint8_t i = 0; i < calls; ++i) WriteCall(at + 5 * i);
    const auto back = static_cast<uint8_t>(-(5 * calls + 5));
    machine_.memory.Write(at + 5 * calls, {0x48, 0xff, 0xc9, 0x75, back, 0x0f, 0x05});  // dec rcx; jnz at; syscall
  }
  void RunLoop(uint64_t at, uint64_t rounds) {
    machine_.state.rip = at;
    machine_.state.gpr[kRax] = 0;
    machine_.state.gpr[kRcx] = rounds;
    ASSERT_EQ(machine_.Run(rounds * 1000).reason, ExitReason::kSyscall);
  }
  uint64_t HostBytes() const { return machine_.engine->counters().host_bytes_translated; }
  uint64_t Blocks() const { return machine_.engine->counters().blocks_decoded; }

  FakeMachine machine_{[](BlockCache* cache) {
    TranslatorOptions options = AtOnce();
    options.optimizations.returns = false;
    return MakeTranslator(cache, options);
  }};
};

TEST_P(InlineCacheTest, IsMadeWhenTheBranchIsTakenOften) {
  WriteLoop(kCode, 3);
  RunLoop(kCode, 100);
  EXPECT_EQ(machine_.state.gpr[kRax], 300u);
  const uint64_t bytes = HostBytes(), blocks = Blocks();
  RunLoop(kCode, 100);
  EXPECT_EQ(HostBytes(), bytes);
  RunLoop(kCode, kOften);
  EXPECT_EQ(machine_.state.gpr[kRax], 3 * kOften);
  EXPECT_GT(HostBytes(), bytes);
  EXPECT_EQ(Blocks(), blocks);
}

TEST_P(InlineCacheTest, OneThatGoesToManyPlacesDoesWithoutInTheEnd) {
  WriteLoop(kCode, 3);
  RunLoop(kCode, kOften);
  constexpr uint64_t kMore = kCode + 0x200, kStillMore = kCode + kPageSize + 0x200;
  WriteLoop(kMore, 8);
  WriteLoop(kStillMore, 5);
  for (int i = 0; i < 3; ++i) {
    RunLoop(kMore, kOften);
    EXPECT_EQ(machine_.state.gpr[kRax], 8 * kOften);
    RunLoop(kStillMore, kOften);
    EXPECT_EQ(machine_.state.gpr[kRax], 5 * kOften);
    RunLoop(kCode, kOften);
    EXPECT_EQ(machine_.state.gpr[kRax], 3 * kOften);
  }
}

TEST_P(InlineCacheTest, CodeThatItLeadsToMayChange) {
  WriteLoop(kCode, 3);
  RunLoop(kCode, kOften);
  machine_.memory.Write(kCode + 10, {0x0f, 0x1f, 0x44, 0x00, 0x00});  // a NOP in place of the last call
  RunLoop(kCode, kOften);
  EXPECT_EQ(machine_.state.gpr[kRax], 2 * kOften);
  machine_.memory.Write(kCode + 5,
                        {0x48, 0xff, 0xc0, 0x90, 0x90});  // inc rax; nop; nop, where the first one returns to
  RunLoop(kCode, kOften);
  EXPECT_EQ(machine_.state.gpr[kRax], 2 * kOften);
  machine_.memory.Write(Function(), {0x90, 0x90, 0x90, 0xc3});
  RunLoop(kCode, kOften);
  EXPECT_EQ(machine_.state.gpr[kRax], kOften);
}

TEST_P(InlineCacheTest, TheTargetMayBeNoAddressAtLast) {
  WriteLoop(kCode, 1);
  RunLoop(kCode, kOften);
  machine_.state.rip = Function();
  const uint64_t rsp = FakeMachine::kStackTop - 64;
  machine_.state.gpr[kRsp] = rsp;
  machine_.memory.Store(rsp, uint64_t{0x8000'0000'0000});
  EXPECT_EQ(machine_.Run(100).reason, ExitReason::kProtection);
  EXPECT_EQ(machine_.state.rip, Function() + 3);
  EXPECT_EQ(machine_.state.gpr[kRsp], rsp);
}

INSTANTIATE_TEST_SUITE_P(InOnePage, InlineCacheTest, testing::Values(0x100));
INSTANTIATE_TEST_SUITE_P(AcrossPages, InlineCacheTest, testing::Values(0x1100));

TEST(TranslatorTest, TheMemoryOfInlineCachesIsUsedAgain) {
  TranslatorOptions options = AtOnce();
  options.max_code_bytes = uint64_t{1} << 20;
  FakeMachine small([&](BlockCache* cache) { return MakeTranslator(cache, options); });
  // mov eax, i; loop: call +8 (ret); dec ecx; jnz loop; syscall
  for (uint32_t i = 0; i < 3'000; ++i) {
    small.memory.Write(kCode, {0xb8, static_cast<uint8_t>(i), static_cast<uint8_t>(i >> 8), 0, 0, 0xe8, 6, 0, 0, 0,
                               0xff, 0xc9, 0x75, 0xf7, 0x0f, 0x05, 0xc3});
    small.state.rip = kCode;
    small.state.gpr[kRcx] = 5'000;
    ASSERT_EQ(small.Run(100'000).reason, ExitReason::kSyscall);
    ASSERT_EQ(small.state.gpr[kRax], i);
    if (i % 8 == 0) small.Quiesce();
  }
}

TEST(TranslatorTest, ATrapOfTheHostShowsTheInstructionAndItsState) {
  FakeMachine machine;
  machine.state.gpr[kRax] = 5;
  machine.state.gpr[kRdx] = 0;
  machine.state.gpr[kRsi] = 0x1234;
  machine.state.gpr[kR10] = 0;
  const Exit exit = machine.RunCode({0x48, 0xff, 0xc0,   // inc rax
                                     0x49, 0xf7, 0xf2,   // div r10
                                     0x48, 0xff, 0xc0},  // inc rax
                                    100);
  EXPECT_EQ(exit.reason, ExitReason::kDivide);
  EXPECT_EQ(exit.instructions_retired, 1u);
  EXPECT_EQ(machine.state.rip, kCode + 3);
  EXPECT_EQ(machine.state.gpr[kRax], 6u);
  EXPECT_EQ(machine.state.gpr[kRsi], 0x1234u);
  EXPECT_EQ(machine.state.rflags & kStatusFlags, kFlagPF);
}

TEST(TranslatorTest, WithExactFlagsAFaultShowsThoseThatNothingReadsAnyMore) {
  TranslatorOptions options = AtOnce();
  options.optimizations.exact_flags = true;
  FakeMachine machine([&](BlockCache* cache) { return MakeTranslator(cache, options); });
  machine.state.gpr[kRbx] = 1;
  const Exit exit = machine.RunCode({0x48, 0x83, 0xfb, 0x02,  // cmp rbx, 2
                                     0x48, 0x8b, 0x0b,        // mov rcx, [rbx]: nothing there
                                     0x48, 0x31, 0xc0},       // xor rax, rax
                                    100);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(machine.state.rip, kCode + 4);
  EXPECT_EQ(machine.state.rflags & kStatusFlags, kFlagCF | kFlagSF | kFlagPF | kFlagAF);
}

TEST(TranslatorTest, WithExactFlagsAPushOfMemoryShowsThemToo) {
  TranslatorOptions options = AtOnce();
  options.optimizations.exact_flags = true;
  FakeMachine machine([&](BlockCache* cache) { return MakeTranslator(cache, options); });
  machine.state.gpr[kRdi] = 1;
  const Exit exit = machine.RunCode({0x50,              // push rax
                                     0x48, 0x39, 0xc9,  // cmp rcx, rcx
                                     0xff, 0x37,        // push [rdi]: nothing there
                                     0x48, 0x85, 0xe4,  // test rsp, rsp
                                     0x0f, 0x05},       // syscall
                                    100);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(machine.state.rip, kCode + 4);
  EXPECT_EQ(machine.state.rflags & kStatusFlags, kFlagZF | kFlagPF);
}

TEST(TranslatorTest, AFaultShowsTheFlagsThatAreStillRead) {
  FakeMachine machine;
  machine.state.gpr[kRbx] = 1;
  const Exit exit = machine.RunCode({0x48, 0x83, 0xfb, 0x02,  // cmp rbx, 2
                                     0x48, 0x8b, 0x0b,        // mov rcx, [rbx]: nothing there
                                     0x72, 0x00,              // jb +0
                                     0x48, 0x31, 0xc0},       // xor rax, rax
                                    100);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(machine.state.rflags & kFlagCF, kFlagCF);
}

TEST(TranslatorTest, ATrapOfTheHostShowsTheFlagsThatAreStillRead) {
  FakeMachine machine;
  machine.state.gpr[kR8] = machine.state.gpr[kR9] = FakeMachine::kData;
  // The addresses come too late for probes before the comparison.
  const Exit first = machine.RunCode({0x48, 0x83, 0xfb, 0x02,  // cmp rbx, 2
                                      0x4c, 0x89, 0xc7,        // mov rdi, r8
                                      0x48, 0x8b, 0x0f,        // mov rcx, [rdi]
                                      0x4c, 0x89, 0xce,        // mov rsi, r9
                                      0x0f, 0x28, 0x06,        // movaps xmm0, [rsi]
                                      0x72, 0x00,              // jb +0
                                      0x48, 0x31, 0xc0,        // xor rax, rax
                                      0x0f, 0x05},             // syscall
                                     100);
  EXPECT_EQ(first.reason, ExitReason::kSyscall);
  // Extents are recorded at some misses only; then nothing is saved on the way.
  for (int i = 0; i < 64; ++i) {
    machine.state.rip = kCode;
    EXPECT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
  }
  machine.state.rip = kCode;
  machine.state.gpr[kRbx] = 1;
  machine.state.gpr[kR8] = FakeMachine::kData + 8;
  machine.state.gpr[kR9] = FakeMachine::kData + 24;  // not aligned
  EXPECT_EQ(machine.Run(100).reason, ExitReason::kProtection);
  EXPECT_EQ(machine.state.rip, kCode + 13);
  EXPECT_EQ(machine.state.rflags & kFlagCF, kFlagCF);
}

// The branch has not happened: it is where the exception is, and the stack is as before.
// The place of a page that code knows by its address is asked about once; XCHG, which has to be aligned, leaves the
// flags.
TEST(TranslatorTest, FlagsLiveOnWhereNothingIsAskedAboutAPlace) {
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  const auto distance = [](uint64_t from) { return static_cast<uint32_t>(kData - from); };
  machine.memory.Write(kCode, {0x48, 0x87, 0x15, 0, 0, 0, 0,  // xchg [kData], rdx
                               0x48, 0x39, 0xc8,              // cmp rax, rcx
                               0x48, 0x87, 0x35, 0, 0, 0, 0,  // xchg [kData], rsi
                               0x0f, 0x92, 0xc3,              // setb bl
                               0x0f, 0x05});                  // syscall
  machine.memory.Store(kCode + 3, distance(kCode + 7));
  machine.memory.Store(kCode + 13, distance(kCode + 17));
  for (const bool below : {true, false, true}) {
    machine.memory.Store(kData, uint64_t{5});
    machine.state.rip = kCode;
    machine.state.gpr[kRax] = below ? 1 : 9;
    machine.state.gpr[kRcx] = 4;
    machine.state.gpr[kRdx] = 6;
    machine.state.gpr[kRsi] = 7;
    ASSERT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
    EXPECT_EQ(machine.state.gpr[kRbx] & 0xff, below ? 1u : 0u);
    EXPECT_EQ(machine.state.gpr[kRdx], 5u);
    EXPECT_EQ(machine.state.gpr[kRsi], 6u);
    EXPECT_EQ(machine.memory.Load<uint64_t>(kData), 7u);
  }
}

TEST(TranslatorTest, ABranchToNowhereIsUndone) {
  constexpr uint64_t kNowhere = uint64_t{1} << 60;
  FakeMachine machine;
  const uint64_t stack = machine.state.gpr[kRsp];
  machine.memory.Store(stack, kNowhere);
  const Exit ret = machine.RunCode({0x90, 0x90, 0xc3}, 100);
  EXPECT_EQ(ret.reason, ExitReason::kProtection);
  EXPECT_EQ(ret.instructions_retired, 2u);
  EXPECT_EQ(machine.state.rip, kCode + 2);
  EXPECT_EQ(machine.state.gpr[kRsp], stack);

  FakeMachine jumping;
  jumping.state.gpr[kRax] = kNowhere;
  const Exit jmp = jumping.RunCode({0x90, 0xff, 0xe0}, 100);
  EXPECT_EQ(jmp.reason, ExitReason::kProtection);
  EXPECT_EQ(jmp.instructions_retired, 1u);
  EXPECT_EQ(jumping.state.rip, kCode + 1);
}

// Frames of neighbouring pages that do not lie side by side: what is on both is reached one operand at a time.
TEST(TranslatorTest, AGroupAcrossPagesThatAreApartIsReached) {
  FakeMachine machine;
  constexpr uint64_t kPages = 0x700000;
  machine.memory.Map(kPages + kPageSize, 1, mm::Protection(3));
  machine.memory.Map(kPages, 1, mm::Protection(3));
  machine.state.gpr[kRbx] = kPages + kPageSize - 8;
  for (uint64_t i = 0; i < 3; ++i) {
    machine.memory.Store(kPages + kPageSize - 8, i);
    machine.memory.Store(kPages + kPageSize, i + 1);
    const Exit exit = machine.RunCode({0x48, 0x8b, 0x03,        // mov rax, [rbx]
                                       0x48, 0x8b, 0x4b, 0x08,  // mov rcx, [rbx+8]
                                       0x48, 0x89, 0x43, 0x10,  // mov [rbx+16], rax
                                       0x0f, 0x05},
                                      100);
    EXPECT_EQ(exit.reason, ExitReason::kSyscall);
    EXPECT_EQ(exit.instructions_retired, 4u);
    EXPECT_EQ(machine.state.gpr[kRax], i);
    EXPECT_EQ(machine.memory.Load<uint64_t>(kPages + kPageSize + 8), i);
  }
}

// A loop that is unrolled stops at the same instruction as any other, wherever the budget ends.
// Where the registers have moved further than an instruction can say from where they began.
TEST(TranslatorTest, OperandsFarFromTheirBaseAreFound) {
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  constexpr uint64_t kFar = uint64_t{1} << 31, kFirst = FakeMachine::kData, kOnStack = FakeMachine::kStackTop - 0x800;
  machine.memory.Map(kFirst + 2 * kFar, 1, mm::Protection(3));
  machine.memory.Store<uint64_t>(kFirst, 1);
  machine.memory.Store<uint64_t>(kFirst + 8, 2);
  machine.memory.Store<uint64_t>(kOnStack, 3);
  machine.memory.Store<uint64_t>(kOnStack - 8, 4);
  machine.memory.Write(kCode, {0x48, 0x8b, 0x83, 0x00, 0x00, 0x00, 0x80,        // mov rax, [rbx-0x80000000]
                               0x48, 0x83, 0xeb, 0x08,                          // sub rbx, 8
                               0x48, 0x8b, 0xbb, 0x00, 0x00, 0x00, 0x80,        // mov rdi, [rbx-0x80000000]
                               0x48, 0x8b, 0x94, 0x24, 0x04, 0x00, 0x00, 0x80,  // mov rdx, [rsp-0x7ffffffc]
                               0x48, 0x83, 0xec, 0x08,                          // sub rsp, 8
                               0x48, 0x8b, 0xb4, 0x24, 0x04, 0x00, 0x00, 0x80,  // mov rsi, [rsp-0x7ffffffc]
                               0x0f, 0x05});                                    // syscall
  for (int i = 0; i < 40; ++i) {
    machine.state.rip = kCode;
    machine.state.gpr[kRbx] = kFirst + 8 + kFar;
    machine.state.gpr[kRsp] = kOnStack + kFar - 4;
    ASSERT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
    EXPECT_EQ(machine.state.gpr[kRax], 2u);
    EXPECT_EQ(machine.state.gpr[kRdi], 1u);
    EXPECT_EQ(machine.state.gpr[kRdx], 3u);
    EXPECT_EQ(machine.state.gpr[kRsi], 4u);
  }
}

TEST(TranslatorTest, AnUnrolledLoopStopsWithTheBudget) {
  // add rax, [rbx]; add rbx, 8; dec rcx; jnz
  const std::initializer_list<uint8_t> code = {0x48, 0x03, 0x03, 0x48, 0x83, 0xc3, 0x08,
                                               0x48, 0xff, 0xc9, 0x75, 0xf4, 0x0f, 0x05};
  for (uint64_t times = 1; times <= 9; ++times) {
    for (uint64_t budget = 1; budget <= 20; ++budget) {
      FakeMachine machine;
      for (uint64_t i = 0; i < times; ++i) machine.memory.Store(FakeMachine::kData + 8 * i, i + 1);
      machine.state.gpr[kRbx] = FakeMachine::kData;
      machine.state.gpr[kRcx] = times;
      machine.state.gpr[kRax] = 0;
      uint64_t retired = 0;
      Exit exit = machine.RunCode(code, budget);
      while (exit.reason == ExitReason::kBudget) {
        EXPECT_EQ(exit.instructions_retired, budget);
        retired += exit.instructions_retired;
        exit = machine.Run(budget);
      }
      EXPECT_EQ(exit.reason, ExitReason::kSyscall);
      EXPECT_EQ(retired + exit.instructions_retired, 4 * times + 1);
      EXPECT_EQ(machine.state.gpr[kRax], times * (times + 1) / 2);
    }
  }
}

// Each element is an instruction of the budget, in whatever portions that comes.
TEST(TranslatorTest, AStringInstructionStopsWithTheBudget) {
  constexpr uint64_t kBytes = 100'000, kAt = 0x800000;
  for (const uint64_t budget : {1'000u, 16'384u, 20'000u, 70'000u, 100'000u, 200'000u}) {
    FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
    machine.memory.Map(kAt, PageRoundUp(kBytes) / kPageSize, mm::Protection(3));
    machine.state.gpr[kRax] = 7;
    machine.state.gpr[kRcx] = kBytes;
    machine.state.gpr[kRdi] = kAt;
    uint64_t retired = 0;
    Exit exit = machine.RunCode({0xf3, 0xaa, 0x0f, 0x05}, budget);  // rep stosb; syscall
    while (exit.reason == ExitReason::kBudget) {
      EXPECT_EQ(exit.instructions_retired, budget);
      retired += exit.instructions_retired;
      EXPECT_EQ(machine.state.gpr[kRcx], kBytes - retired);
      EXPECT_EQ(machine.state.gpr[kRdi], kAt + retired);
      exit = machine.Run(budget);
    }
    EXPECT_EQ(exit.reason, ExitReason::kSyscall);
    EXPECT_EQ(retired + exit.instructions_retired, kBytes + 1);
    EXPECT_EQ(machine.memory.Load<uint8_t>(kAt + kBytes - 1), 7);
    EXPECT_EQ(machine.memory.Load<uint8_t>(kAt + kBytes), 0);
  }
}

// Code, and what is known about it: of this one, of which each instruction has an operand of its own in memory, and of
// a row of short blocks.
TEST(TranslatorTest, TranslationsTakeFewBytes) {
  FakeMachine machine([](BlockCache* cache) { return MakeTranslator(cache, AtOnce()); });
  machine.state.gpr[kRcx] = 0;
  // 1: dec ecx; add eax, edx; lea rdx, [rax+rax*4+1]; xor eax, edx; test eax, eax; jz 2; inc edx; 2: jmp 3; ...
  std::vector<uint8_t> code;
  for (int i = 0; i < 100; ++i)
    code.insert(code.end(), {0xff, 0xc9, 0x01, 0xd0, 0x48, 0x8d, 0x54, 0x80, 0x01, 0x31, 0xd0, 0x85, 0xc0, 0x74, 0x02,
                             0xff, 0xc2, 0xeb, 0x00});
  code.insert(code.end(), {0x0f, 0x05});
  for (size_t i = 0; i < code.size(); ++i) machine.memory.Store(kCode + i, code[i]);
  machine.state.rip = kCode;
  EXPECT_EQ(machine.Run(1'000'000).reason, ExitReason::kSyscall);
  const Engine::Counters counters = machine.engine->counters();
  EXPECT_GE(counters.guest_bytes_translated, code.size());
  EXPECT_GT(counters.host_bytes_translated, counters.guest_bytes_translated);
  EXPECT_LE(counters.host_bytes_translated, 14 * counters.guest_bytes_translated);
}

TEST(TranslatorTest, BlocksAreShownWithBothKindsOfCode) {
  std::string shown;
  const translator::BlockDumper dumper = {.wanted = [](uint64_t pc, const mm::Tlb&) { return pc == kCode; },
                                          .show = [&](const std::string& text) { shown += text; }};
  TranslatorOptions options = AtOnce();
  options.dumper = &dumper;
  FakeMachine machine([&](BlockCache* cache) { return MakeTranslator(cache, options); });
  machine.RunCode({0x48, 0x89, 0xe7, 0x0f, 0x05}, 100);  // mov rdi, rsp; syscall
  EXPECT_NE(shown.find("block 400000: 2 instructions"), std::string::npos) << shown;
  EXPECT_NE(shown.find("mov rdi, rsp"), std::string::npos) << shown;
  EXPECT_NE(shown.find("lea rdi, [rdi+r10*1]"), std::string::npos) << shown;
}

TEST(TranslatorTest, RegistersInTheContextAreWrittenWhole) {
  // A load of four bytes that follows a store of two into them waits until that has reached the cache.
  std::string shown;
  const translator::BlockDumper dumper = {.wanted = [](uint64_t pc, const mm::Tlb&) { return pc == kCode; },
                                          .show = [&](const std::string& text) { shown += text; }};
  TranslatorOptions options = AtOnce();
  options.dumper = &dumper;
  FakeMachine machine([&](BlockCache* cache) { return MakeTranslator(cache, options); });
  machine.state.gpr[kR10] = 0x1111'2222'3333'4440;
  machine.state.gpr[kRcx] = 0x3333'0300;
  machine.RunCode({0x66, 0x41, 0xc1, 0xea, 0x05,  // shr r10w, 5
                   0x44, 0x29, 0xd1,              // sub ecx, r10d
                   0x45, 0x89, 0xd0,              // mov r8d, r10d
                   0x45, 0x89, 0xd3,              // mov r11d, r10d
                   0x45, 0x29, 0xda,              // sub r10d, r11d
                   0xf4},                         // hlt
                  100);
  EXPECT_EQ(machine.state.gpr[kRcx], 0xdeu);
  EXPECT_EQ(machine.state.gpr[kR8], 0x3333'0222u);
  EXPECT_EQ(machine.state.gpr[kR11], 0x3333'0222u);
  EXPECT_EQ(machine.state.gpr[kR10], 0u);
  EXPECT_EQ(shown.find("word ptr [rsp], "), std::string::npos) << shown;
  EXPECT_NE(shown.find("mov r11d, [rsp]"), std::string::npos) << shown;
  EXPECT_NE(shown.find("sub r11d, [rsp+0x08]"), std::string::npos) << shown;
}

}  // namespace
}  // namespace remora::cpu
