#include "cpu/translator/operand_groups.h"

#include <gtest/gtest.h>
#include <xbyak/xbyak.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <set>
#include <span>
#include <vector>

#include "base/guest_addr.h"
#include "cpu/cpu_level.h"
#include "cpu/cpu_state.h"
#include "cpu/engine.h"
#include "cpu/instruction_decoder.h"
#include "cpu/interpreter.h"
#include "cpu/testing/fake_memory.h"
#include "cpu/translator/guest_context.h"
#include "cpu/translator/translator.h"
#include "mm/types.h"

namespace remora::cpu::translator {
namespace {

class OperandGroupsTest : public testing::Test {
 protected:
  void Find(const std::vector<uint8_t>& bytes) {
    std::vector<GuestInstruction> instructions;
    for (size_t at = 0; at < bytes.size();) {
      GuestInstruction& instruction = instructions.emplace_back();
      instruction.pc = 0x1000 + at;
      std::copy_n(bytes.begin() + static_cast<int64_t>(at), std::min<size_t>(kMaxInstructionBytes, bytes.size() - at),
                  instruction.bytes.begin());
      ASSERT_TRUE(ZYAN_SUCCESS(decoder_.Decode(instruction.bytes.data(), kMaxInstructionBytes, &instruction.decoded)));
      Classify(&instruction);
      at += instruction.decoded.info.length;
    }
    groups_.Find(instructions);
  }

