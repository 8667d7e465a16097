#include "cpu/translator/flags_replay.h"

#include <gtest/gtest.h>
#include <xbyak/xbyak.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/cpu_level.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/instruction_decoder.h"
#include "cpu/interpreter.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/block_collector.h"
#include "cpu/translator/translator.h"
#include "mm/types.h"

namespace remora::cpu::translator {
namespace {

FlagsReplay ReplayOfCode(std::initializer_list<uint8_t> code, uint32_t flags = kStatusFlags) {
  InstructionDecoder decoder(CpuLevel::kHost);
  GuestInstruction instruction;
  std::copy(code.begin(), code.end(), instruction.bytes.begin());
  EXPECT_TRUE(ZYAN_SUCCESS(decoder.Decode(instruction.bytes.data(), code.size(), &instruction.decoded)));
  Classify(&instruction);
  return ReplayOf(instruction, flags);
}

std::vector<uint8_t> Bytes(const FlagsReplay& replay) {
  return {replay.bytes.begin(), replay.bytes.begin() + replay.length};
}

TEST(FlagsReplayTest, ComparisonsAreReplayedByThemselves) {
  const FlagsReplay compare = ReplayOfCode({0x4c, 0x39, 0xe2});  // cmp rdx, r12
  EXPECT_EQ(Bytes(compare), (std::vector<uint8_t>{0x4c, 0x39, 0xe2}));
  EXPECT_EQ(compare.registers, 1u << kRdx | 1u << kR12);
  const FlagsReplay test = ReplayOfCode({0xf6, 0xc4, 0x10});  // test ah, 16
  EXPECT_EQ(Bytes(test), (std::vector<uint8_t>{0xf6, 0xc4, 0x10}));
  EXPECT_EQ(test.registers, 1u << kRax);
}

TEST(FlagsReplayTest, OthersByATestOfTheirResult) {
  const FlagsReplay logic = ReplayOfCode({0x09, 0xc6});  // or esi, eax
  EXPECT_EQ(Bytes(logic), (std::vector<uint8_t>{0x85, 0xf6}));
  EXPECT_EQ(logic.registers, 1u << kRsi);
  EXPECT_EQ(Bytes(ReplayOfCode({0x40, 0x30, 0xc6})), (std::vector<uint8_t>{0x40, 0x84, 0xf6}));  // xor sil, al
  EXPECT_EQ(Bytes(ReplayOfCode({0x30, 0xc3})), (std::vector<uint8_t>{0x84, 0xdb}));              // xor bl, al
  EXPECT_EQ(Bytes(ReplayOfCode({0x66, 0x41, 0x83, 0xe1, 0x03})),
            (std::vector<uint8_t>{0x66, 0x45, 0x85, 0xc9}));  // and r9w, 3
  constexpr uint32_t kOfResult = kFlagZF | kFlagSF | kFlagPF;
  EXPECT_EQ(Bytes(ReplayOfCode({0x4d, 0x03, 0x28}, kOfResult)),
            (std::vector<uint8_t>{0x4d, 0x85, 0xed}));  // add r13, [r8]
  EXPECT_EQ(ReplayOfCode({0x4d, 0x03, 0x28}, kOfResult | kFlagCF).length, 0);
  EXPECT_EQ(Bytes(ReplayOfCode({0x29, 0xc1}, kOfResult)), (std::vector<uint8_t>{0x85, 0xc9}));  // sub ecx, eax
}

TEST(FlagsReplayTest, SumsAndDifferencesAreUndoneFirst) {
  const FlagsReplay sum = ReplayOfCode({0x4c, 0x01, 0xc0});         // add rax, r8
  EXPECT_EQ(Bytes(sum), (std::vector<uint8_t>{0x49, 0x89, 0xc3,     // mov r11, rax
                                              0x4d, 0x29, 0xc3,     // sub r11, r8
                                              0x4d, 0x01, 0xc3}));  // add r11, r8
  EXPECT_EQ(sum.registers, 1u << kRax | 1u << kR8);
  EXPECT_TRUE(sum.spoils_scratch);
  const FlagsReplay difference = ReplayOfCode({0x41, 0x83, 0xe9, 0xff});                           // sub r9d, -1
  EXPECT_EQ(Bytes(difference), (std::vector<uint8_t>{0x45, 0x89, 0xcb,                             // mov r11d, r9d
                                                     0x41, 0x81, 0xc3, 0xff, 0xff, 0xff, 0xff,     // add r11d, -1
                                                     0x41, 0x81, 0xeb, 0xff, 0xff, 0xff, 0xff}));  // sub r11d, -1
  EXPECT_EQ(ReplayOfCode({0x01, 0xc0}).length, 0);                                                 // add eax, eax
  EXPECT_EQ(ReplayOfCode({0x00, 0xc8}).length, 0);                                                 // add al, cl
  EXPECT_EQ(ReplayOfCode({0x66, 0x01, 0xc8}).length, 0);                                           // add ax, cx
}

TEST(FlagsReplayTest, WhatNoRegisterOfTheHostsTellsIsNotReplayed) {
  EXPECT_EQ(ReplayOfCode({0x48, 0x39, 0x10}).length, 0);              // cmp [rax], rdx
  EXPECT_EQ(ReplayOfCode({0x48, 0x39, 0xe0}).length, 0);              // cmp rax, rsp
  EXPECT_EQ(ReplayOfCode({0x4c, 0x39, 0xd0}).length, 0);              // cmp rax, r10
  EXPECT_EQ(ReplayOfCode({0x41, 0x83, 0xe3, 0x01}).length, 0);        // and r11d, 1
  EXPECT_EQ(ReplayOfCode({0x80, 0xcc, 0x01}).length, 0);              // or ah, 1
  EXPECT_EQ(ReplayOfCode({0x83, 0x28, 0x01}).length, 0);              // sub dword [rax], 1
  EXPECT_EQ(ReplayOfCode({0x48, 0x01, 0xc4}).length, 0);              // add rsp, rax
  EXPECT_EQ(ReplayOfCode({0x48, 0x81, 0xc4, 0, 0, 1, 0}).length, 0);  // add rsp, 65536
  EXPECT_EQ(ReplayOfCode({0xff, 0xc0}).length, 0);                    // inc eax
  EXPECT_EQ(ReplayOfCode({0xd1, 0xe0}).length, 0);                    // shl eax, 1
  EXPECT_EQ(ReplayOfCode({0x48, 0x89, 0xd8}).length, 0);              // mov rax, rbx
}

std::unique_ptr<Engine> MakeAtOnce(BlockCache* cache, bool exact_flags) {
  TranslatorOptions options;
  options.optimizations.warm = false;
  options.optimizations.exact_flags = exact_flags;
  return MakeTranslator(cache, options);
}

// RSP's own flags, with what moves it behind: the host's R10, which tells them, follows at the end of the block.
TEST(FlagsReplayTest, OfTheStackPointerAreThoseOfItsOldPlace) {
  for (const size_t nops : {size_t{0}, size_t{BlockCollector::kMaxInstructions} - 2}) {
    std::vector<uint8_t> code(nops, 0x90);
    code.insert(code.end(), {0x48, 0x83, 0xc4, 0x18,  // add rsp, 24
                             0x59,                    // pop rcx
                             0x7a, 0x02,              // jp over
                             0xb0, 0x01,              // mov al, 1
                             0x0f, 0x05});            // over: syscall
    FakeMachine machine([](BlockCache* cache) { return MakeAtOnce(cache, /*exact_flags=*/false); });
    machine.memory.Write(FakeMachine::kCode, code);
    for (uint64_t low = 0; low < 256; low += 8) {
      const uint64_t to = (FakeMachine::kStackTop - 0x400) + low;
      machine.state.gpr[kRax] = 0;
      machine.state.gpr[kRsp] = to - 24;
      machine.state.rip = FakeMachine::kCode;
      EXPECT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
      EXPECT_EQ(machine.state.gpr[kRax], static_cast<uint64_t>(std::popcount(low) % 2)) << low;
    }
  }
}

TEST(FlagsReplayTest, ExactOnesAreRspsOwnWhereThereIsNoStack) {
  FakeMachine machine([](BlockCache* cache) { return MakeAtOnce(cache, /*exact_flags=*/true); });
  // Behind this R10 is somewhere else than RSP.
  EXPECT_EQ(machine.RunCode({0x50, 0x58, 0x0f, 0x05}, 100).reason, ExitReason::kSyscall);  // push rax; pop rax; syscall
  machine.state.gpr[kRsp] = uint64_t{0} - 8;
  const Exit exit = machine.RunCode({0x48, 0x83, 0xc4, 0x08,  // add rsp, 8
                                     0x5b,                    // pop rbx: nothing there
                                     0x85, 0xc0,              // test eax, eax
                                     0x0f, 0x05},             // syscall
                                    100);
  EXPECT_EQ(exit.reason, ExitReason::kFault);
  EXPECT_EQ(machine.state.rflags & kStatusFlags, kFlagCF | kFlagPF | kFlagAF | kFlagZF);
}

TEST(FlagsReplayTest, ExactOnesAreThereWhereTheHostsCpuRefusesAnExchange) {
  FakeMachine machine([](BlockCache* cache) { return MakeAtOnce(cache, /*exact_flags=*/true); });
  machine.state.gpr[kR8] = FakeMachine::kData;
  machine.memory.Write(FakeMachine::kCode, {0x48, 0x39, 0xc8,        // cmp rax, rcx
                                            0x4c, 0x89, 0xc7,        // mov rdi, r8
                                            0x48, 0x0f, 0xc7, 0x0f,  // cmpxchg16b [rdi]
                                            0x31, 0xf6,              // xor esi, esi
                                            0x0f, 0x05});            // syscall
  for (int i = 0; i < 64; ++i) {
    machine.state.gpr[kRax] = machine.state.gpr[kRcx] = 0;
    machine.state.rip = FakeMachine::kCode;
    EXPECT_EQ(machine.Run(100).reason, ExitReason::kSyscall);
  }
  machine.state.rip = FakeMachine::kCode;
  machine.state.gpr[kR8] = FakeMachine::kData + 8;  // not aligned
  machine.state.gpr[kRax] = 1;
  machine.state.gpr[kRcx] = 2;
  EXPECT_EQ(machine.Run(100).reason, ExitReason::kProtection);
  EXPECT_EQ(machine.state.rflags & kStatusFlags, kFlagCF | kFlagPF | kFlagAF | kFlagSF);
}

// --- random programs: flags are made, the host's are spoilt by probes, the guest's are read ---

constexpr uint64_t kCode = FakeMachine::kCode, kData = FakeMachine::kData;

// RBX, R12 and R13 point at places that never lie in one run; R14 points at pages that come to be there only when they
// are asked for. All ends with a comparison, so that each flag is defined.
class RandomProgram : public Xbyak::CodeGenerator {
 public:
  static constexpr uint64_t kSteps = 24;