  InstructionDecoder decoder_{CpuLevel::kHost};
  OperandGroups groups_;
};

TEST_F(OperandGroupsTest, APrologueIsOneGroup) {
  Find({0x55,                      // push rbp
        0x48, 0x89, 0xe5,          // mov rbp, rsp
        0x53,                      // push rbx
        0x48, 0x83, 0xec, 0x18,    // sub rsp, 24
        0x48, 0x89, 0x3c, 0x24});  // mov [rsp], rdi
  const int group = groups_.group_of(0);
  ASSERT_NE(group, OperandGroups::kNone);
  EXPECT_EQ(groups_.group_of(2), group);
  EXPECT_EQ(groups_.group_of(4), group);
  EXPECT_EQ(groups_.group(group).base, unsigned{kRsp});
  EXPECT_EQ(groups_.group(group).low, -40);
  EXPECT_EQ(groups_.group(group).high, 0);
  EXPECT_TRUE(groups_.group(group).write);
}

TEST_F(OperandGroupsTest, SlotsAreUsedAgainBehindTheirLastUse) {
  constexpr uint32_t kSlots = GuestContext::kMaxDeltas;
  // As many groups as there are slots: first all first members, then all second ones.
  std::vector<uint8_t> code;
  const auto load = [&](uint8_t base, uint32_t displacement) {
    code.insert(code.end(), {0x48, 0x8b, static_cast<uint8_t>(0x80 | base)});  // mov rax, [base + displacement]
    for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<uint8_t>(displacement >> 8 * i));
  };
  for (uint32_t second = 0; second < 2; ++second)
    for (uint32_t i = 0; i < kSlots; ++i) load(kRbx, 1024 * i + 8 * second);
  // Two more, behind them.
  for (const uint8_t base : {kRcx, kRdx})
    for (uint32_t second = 0; second < 2; ++second) load(base, 8 * second);
  Find(code);
  ASSERT_EQ(groups_.num_groups(), kSlots + 2);
  std::set<int> slots;
  for (uint32_t i = 0; i < kSlots; ++i) slots.insert(groups_.group(static_cast<int>(i)).slot);
  EXPECT_EQ(slots.size(), kSlots);
  EXPECT_EQ(slots.count(-1), 0u);
  constexpr uint32_t kLastOfFirst = kSlots;
  ASSERT_EQ(groups_.group(0).last, kLastOfFirst);
  EXPECT_EQ(groups_.group(kSlots).slot, groups_.group(0).slot);
  EXPECT_EQ(groups_.group(kSlots + 1).slot, groups_.group(1).slot);
  EXPECT_FALSE(groups_.ProbeEarlier(kSlots, kLastOfFirst));
  EXPECT_TRUE(groups_.ProbeEarlier(kSlots, kLastOfFirst + 1));
  EXPECT_EQ(groups_.group(kSlots).first, kLastOfFirst + 1);
}

TEST_F(OperandGroupsTest, AnotherValueInTheBaseEndsAGroup) {
  Find({0x48, 0x8b, 0x03,        // mov rax, [rbx]
        0x48, 0x8b, 0x5b, 0x08,  // mov rbx, [rbx+8]
        0x48, 0x8b, 0x0b});      // mov rcx, [rbx]
  EXPECT_NE(groups_.group_of(0), OperandGroups::kNone);
  EXPECT_EQ(groups_.group_of(0), groups_.group_of(1));
  EXPECT_NE(groups_.group_of(2), groups_.group_of(0));
}

TEST_F(OperandGroupsTest, BehindABranchAGroupStaysWithinALineAndItsRight) {
  Find({0x48, 0x8b, 0x03,          // mov rax, [rbx]
        0x48, 0x8b, 0x4b, 0x10,    // mov rcx, [rbx+16]
        0x74, 0x02,                // jz +2
        0x48, 0x8b, 0x53, 0x08,    // mov rdx, [rbx+8]: covered
        0x48, 0x89, 0x53, 0x08,    // mov [rbx+8], rdx: no right to write
        0x48, 0x8b, 0x73, 0x20,    // mov rsi, [rbx+32]: near enough
        0x48, 0x8b, 0x73, 0x60});  // mov rsi, [rbx+96]: too far
  EXPECT_EQ(groups_.group_of(3), groups_.group_of(0));
  EXPECT_FALSE(groups_.group(groups_.group_of(0)).write);
  EXPECT_NE(groups_.group_of(4), groups_.group_of(0));
  EXPECT_EQ(groups_.group_of(5), groups_.group_of(0));
  EXPECT_NE(groups_.group_of(6), groups_.group_of(0));
  EXPECT_EQ(groups_.group(groups_.group_of(0)).high, 40);
}

TEST_F(OperandGroupsTest, TheStackIsOneGroupOnBothSidesOfABranch) {
  Find({0x48, 0x8b, 0x04, 0x24,                          // mov rax, [rsp]
        0x74, 0x02,                                      // jz +2
        0x48, 0x89, 0x84, 0x24, 0x80, 0x00, 0x00, 0x00,  // mov [rsp+128], rax
        0xc3});                                          // ret
  EXPECT_EQ(groups_.group_of(2), groups_.group_of(0));
  EXPECT_EQ(groups_.group_of(3), groups_.group_of(0));
  EXPECT_TRUE(groups_.group(groups_.group_of(0)).write);
}

TEST_F(OperandGroupsTest, AnIndexThatMovesByAConstantIsFollowed) {
  Find({0x66, 0x0f, 0x28, 0x04, 0x01,    // movapd xmm0, [rcx+rax]
        0x48, 0x83, 0xc0, 0x10,          // add rax, 16
        0x66, 0x0f, 0x28, 0x04, 0x01,    // movapd xmm0, [rcx+rax]
        0x48, 0xff, 0xc1,                // inc rcx
        0x66, 0x0f, 0x28, 0x04, 0x01});  // movapd xmm0, [rcx+rax]
  const int group = groups_.group_of(0);
  EXPECT_EQ(groups_.group_of(2), group);
  EXPECT_EQ(groups_.group(group).low, 0);
  EXPECT_EQ(groups_.group(group).high, 32);
  EXPECT_NE(groups_.group_of(4), group);
}

TEST_F(OperandGroupsTest, OperandsRelativeToRipAreGroupedByAddress) {
  Find({0x48, 0x8b, 0x05, 0x00, 0x01, 0x00, 0x00,    // mov rax, [rip+0x100]: 0x1107
        0x48, 0x8b, 0x0d, 0x00, 0x01, 0x00, 0x00});  // mov rcx, [rip+0x100]: 0x110e
  const int group = groups_.group_of(0);
  ASSERT_NE(group, OperandGroups::kNone);
  EXPECT_EQ(groups_.group_of(1), group);
  EXPECT_EQ(groups_.group(group).base, OperandGroups::kConstant);
  EXPECT_EQ(groups_.group(group).low, 0x1107);
  EXPECT_EQ(groups_.group(group).high, 0x1116);
}

TEST_F(OperandGroupsTest, WhatIsFarApartIsProbedAlone) {
  Find({0x48, 0x8b, 0x03,                            // mov rax, [rbx]
        0x48, 0x8b, 0x8b, 0x00, 0x10, 0x00, 0x00});  // mov rcx, [rbx+4096]
  EXPECT_NE(groups_.group_of(0), groups_.group_of(1));
  EXPECT_EQ(groups_.group(groups_.group_of(0)).members, 1u);
  EXPECT_EQ(groups_.group(groups_.group_of(1)).members, 1u);
}

TEST_F(OperandGroupsTest, AValueIsFollowedToOtherRegisters) {
  Find({0x48, 0x8b, 0x07,          // mov rax, [rdi]
        0x48, 0x89, 0xfb,          // mov rbx, rdi
        0x48, 0x8d, 0x73, 0x10,    // lea rsi, [rbx+16]
        0x48, 0x83, 0xc6, 0x08,    // add rsi, 8
        0x31, 0xff,                // xor edi, edi
        0x48, 0x8b, 0x0e,          // mov rcx, [rsi]: 24
        0x89, 0xdd,                // mov ebp, ebx
        0x48, 0x8b, 0x55, 0x00,    // mov rdx, [rbp]: half of it
        0x48, 0x8b, 0x17,          // mov rdx, [rdi]
        0x48, 0x8b, 0x53, 0x08});  // mov rdx, [rbx+8]
  const int group = groups_.group_of(0);
  EXPECT_EQ(groups_.group_of(5), group);
  EXPECT_NE(groups_.group_of(7), group);
  EXPECT_NE(groups_.group_of(8), group);
  EXPECT_EQ(groups_.group_of(9), group);
  EXPECT_EQ(groups_.group(group).low, 0);
  EXPECT_EQ(groups_.group(group).high, 32);
  EXPECT_EQ(groups_.group(group).members, 3u);
}

TEST_F(OperandGroupsTest, AnIndexIsFollowedToOtherRegisters) {
  Find({0x48, 0x8b, 0x04, 0xcf,    // mov rax, [rdi+rcx*8]
        0x48, 0x8d, 0x51, 0x01,    // lea rdx, [rcx+1]
        0x48, 0x89, 0xfb,          // mov rbx, rdi
        0x48, 0x8b, 0x34, 0xd3,    // mov rsi, [rbx+rdx*8]
        0x48, 0xff, 0xc3,          // inc rbx
        0x48, 0x8b, 0x34, 0xd3,    // mov rsi, [rbx+rdx*8]: what is kept has another base in it
        0x48, 0x8b, 0x34, 0x97});  // mov rsi, [rdi+rdx*4]
  const int group = groups_.group_of(0);
  EXPECT_EQ(groups_.group_of(3), group);
  EXPECT_EQ(groups_.group(group).high, 16);
  EXPECT_NE(groups_.group_of(5), group);
  EXPECT_NE(groups_.group_of(6), group);
}

TEST_F(OperandGroupsTest, CopiesOfTheStackPointerAreNotFollowed) {
  Find({0x48, 0x8b, 0x04, 0x24,    // mov rax, [rsp]
        0x48, 0x89, 0xe5,          // mov rbp, rsp
        0x48, 0x8b, 0x4d, 0x00,    // mov rcx, [rbp]
        0x48, 0x89, 0xec,          // mov rsp, rbp
        0x48, 0x8b, 0x14, 0x24});  // mov rdx, [rsp]
  EXPECT_NE(groups_.group_of(2), groups_.group_of(0));
  EXPECT_NE(groups_.group_of(4), groups_.group_of(0));
  EXPECT_NE(groups_.group_of(4), groups_.group_of(2));
}

// What is kept then is the place, since R10 is not in a register of the host's.
TEST_F(OperandGroupsTest, BehindR10AGroupEndsWhereItMoves) {
  Find({0x49, 0x8b, 0x02,        // mov rax, [r10]
        0x4c, 0x89, 0xd7,        // mov rdi, r10
        0x48, 0x8b, 0x4f, 0x08,  // mov rcx, [rdi+8]
        0x49, 0x83, 0xc2, 0x08,  // add r10, 8
        0x49, 0x8b, 0x12,        // mov rdx, [r10]
        0x48, 0x8b, 0x17});      // mov rdx, [rdi]
  const int group = groups_.group_of(0);
  EXPECT_TRUE(groups_.group(group).keeps_place());
  EXPECT_EQ(groups_.group_of(2), group);
  EXPECT_NE(groups_.group_of(4), group);
  EXPECT_EQ(groups_.group_of(5), group);
}

// Else the bytes that both cover would begin below what four bytes of displacement can say.
TEST_F(OperandGroupsTest, WhatIsFarFromItsBaseIsProbedAlone) {
  Find({0x48, 0x8b, 0x83, 0x00, 0x00, 0x00, 0x80,        // mov rax, [rbx-0x80000000]
        0x48, 0x83, 0xeb, 0x08,                          // sub rbx, 8
        0x48, 0x8b, 0x8b, 0x00, 0x00, 0x00, 0x80,        // mov rcx, [rbx-0x80000000]
        0x48, 0x8b, 0x84, 0x24, 0x04, 0x00, 0x00, 0x80,  // mov rax, [rsp-0x7ffffffc]
        0x50,                                            // push rax
        0x48, 0x8b, 0x8c, 0x24, 0x04, 0x00, 0x00, 0x80,  // mov rcx, [rsp-0x7ffffffc]
        0x48, 0x8b, 0x83, 0x01, 0x00, 0x00, 0x40});      // mov rax, [rbx+0x40000001]
  for (const uint32_t far : {0, 2, 3, 5, 6}) EXPECT_EQ(groups_.group_of(far), OperandGroups::kNone) << far;
}

// --- random programs: pointers are copied, moved, used ---

constexpr uint64_t kCode = FakeMachine::kCode, kPlaces = 0x800000;

class RandomProgram : public Xbyak::CodeGenerator {
 public:
  static constexpr uint64_t kSteps = 48;