  explicit RandomProgram(uint32_t seed) : CodeGenerator(kPageSize), random_(seed) {
    for (uint64_t i = 0; i < kSteps; ++i) Step();
    cmp(rax, rax);
    syscall();
    for (Xbyak::Label& function : functions_) {
      L(function);
      const bool pushes = Any(2) == 0, moves = Any(2) == 0;
      if (pushes) push(Any64());
      if (moves) lea(rsp, ptr[rsp - 24]);
      ReadFlags();
      if (Any(2) == 0) MakeFlags();
      if (moves) Any(4) == 0 ? sub(rsp, -24) : add(rsp, 24);
      if (pushes) pop(Any64());
      if (Any(3) == 0) ReadFlags();
      ret();
    }
    ready();
  }

 private:
  uint32_t Any(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  template <typename Register, size_t kCount>
  const Register& AnyOf(const std::array<const Register*, kCount>& all) {
    return *all[Any(kCount)];
  }
  const Xbyak::Reg64& Any64() { return AnyOf(std::array<const Xbyak::Reg64*, 6>{&rax, &rcx, &rdx, &rsi, &r9, &r10}); }
  const Xbyak::Reg32& Any32() { return AnyOf(std::array<const Xbyak::Reg32*, 6>{&eax, &ecx, &edx, &esi, &r9d, &r10d}); }
  const Xbyak::Reg8& Any8() { return AnyOf(std::array<const Xbyak::Reg8*, 6>{&al, &cl, &dl, &sil, &r9b, &dh}); }
  const Xbyak::Reg8& AnyLow8() { return AnyOf(std::array<const Xbyak::Reg8*, 5>{&al, &cl, &dl, &sil, &r9b}); }
  Xbyak::Address AnyWord() {
    const Xbyak::Reg64& base = AnyOf(std::array<const Xbyak::Reg64*, 3>{&rbx, &r12, &r13});
    return qword[base + 8 * Any(16)];
  }

  void MakeFlags() {
    switch (Any(10)) {
      case 0:
        return cmp(Any64(), Any64());
      case 1:
        return cmp(AnyLow8(), AnyLow8());
      case 2:
        return test(Any32(), Any32());
      case 3:
        return or_(Any32(), Any32());
      case 4:
        return xor_(AnyLow8(), AnyLow8());
      case 5:
        return and_(Any64(), AnyWord());
      case 6:
        return add(Any64(), Any64());
      case 7:
        return Any(2) == 0 ? sub(Any32(), 1 + Any(3)) : sub(Any64(), Any64());
      case 8:
        return inc(Any64());
      default:
        return cmp(Any64(), AnyWord());
    }
  }
  void ReadFlags() {
    Xbyak::Label over;
    switch (Any(8)) {
      case 0:
        return setz(AnyLow8());
      case 1:
        return cmovc(Any64(), Any64());
      case 2:
        return adc(Any32(), Any32());
      case 3:
        jb(over);
        add(Any64(), 7);
        return L(over);
      case 4:
        jle(over);
        mov(Any64(), AnyWord());
        return L(over);
      case 5:
        jp(over);
        mov(AnyWord(), Any64());
        return L(over);
      case 6:
        return inc(Any64());  // does not touch CF
      default:
        return seto(Any8());
    }
  }
  void Step() {
    if (Any(2) == 0) MakeFlags();
    for (uint32_t i = Any(3); i > 0; --i) {
      switch (Any(6)) {
        case 0:
          mov(Any64(), AnyWord());
          break;
        case 1:
          mov(AnyWord(), Any64());
          break;
        case 2:
          mov(Any64(), Any64());
          break;
        case 3:
          mov(Any32(), dword[r14 + kPageSize * Any(2)]);
          break;
        case 4:
          push(Any64());
          pop(Any64());
          break;
        default:
          movd(xmm1, Any32());
          break;
      }
    }
    // What is called reads them, or who is returned to.
    if (Any(6) == 0) call(functions_[Any(kFunctions)]);
    ReadFlags();
  }

  static constexpr uint32_t kFunctions = 4;
  std::mt19937 random_;
  std::array<Xbyak::Label, kFunctions> functions_;
};

class RandomFlagsTest : public testing::TestWithParam<bool> {};

TEST_P(RandomFlagsTest, AreAsInTheInterpreter) {
  constexpr uint32_t kPrograms = 700, kRounds = 3;
  constexpr uint64_t kAbsent = kData + 64 * kPageSize;
  for (uint32_t seed = 1; seed <= kPrograms; ++seed) {
    SCOPED_TRACE(seed);
    const RandomProgram program(seed);
    FakeMachine expected([](BlockCache* cache) { return MakeInterpreter(cache); });
    FakeMachine found([](BlockCache* cache) { return MakeAtOnce(cache, /*exact_flags=*/GetParam()); });
    std::mt19937_64 random(seed);
    std::array<uint64_t, 16> start;
    for (uint64_t& value : start) value = random() >> random() % 64;
    for (FakeMachine* machine : {&expected, &found}) {
      machine->memory.Write(kCode, std::span<const uint8_t>(program.getCode(), program.getSize()));
      machine->memory.Map(kData + 8 * kPageSize, 1, mm::Protection(3));
      for (const uint64_t i : {kRax, kRcx, kRdx, kRsi, kR9, kR10}) machine->state.gpr[i] = start[i];
      machine->state.gpr[kRbx] = kData;
      machine->state.gpr[kR12] = kData + 2 * kPageSize;
      machine->state.gpr[kR13] = kData + 8 * kPageSize;
      machine->state.gpr[kR14] = kAbsent;
      for (uint64_t i = 0; i < 16; ++i)
        for (const uint64_t base : {kRbx, kR12, kR13})
          machine->memory.Store(machine->state.gpr[base] + 8 * i, start[(i + base) % 16]);
    }
    // In the second round blocks are linked, in the third nothing is new.
    for (uint32_t round = 0; round < kRounds;) {
      const Exit reference = expected.Run(1'000);
      const Exit exit = found.Run(1'000);
      ASSERT_EQ(exit.reason, reference.reason);
      ASSERT_EQ(found.state.rip, expected.state.rip);
      for (uint64_t i = 0; i < 16; ++i)
        if (i != kR11) ASSERT_EQ(found.state.gpr[i], expected.state.gpr[i]) << i;
      if (exit.reason == ExitReason::kSyscall) {
        ASSERT_EQ(found.state.gpr[kR11] & kStatusFlags, expected.state.gpr[kR11] & kStatusFlags);
        for (FakeMachine* machine : {&expected, &found}) machine->state.rip = kCode;
        ++round;
        continue;
      }
      ASSERT_EQ(exit.reason, ExitReason::kFault);
      ASSERT_EQ(exit.fault.addr, reference.fault.addr);
      for (FakeMachine* machine : {&expected, &found})
        machine->memory.Map(exit.fault.addr.value(), 1, mm::Protection(3));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Roughly, RandomFlagsTest, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Exactly, RandomFlagsTest, testing::Values(true));

}  // namespace
}  // namespace remora::cpu::translator