  explicit RandomProgram(uint32_t seed) : CodeGenerator(kPageSize), random_(seed) {
    for (uint64_t i = 0; i < kSteps; ++i) Step();
    syscall();
  }

 private:
  uint32_t Any(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  Xbyak::Reg64 Pointer() {
    static constexpr std::array<int, 7> kPointers = {kRbx, kRdi, kR8, kR10, kR11, kR12, kR13};
    return Xbyak::Reg64(kPointers[Any(kPointers.size())]);
  }
  Xbyak::Reg64 Number() {
    static constexpr std::array<int, 3> kNumbers = {kRax, kRdx, kR9};
    return Xbyak::Reg64(kNumbers[Any(kNumbers.size())]);
  }
  Xbyak::Reg64 Index() { return Xbyak::Reg64(Any(2) == 0 ? kRcx : kRsi); }
  int Near() { return 8 * static_cast<int>(Any(16)) - 64; }
  Xbyak::Address Word() {
    if (Any(4) == 0) return Any(2) == 0 ? qword[Pointer() + Index() * 8 + Near()] : qword[Pointer() + Index() + Near()];
    return qword[Pointer() + Near()];
  }

  void Step() {
    Xbyak::Label over;
    switch (Any(16)) {
      case 0:
      case 1:
        return mov(Pointer(), Pointer());
      case 2:
        return lea(Pointer(), ptr[Pointer() + Near()]);
      case 3:
        return add(Pointer(), Near());
      case 4:
        return Any(2) == 0 ? inc(Index()) : dec(Index());
      case 5:
        return mov(Index(), Index());
      case 6:
        return xchg(Pointer(), Pointer());
      case 7:
        cmp(Number(), Number());
        return cmovc(Pointer(), Pointer());
      case 8: {
        const Xbyak::Reg64 half = Pointer();
        return mov(half.cvt32(), half.cvt32());
      }
      case 9:
        push(Pointer());
        return pop(Pointer());
      case 10:
        cmp(Number(), Number());
        jp(over);
        Any(2) == 0 ? mov(Pointer(), Pointer()) : mov(Word(), Number());
        return L(over);
      case 11:
      case 12:
        return mov(Word(), Number());
      default:
        return mov(Number(), Word());
    }
  }

  std::mt19937 random_;
};

TEST(OperandGroupsInCodeTest, RandomProgramsDoAsInTheInterpreter) {
  constexpr uint32_t kPrograms = 1500, kRounds = 3;
  for (uint32_t seed = 1; seed <= kPrograms; ++seed) {
    SCOPED_TRACE(seed);
    const RandomProgram program(seed);
    TranslatorOptions options;
    options.optimizations.warm = false;
    FakeMachine expected([](BlockCache* cache) { return MakeInterpreter(cache); });
    FakeMachine found([&](BlockCache* cache) { return MakeTranslator(cache, options); });
    for (FakeMachine* machine : {&expected, &found}) {
      machine->memory.Write(kCode, std::span<const uint8_t>(program.getCode(), program.getSize()));
      // No frame lies behind the one before it.
      for (const uint64_t page : {4, 2, 0, 3, 1, 5})
        machine->memory.Map(kPlaces + page * kPageSize, 1, mm::Protection(3));
      for (uint64_t at = 0; at < 6 * kPageSize; at += 8) machine->memory.Store(kPlaces + at, at * 0x9e3779b97f4a7c15);
    }
    for (uint32_t round = 0; round < kRounds; ++round) {
      for (FakeMachine* machine : {&expected, &found}) {
        machine->state.rip = kCode;
        uint64_t at = kPlaces + 3 * kPageSize - 64 * (seed % 3);
        for (const int pointer : {kRbx, kRdi, kR8, kR10, kR11, kR12, kR13}) machine->state.gpr[pointer] = at += 40;
        machine->state.gpr[kRcx] = seed % 5;
        machine->state.gpr[kRsi] = round;
      }
      const Exit reference = expected.Run(1'000), exit = found.Run(1'000);
      ASSERT_EQ(exit.reason, reference.reason);
      ASSERT_EQ(found.state.rip, expected.state.rip);
      // SYSCALL puts the flags into R11, of which AF may be anything.
      for (uint64_t i = 0; i < 16; ++i)
        if (i != kR11) ASSERT_EQ(found.state.gpr[i], expected.state.gpr[i]) << i;
      if (exit.reason != ExitReason::kSyscall) ASSERT_EQ(found.state.gpr[kR11], expected.state.gpr[kR11]);
      for (uint64_t at = 0; at < 6 * kPageSize; at += 8)
        ASSERT_EQ(found.memory.Load<uint64_t>(kPlaces + at), expected.memory.Load<uint64_t>(kPlaces + at)) << at;
    }
  }
}

}  // namespace
}  // namespace remora::cpu::translator
